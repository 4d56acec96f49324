// Triton's protocol (KServe v2): text to text, whole or streamed, and token ids to token ids.
#include <algorithm>

#include "server/mindie/parameters.h"
#include "server/mindie/protocols.h"
#include "server/sse.h"

namespace fathom::mindie {
namespace {

constexpr size_t kMaxIdBytes = 256;

// The client's name for its request, or ours. prepared.id is the client's.
std::string read_id(RequestFields& fields, const Context& context, Prepared& prepared) {
  const auto id = fields.text("id", kMaxIdBytes);
  if (!id) return context.request_id;
  const bool valid = !id->empty() && std::all_of(id->begin(), id->end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (!valid) fields.fail("id", "must be letters, digits, _ and - only, at least one of them");
  prepared.id = *id;
  return *id;
}

class TextForm : public AnswerForm {
 public:
  TextForm(std::string id, std::string model_name, bool details, uint64_t seed, const ServedModel& model)
      : id_(std::move(id)),
        model_name_(std::move(model_name)),
        details_(details),
        seed_(seed),
        model_(model) {}

  Json whole(const std::vector<Answer>& answers) const override {
    Json reply = frame(answers.front().text);
    if (details_) reply["details"] = details_json(answers.front(), model_, seed_);
    return reply;
  }

  std::string piece(const std::vector<Answer>& answers, const Piece& piece) const override {
    const Answer& answer = answers.front();
    Json event = frame(piece.text);
    if (details_) {
      Json details = details_json(answer, model_, seed_);
      if (answer.finish_reason == FinishReason::kNone) details.erase("finish_reason");
      event["details"] = std::move(details);
      const bool first = answer.tokens.size() <= 1;
      event[first ? "prefill_time" : "decode_time"] = piece.milliseconds;
      event[first ? "decode_time" : "prefill_time"] = nullptr;
    }
    return sse_event(dump_json(event));
  }

 private:
  Json frame(const std::string& text) const {
    return {{"id", id_}, {"model_name", model_name_}, {"model_version", nullptr}, {"text_output", text}};
  }

  std::string id_;
  std::string model_name_;
  bool details_;
  uint64_t seed_;
  const ServedModel& model_;
};

class TokenForm : public AnswerForm {
 public:
  TokenForm(std::string id, std::string model_name, std::string output_name)
      : id_(std::move(id)), model_name_(std::move(model_name)), output_name_(std::move(output_name)) {}

  Json whole(const std::vector<Answer>& answers) const override {
    Json ids = Json::array();
    for (const SampledToken& token : answers.front().tokens) ids.push_back(token.id);
    Json output = {{"name", output_name_}, {"shape", {1, ids.size()}}, {"datatype", "UINT32"}};
    output["data"] = std::move(ids);
    return {{"id", id_}, {"model_name", model_name_}, {"outputs", Json::array({std::move(output)})}};
  }

  std::string piece(const std::vector<Answer>&, const Piece&) const override { return {}; }  // never streams

 private:
  std::string id_;
  std::string model_name_;
  std::string output_name_;
};

// inputs[0]: {"name", "shape": [1, n] or [n], "datatype": "UINT32", "data": [ids]}.
void read_input(RequestFields& fields, const ServedModel& model, GenerationRequest& generation) {
  const Json* inputs = fields.value("inputs");
  if (inputs == nullptr || !inputs->is_array() || inputs->size() != 1 || !inputs->front().is_object())
    return fields.fail("inputs", "must be a list of one input");
  RequestFields input(inputs->front(), "inputs[0].");
  input.text("name", kMaxIdBytes);
  if (input.text("datatype", kMaxIdBytes).value_or("") != "UINT32")
    input.fail("datatype", "must be \"UINT32\"");
  std::vector<int32_t> ids = input.token_ids("data", model.vocab_size(), SIZE_MAX);
  if (ids.empty()) input.fail("data", "must hold at least one token id");
  const Json* shape = input.value("shape");
  const auto count = static_cast<int64_t>(ids.size());
  const bool fits = shape != nullptr && (*shape == Json::array({count}) || *shape == Json::array({1, count}));
  if (!fits) input.fail("shape", fmt::format("must be [1, {}] for that many token ids", count));
  fields.take_error(input);
  generation.prompts.push_back(std::move(ids));
}

// outputs: [{"name": ..}], or nothing.
std::string read_output_name(RequestFields& fields) {
  const Json* outputs = fields.value("outputs");
  if (outputs == nullptr) return "output0";
  if (!outputs->is_array() || outputs->size() != 1 || !outputs->front().is_object()) {
    fields.fail("outputs", "must be a list of one output");
    return {};
  }
  RequestFields output(outputs->front(), "outputs[0].");
  const auto name = output.text("name", kMaxIdBytes);
  fields.take_error(output);
  return name.value_or("output0");
}

}  // namespace

Parsed parse_triton_text(TritonPath path, const Json& body, const Context& context) {
  RequestFields fields(body);
  Prepared prepared;
  prepared.stream = path == TritonPath::kStream;
  std::string id = read_id(fields, context, prepared);
  fields.ignore("text_input");
  bool details = false;
  read_parameters(fields, context.model, prepared,
                  [&](RequestFields& own) { details = own.boolean("details").value_or(false); });
  if (fields.error()) return *fields.error();
  if (auto error = read_prompt_text(body, "text_input", context, prepared.generation)) return *error;
  if (auto error = settle(context, prepared.generation)) return *error;
  prepared.form = std::make_unique<TextForm>(std::move(id), context.model_name, details,
                                             *prepared.generation.sampling.seed, context.model);
  return prepared;
}

Parsed parse_triton_tokens(const Json& body, const Context& context) {
  RequestFields fields(body);
  Prepared prepared;
  std::string id = read_id(fields, context, prepared);
  read_input(fields, context.model, prepared.generation);
  std::string output_name = read_output_name(fields);
  read_parameters(fields, context.model, prepared, [](RequestFields& own) { own.ignore("details"); });
  if (fields.error()) return *fields.error();
  if (auto error = settle(context, prepared.generation)) return *error;
  prepared.form = std::make_unique<TokenForm>(std::move(id), context.model_name, std::move(output_name));
  return prepared;
}

}  // namespace fathom::mindie
