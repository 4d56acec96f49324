// One request's way from token ids to shown text: incremental detokeniser, then stop strings. Decides when a request
// stops; knows nothing of the batch.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sample/sampling_params.h"
#include "sample/stop_checker.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace fathom {

class RequestStream {
 public:
  // tokenizer may be null; end_ids are the model's own end-of-sequence ids. Both are borrowed.
  RequestStream(const Tokenizer* tokenizer, const std::vector<int32_t>& end_ids, const SamplingParams& params);

  struct Piece {
    std::string text;      // may be shown now
    bool stopped = false;  // an end id or a stop string
  };
  Piece push(int32_t token_id);
  // What was held back, at the end of a request that did not stop by itself.
  std::string flush();

 private:
  bool ends(int32_t token_id) const;

  const std::vector<int32_t>& end_ids_;
  SamplingParams params_;
  std::optional<Detokenizer> detokenizer_;
  StopChecker stop_checker_;
};

}  // namespace fathom
