// One line's request on its way through the engine: its prompts and what their choices have said so far.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "offline/prompt_file.h"
#include "offline/record.h"
#include "server/submission.h"

namespace fathom {

class LineTask {
 public:
  LineTask(PromptLine line, CompletionRequest request);
  LineTask(const LineTask&) = delete;
  LineTask& operator=(const LineTask&) = delete;

  const PromptLine& line() const { return line_; }
  size_t num_prompts() const { return planned_.size(); }
  std::span<const int32_t> prompt(size_t index) const { return planned_[index].request.prompt_ids; }
  // Of one prompt, once: what the engine is to be given, and what it says of it.
  const Request& request(size_t index) const { return planned_[index].request; }
  void on_event(size_t index, const RequestEvent& event);
  // The prompt ends without the engine, and the line fails.
  void refuse(size_t index, const Status& status);

  bool has_ended() const { return num_ended_ == choices_.size(); }
  bool has_failed() const { return error_.has_value(); }
  // Precondition: has_failed().
  const ApiError& error() const { return *error_; }
  // Precondition: has_ended(). Points into this.
  LineAnswer answer() const { return {.reply = &request_.reply, .choices = &choices_, .usage = usage_}; }
  // Frees what the record was made of.
  void forget();

 private:
  size_t num_choices() const { return static_cast<size_t>(request_.generation.n); }  // of a prompt
  void fail(const Status& status);
  void add_scores(const GenerationEvent& event);
  void add_token(const GenerationEvent& event);

  PromptLine line_;
  CompletionRequest request_;                        // generation without its prompts
  std::vector<std::vector<int32_t>> shown_prompts_;  // where the reply has token ids
  std::vector<PlannedPrompt> planned_;
  std::vector<ChoicePiece> choices_;
  Usage usage_;
  size_t num_ended_ = 0;
  std::optional<ApiError> error_;
};

}  // namespace fathom
