// What a load consists of: requests drawn at random or read from a file, by the rules of vLLM's benchmark.
// The draw depends on the seed alone; it is not the draw of vLLM's own generator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/openai_api.h"
#include "load/token_source.h"

namespace fathom {

struct LoadRequest {
  std::string prompt = {};
  std::vector<int32_t> prompt_ids = {};  // sent instead of the text where there are any
  int64_t prompt_len = 0;                // tokens as the data set counts them, without BOS or template
  int64_t max_tokens = 0;
};

enum class DatasetOrder { kShuffled, kOfFile };

struct DatasetOptions {
  std::string name = "random";  // random, sharegpt, custom
  std::string path = {};        // of sharegpt (JSON) and custom (JSON lines)
  int64_t num_prompts = 1000;
  uint64_t seed = 0;
  DatasetOrder order = DatasetOrder::kShuffled;
  int64_t random_input_len = 1024;
  int64_t random_output_len = 128;
  int64_t random_prefix_len = 0;  // tokens at the beginning of every prompt
  double random_range_ratio = 0;  // [0, 1): lengths are uniform in [n (1 - r), n (1 + r)]
  std::optional<int64_t> sharegpt_output_len = std::nullopt;  // default: the length of the answer in the file
  int64_t custom_output_len = 256;                            // -1: each line's output_tokens
};

// num_prompts requests; a file with fewer is repeated. Random prompts are token ids for the text API, and the
// text of such ids for chats. Errors name option or file, line and form.
Result<std::vector<LoadRequest>> make_requests(const DatasetOptions& options, CompletionApi api,
                                               TokenSource& tokens);

}  // namespace fathom
