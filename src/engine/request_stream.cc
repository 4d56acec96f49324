#include "engine/request_stream.h"

namespace fathom {

RequestStream::RequestStream(const Tokenizer* tokenizer, const SamplingParams& params,
                             std::span<const int32_t> end_ids)
    : stop_checker_(params, end_ids) {
  if (tokenizer != nullptr) {
    detokenizer_.emplace(*tokenizer,
                         params.show_special_tokens ? SpecialInOutput::kKeep : SpecialInOutput::kSkip);
  }
}

RequestStream::Piece RequestStream::push(int32_t token_id) {
  Piece piece;
  piece.verdict = stop_checker_.check_token(token_id);
  if (piece.verdict == StopVerdict::kStop) {
    piece.text = flush();
  } else if (detokenizer_) {
    piece.verdict = stop_checker_.push(detokenizer_->push(token_id), piece.text);
  }
  return piece;
}

std::string RequestStream::flush() {
  std::string text;
  if (!detokenizer_) return text;
  if (stop_checker_.push(detokenizer_->flush(), text) == StopVerdict::kContinue) stop_checker_.flush(text);
  return text;
}

}  // namespace fathom
