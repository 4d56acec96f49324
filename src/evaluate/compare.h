// Two models on the same windows, one after the other, so that only one is in memory at a time: the first
// one's logits wait in a scratch file, float32 as they came, for the second's.
#pragma once

#include <cstdint>

#include "base/file.h"
#include "base/progress.h"
#include "base/status.h"
#include "engine/engine.h"
#include "evaluate/divergence_summary.h"
#include "evaluate/text_windows.h"

namespace fathom {

// What keep_logits writes for a vocabulary of vocab_size.
uint64_t kept_bytes(const TextWindows& windows, int64_t vocab_size);

// Both: the engine has no other work; progress, in tokens, may be null. Logits that are not finite are an
// error that names the token.
//
// Writes the logits [num_tokens, vocab_size] that predict the windows' tokens.
Status keep_logits(Engine& a, const TextWindows& windows, ScratchFile& kept, ProgressSink* progress);
// Compares b's logits with them. Precondition: keep_logits wrote all of kept, with the same windows and a
// vocabulary of the same size.
Result<DivergenceSummary> compare_with_kept(Engine& b, const TextWindows& windows, const ScratchFile& kept,
                                            ProgressSink* progress);

}  // namespace fathom
