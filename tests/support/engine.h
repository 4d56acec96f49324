// Engines on small checkpoints for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace fathom::testing {

inline EngineOptions small_options(const std::string& model_dir) {
  EngineOptions options;
  options.model_dir = model_dir;
  options.isa = detect_cpu_features().best_isa();
  options.num_threads = 2;
  options.block_size = 16;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 128;
  return options;
}

inline std::unique_ptr<Engine> load_engine(const EngineOptions& options) {
  auto engine = Engine::load(options, nullptr);
  if (!engine.ok()) {
    ADD_FAILURE() << engine.status().message();
    return nullptr;
  }
  return std::move(engine).value();
}

inline SamplingParams greedy_params(int64_t max_tokens) {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.ignore_eos = true;
  sampling.max_tokens = max_tokens;
  sampling.logprobs = 0;
  return sampling;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
  bool operator==(const Answer&) const = default;
};

// Submits all and steps to the end.
inline std::vector<Answer> run_all(Engine& engine, const std::vector<Request>& requests) {
  std::vector<Answer> answers(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto id = engine.submit(requests[i], [&answers, i](const RequestEvent& event) {
      EXPECT_TRUE(event.status.ok()) << event.status.message();
      if (!event.token_id) return;
      answers[i].ids.push_back(*event.token_id);
      answers[i].logprobs.push_back(event.logprob.value_or(0));
    });
    EXPECT_TRUE(id.ok()) << id.status().message();
  }
  while (engine.has_work()) {
    const Status status = engine.step();
    if (!status.ok()) {
      ADD_FAILURE() << status.message();
      break;
    }
  }
  return answers;
}

inline std::vector<float> score_all(Engine& engine, const std::vector<int32_t>& ids) {
  std::vector<float> all;
  const Status status = engine.score(ids, [&all](int64_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
    return ok_status();
  });
  EXPECT_TRUE(status.ok()) << status.message();
  return all;
}

}  // namespace fathom::testing
