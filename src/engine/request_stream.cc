#include "engine/request_stream.h"

#include <algorithm>

namespace fathom {

RequestStream::RequestStream(const Tokenizer* tokenizer, const std::vector<int32_t>& end_ids,
                             const SamplingParams& params)
    : end_ids_(end_ids), params_(params), stop_checker_(params.stop_strings) {
  if (tokenizer != nullptr) detokenizer_.emplace(*tokenizer);
}

bool RequestStream::ends(int32_t token_id) const {
  const auto among = [token_id](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), token_id) != ids.end();
  };
  return among(params_.stop_token_ids) || (!params_.ignore_eos && among(end_ids_));
}

RequestStream::Piece RequestStream::push(int32_t token_id) {
  if (ends(token_id)) return {.text = flush(), .stopped = true};
  if (!detokenizer_) return {};
  StopChecker::Result checked = stop_checker_.push(detokenizer_->push(token_id));
  return {.text = std::move(checked.text), .stopped = checked.stopped};
}

std::string RequestStream::flush() {
  if (!detokenizer_) return {};
  std::string text = stop_checker_.push(detokenizer_->flush()).text;
  return text + stop_checker_.flush();
}

}  // namespace fathom
