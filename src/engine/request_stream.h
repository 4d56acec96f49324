// One request's way from token ids to shown text: incremental detokeniser, then stop strings. Decides when a
// request stops; knows nothing of the batch.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "sample/sampling_params.h"
#include "sample/stop_checker.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace fathom {

class RequestStream {
 public:
  // tokenizer may be null: then there is no text. It must outlive the stream.
  RequestStream(const Tokenizer* tokenizer, const SamplingParams& params, std::span<const int32_t> end_ids);

  struct Piece {
    std::string text;  // may be shown now
    StopVerdict verdict = StopVerdict::kContinue;
  };
  Piece push(int32_t token_id);
  // What was held back, at the end of a request that did not stop by itself.
  std::string flush();

 private:
  std::optional<Detokenizer> detokenizer_;
  StopChecker stop_checker_;
};

}  // namespace fathom
