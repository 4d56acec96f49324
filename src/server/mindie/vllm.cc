// The protocol of vLLM's simple server, as MindIE speaks it: JSON objects with a NUL byte behind each.
#include <algorithm>

#include "server/mindie/error.h"
#include "server/mindie/parameters.h"
#include "server/mindie/protocols.h"
#include "server/openai.h"

namespace fathom::mindie {
namespace {

constexpr int64_t kDefaultTokens = 16;

std::string object(const Json& json) { return dump_json(json) + '\0'; }

class VllmForm : public AnswerForm {
 public:
  explicit VllmForm(std::string prompt) : prompt_(std::move(prompt)) {}

  Json whole(const std::vector<Answer>& answers) const override {
    Json texts = Json::array();
    for (const Answer& answer : answers) texts.push_back(prompt_ + answer.text);
    return {{"text", std::move(texts)}};
  }

  // One text an answer, of which the others stay empty.
  std::string piece(const std::vector<Answer>& answers, const Piece& piece) const override {
    if (piece.text.empty() && answers[piece.index].finish_reason == FinishReason::kNone) return {};
    Json texts = Json::array();
    for (size_t i = 0; i < answers.size(); ++i) texts.push_back(i == piece.index ? piece.text : "");
    return object({{"text", std::move(texts)}});
  }

  HttpReply stream_head() const override {
    return {.status = 200,
            .content_type = "application/octet-stream",
            .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  }

  std::string stream_error(const ApiError& error) const override { return object(refusal_json(error)); }

 private:
  std::string prompt_;
};

}  // namespace

Parsed parse_vllm(const Json& body, const Context& context) {
  RequestFields fields(body);
  Prepared prepared;
  GenerationRequest& generation = prepared.generation;
  fields.ignore("prompt");
  prepared.stream = fields.boolean("stream").value_or(false);
  generation.sampling = read_sampling(fields, context.model);
  generation.sampling.max_tokens = fields.integer("max_tokens", 1, INT32_MAX).value_or(kDefaultTokens);
  const auto n = fields.integer("n", 1, context.limits.max_choices);
  const auto best_of = fields.integer("best_of", 1, context.limits.max_choices);
  generation.n = static_cast<int32_t>(n.value_or(best_of.value_or(1)));
  fields.only("best_of", generation.n);
  fields.only("use_beam_search", false);
  const auto name = fields.text("model", 1024);
  prepared.unknown = fields.unknown();
  if (fields.error()) return *fields.error();
  if (name) {
    if (auto error = context.model.check_name(*name)) return *error;
  }
  if (auto error = read_prompt_text(body, "prompt", context, generation)) return *error;
  if (auto error = settle(context, generation)) return *error;
  prepared.form = std::make_unique<VllmForm>(body["prompt"].get<std::string>());
  return prepared;
}

}  // namespace fathom::mindie
