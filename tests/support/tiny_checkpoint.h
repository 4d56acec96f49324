// A whole model folder of a small configuration with random weights. For tests of folders above checkpoint.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "model/synth.h"

namespace fathom::testing {

struct TinyCheckpoint {
  ModelConfig config;
  std::string directory;
  uint64_t shard_bytes = uint64_t{1} << 30;  // a small number gives several files and an index
  uint64_t seed = 0;
  int64_t repeat_after = 0;  // as SynthOptions
};

inline void write_tiny_checkpoint(const TinyCheckpoint& tiny) {
  SynthOptions options;
  options.config = tiny.config;
  options.output = tiny.directory;
  options.shard_bytes = tiny.shard_bytes;
  options.seed = tiny.seed;
  options.repeat_after = tiny.repeat_after;
  const auto result = synthesize(options, nullptr);
  ASSERT_TRUE(result.ok()) << result.status().message();
}

}  // namespace fathom::testing
