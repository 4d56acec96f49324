// What the protocols of MindIE Service have in common: one prompt, n answers, shown whole or in pieces. A
// protocol is a function that makes a Prepared of a body; its AnswerForm writes the replies.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/api_error.h"
#include "server/generation.h"
#include "server/limits.h"
#include "server/served_model.h"

namespace fathom::mindie {

// One choice, as far as it has come.
struct Answer {
  std::string text = {};
  std::vector<SampledToken> tokens = {};
  FinishReason finish_reason = FinishReason::kNone;
  double last_time = 0;  // of a token, or of the submission; monotonic seconds
};

// What one event brought.
struct Piece {
  size_t index = 0;       // of the answer
  std::string text = {};  // may be shown now; all of the answer's where the server is set to
  const SampledToken* token = nullptr;
  double milliseconds = 0;  // since the submission, or the token before
};

// How one protocol writes one request's answers.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;
  virtual Json whole(const std::vector<Answer>& answers) const = 0;
  // A piece of a stream, framed; "": nothing to say.
  virtual std::string piece(const std::vector<Answer>& answers, const Piece& piece) const = 0;
  // Server-sent events, where a protocol does not say otherwise.
  virtual HttpReply stream_head() const;
  virtual std::string stream_error(const ApiError& error) const;
};

struct Prepared {
  GenerationRequest generation;
  bool stream = false;
  std::string id = {};  // by which stopInfer finds it; empty: not at all
  std::unique_ptr<AnswerForm> form;
  std::vector<std::string> unknown = {};  // fields without a meaning here
};
using Parsed = std::variant<Prepared, ApiError>;

// What parsing needs to know beside the body.
struct Context {
  const ServedModel& model;
  const ServerLimits& limits;
  std::string request_id;
  std::string model_name = {};  // of the path, where it has one
};

// "eos_token", "stop_sequence", "length"; "cancelled" after stopInfer.
std::string_view finish_name(const Answer& answer, const ServedModel& model);
// "finish_reason", "generated_tokens" and "seed", which all details have.
Json details_json(const Answer& answer, const ServedModel& model, uint64_t seed);

}  // namespace fathom::mindie
