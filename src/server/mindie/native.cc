// MindIE's own protocol: /infer and /infer_token.
#include "server/mindie/parameters.h"
#include "server/mindie/protocols.h"
#include "server/sse.h"

namespace fathom::mindie {
namespace {

class NativeForm : public AnswerForm {
 public:
  NativeForm(bool details, uint64_t seed, const ServedModel& model)
      : details_(details), seed_(seed), model_(model) {}

  Json whole(const std::vector<Answer>& answers) const override {
    const Answer& answer = answers.front();
    Json reply = {{"generated_text", answer.text}};
    if (!details_) return reply;
    Json ids = Json::array();
    for (const SampledToken& token : answer.tokens) ids.push_back(token.id);
    reply["details"] = details_json(answer, model_, seed_);
    reply["details"]["generated_token_ids"] = std::move(ids);
    return reply;
  }

  std::string piece(const std::vector<Answer>& answers, const Piece& piece) const override {
    const Answer& answer = answers.front();
    const bool first = answer.tokens.size() <= 1;
    Json event = {{"prefill_time", first ? Json(piece.milliseconds) : Json(nullptr)},
                  {"decode_time", first ? Json(nullptr) : Json(piece.milliseconds)}};
    if (answer.finish_reason != FinishReason::kNone) {
      event["generated_text"] = answer.text;
      event["details"] = details_ ? details_json(answer, model_, seed_) : Json(nullptr);
    }
    Json ids = Json::array();
    if (piece.token != nullptr) ids.push_back(piece.token->id);
    const bool says_nothing = piece.text.empty() && answer.finish_reason != FinishReason::kNone;
    event["token"] = {{"id", std::move(ids)}, {"text", says_nothing ? Json(nullptr) : Json(piece.text)}};
    return sse_event(dump_json(event));
  }

 private:
  bool details_;
  uint64_t seed_;
  const ServedModel& model_;
};

}  // namespace

Parsed parse_native(const Json& body, const Context& context) {
  RequestFields fields(body);
  Prepared prepared;
  const bool has_text = fields.value("inputs") != nullptr;
  const bool has_ids = fields.value("input_id") != nullptr;
  if (has_text == has_ids) fields.fail("inputs", "or input_id is needed, and only one of them");
  prepared.stream = fields.boolean("stream").value_or(false);
  bool details = false;
  read_parameters(fields, context.model, prepared,
                  [&](RequestFields& own) { details = own.boolean("details").value_or(false); });
  if (has_ids) {
    std::vector<int32_t> ids = fields.token_ids("input_id", context.model.vocab_size(), SIZE_MAX);
    if (ids.empty()) fields.fail("input_id", "must hold at least one token id");
    prepared.generation.prompts.push_back(std::move(ids));
  }
  if (fields.error()) return *fields.error();
  if (has_text) {
    if (auto error = read_prompt_text(body, "inputs", context, prepared.generation)) return *error;
  }
  if (auto error = settle(context, prepared.generation)) return *error;
  prepared.form = std::make_unique<NativeForm>(details, *prepared.generation.sampling.seed, context.model);
  return prepared;
}

}  // namespace fathom::mindie
