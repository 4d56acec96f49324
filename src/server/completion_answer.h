// One answer to /v1/chat/completions or /v1/completions as it comes about: what the engine's events mean for
// its choices, and the reply they add up to. Who asks, and how pieces travel, is not known here: the server
// (completion_exchange.h) and files of requests (offline/line_task.h) make their replies by this. One thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/answer_record.h"
#include "server/chat/answer_parser.h"
#include "server/openai.h"
#include "server/stop_reason.h"

namespace fathom {

class CompletionAnswer {
 public:
  // The model must outlive this.
  CompletionAnswer(CompletionRequest request, std::string request_id, const ServedModel& model);
  CompletionAnswer(const CompletionAnswer&) = delete;
  CompletionAnswer& operator=(const CompletionAnswer&) = delete;

  // What the engine is asked for. Once.
  GenerationRequest take_generation() { return std::move(generation_); }
  const ReplyOptions& options() const { return options_; }
  ReplyWriter& writer() { return writer_; }
  // [prompts][n]: what has come and has not been shown; an echo that waits for no scores from the beginning.
  std::vector<ChoicePiece>& choices() { return choices_; }

  // The choices of the prompt that an event of kPromptScores is about, which have its scores then.
  std::span<ChoicePiece> add_scores(const GenerationEvent& event);
  // What any other event brings, as the reply says it. record: has observed the event.
  ChoicePiece piece_of(GenerationEvent event, const AnswerRecord& record);
  // To what has come of its choice.
  void add(ChoicePiece piece);
  // Of the whole reply, roughly.
  size_t estimated_bytes() const;
  // Once all choices have ended. Takes them.
  std::string whole(const Usage& usage) { return writer_.whole(std::move(choices_), usage); }

 private:
  size_t prompt_of(size_t choice) const { return choice / num_choices_; }
  void add_parts(std::vector<AnswerPiece> parts, ChoicePiece& piece);

  std::string request_id_;
  GenerationRequest generation_;
  ReplyOptions options_;
  std::vector<std::string> echoed_;                  // [prompts] where the prompt is shown
  std::vector<std::vector<int32_t>> shown_prompts_;  // the same, where token ids are
  size_t num_choices_;                               // of a prompt
  ReplyWriter writer_;
  StopReason stop_reason_;
  std::vector<ChoicePiece> choices_;
  std::vector<AnswerParser> parsers_;  // [choices] of a chat
  std::vector<int32_t> last_calls_;    // [choices] of a chat: index of the last call, or -1
};

}  // namespace fathom
