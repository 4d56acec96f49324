// TGI's protocol, with the fields that MindIE adds to it.
#include "server/mindie/parameters.h"
#include "server/mindie/protocols.h"
#include "server/sse.h"
#include "text/utf8.h"

namespace fathom::mindie {
namespace {

struct TgiOptions {
  TgiPath path = TgiPath::kGenerate;
  uint64_t seed = 0;
  bool details = false;
  bool input_details = false;            // decoder_input_details
  std::string shown_prompt = {};         // return_full_text
  std::vector<int32_t> prompt_ids = {};  // after truncation
};

class TgiForm : public AnswerForm {
 public:
  TgiForm(TgiOptions options, const ServedModel& model) : options_(std::move(options)), model_(model) {}

  Json whole(const std::vector<Answer>& answers) const override {
    const Answer& answer = answers.front();
    Json reply = {{"generated_text", options_.shown_prompt + answer.text}};
    if (options_.details || options_.input_details) reply["details"] = all_details(answer);
    return options_.path == TgiPath::kRoot ? Json::array({std::move(reply)}) : reply;
  }

  std::string piece(const std::vector<Answer>& answers, const Piece& piece) const override {
    const Answer& answer = answers.front();
    const bool ended = answer.finish_reason != FinishReason::kNone;
    Json event = {{"token", piece.token != nullptr ? token_json(*piece.token, piece.text) : Json(nullptr)},
                  {"generated_text", nullptr},
                  {"details", nullptr}};
    if (ended) event["generated_text"] = options_.shown_prompt + answer.text;
    if (ended && options_.details) event["details"] = details(answer);
    return sse_event(dump_json(event));
  }

 private:
  Json token_json(const SampledToken& token, const std::string& text) const {
    const Tokenizer* tokenizer = model_.tokenizer();
    return {{"id", token.id},
            {"text", text},
            {"logprob", token.logprob ? Json(*token.logprob) : Json(nullptr)},
            {"special", tokenizer != nullptr && tokenizer->is_special(token.id)}};
  }

  std::string text_of(int32_t id) const {
    const Tokenizer* tokenizer = model_.tokenizer();
    return tokenizer == nullptr ? std::string() : replace_invalid_utf8(tokenizer->token_bytes(id));
  }

  Json details(const Answer& answer) const {
    Json all = {{"prompt_tokens", options_.prompt_ids.size()}};
    all.update(details_json(answer, model_, options_.seed));
    return all;
  }

  Json all_details(const Answer& answer) const {
    Json all = details(answer);
    Json prefill = Json::array(), tokens = Json::array();
    if (options_.input_details) {
      for (int32_t id : options_.prompt_ids)
        prefill.push_back({{"id", id}, {"text", text_of(id)}, {"logprob", nullptr}});
    }
    for (const SampledToken& token : answer.tokens) tokens.push_back(token_json(token, text_of(token.id)));
    all["prefill"] = std::move(prefill);
    all["tokens"] = std::move(tokens);
    return all;
  }

  TgiOptions options_;
  const ServedModel& model_;
};

}  // namespace

Parsed parse_tgi(TgiPath path, const Json& body, const Context& context) {
  RequestFields fields(body);
  Prepared prepared;
  TgiOptions options{.path = path};
  int64_t truncate = 0;  // 0: not
  bool shows_prompt = false;
  fields.ignore("inputs");
  prepared.stream = fields.boolean("stream").value_or(false) || path == TgiPath::kStream;
  read_parameters(fields, context.model, prepared, [&](RequestFields& own) {
    options.details = own.boolean("details").value_or(false);
    options.input_details = own.boolean("decoder_input_details").value_or(false);
    if (options.input_details && prepared.stream) own.fail("decoder_input_details", "is not for streams");
    shows_prompt = own.boolean("return_full_text").value_or(false);
    truncate = own.integer("truncate", 1, INT32_MAX).value_or(0);
    own.only("best_of", 1);
    own.only("grammar", nullptr);
  });
  if (fields.error()) return *fields.error();
  if (auto error = read_prompt_text(body, "inputs", context, prepared.generation)) return *error;
  std::vector<int32_t>& ids = prepared.generation.prompts.front();
  if (truncate > 0 && static_cast<int64_t>(ids.size()) > truncate)
    ids.erase(ids.begin(), ids.end() - truncate);
  if (auto error = settle(context, prepared.generation)) return *error;
  if (options.details || prepared.stream) prepared.generation.sampling.logprobs = 0;
  options.seed = *prepared.generation.sampling.seed;
  options.prompt_ids = ids;
  if (shows_prompt) options.shown_prompt = body["inputs"].get<std::string>();
  prepared.form = std::make_unique<TgiForm>(std::move(options), context.model);
  return prepared;
}

}  // namespace fathom::mindie
