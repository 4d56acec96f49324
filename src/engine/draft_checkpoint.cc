#include "engine/draft_checkpoint.h"

#include <algorithm>

#include "base/file.h"
#include "model/rank_weights.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

Status same_tokens(const Tokenizer& draft, const std::string& directory, const DraftTarget& target) {
  const int32_t size = std::max(draft.vocab_size(), target.tokenizer->vocab_size());
  for (int32_t id = 0; id < size; ++id) {
    if (draft.spelling(id) == target.tokenizer->spelling(id)) continue;
    return invalid_argument(
        "draft model {}: token {} is \"{}\", in {} it is \"{}\"; drafts need the same vocabulary", directory,
        id, draft.spelling(id), target.directory, target.tokenizer->spelling(id));
  }
  return ok_status();
}

Status check_vocabulary(const std::string& directory, const ModelConfig& config, const DraftTarget& target) {
  if (config.vocab_size != target.config.vocab_size) {
    return invalid_argument(
        "draft model {}: vocab_size is {}, that of {} is {}; drafts need the same vocabulary", directory,
        config.vocab_size, target.directory, target.config.vocab_size);
  }
  const bool has_tokenizer = file_exists(join_path(directory, "tokenizer.json"));
  if (has_tokenizer != (target.tokenizer != nullptr)) {
    return invalid_argument(
        "draft model {}: has {} tokenizer.json, {} has {}; drafts need the same vocabulary", directory,
        has_tokenizer ? "a" : "no", target.directory, has_tokenizer ? "none" : "one");
  }
  if (!has_tokenizer) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(directory));
  return same_tokens(*tokenizer, directory, target);
}

}  // namespace

Result<DraftCheckpoint> open_draft_checkpoint(const std::string& directory, const DraftTarget& target) {
  DraftCheckpoint draft{.directory = directory, .config = {}, .checkpoint = nullptr, .quantization = {}};
  FATHOM_ASSIGN_OR_RETURN(draft.config, load_model_config(directory));
  FATHOM_RETURN_IF_ERROR(check_vocabulary(directory, draft.config, target));
  FATHOM_ASSIGN_OR_RETURN(draft.checkpoint, open_checkpoint(directory, Sharding()));
  FATHOM_ASSIGN_OR_RETURN(draft.quantization, QuantDescription::load(directory, draft.config));
  FATHOM_RETURN_IF_ERROR(check_weights(*draft.checkpoint, draft.config, draft.quantization));
  return draft;
}

}  // namespace fathom
