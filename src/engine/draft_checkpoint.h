// The folder of a draft model: opened, checked, and compared with the model that it drafts for.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"
#include "checkpoint/quantization.h"
#include "text/tokenizer.h"

namespace fathom {

struct DraftCheckpoint {
  std::string directory;
  ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;
  QuantDescription quantization;
};

// The model that drafts are for.
struct DraftTarget {
  const std::string& directory;
  const ModelConfig& config;
  const Tokenizer* tokenizer;  // or null
};

// Refuses, naming both folders and what differs, a vocabulary that is not the target's, token by token where
// there are tokenizers; and whatever a model's folder is refused for.
Result<DraftCheckpoint> open_draft_checkpoint(const std::string& directory, const DraftTarget& target);

}  // namespace fathom
