// D1 (docs/numerics.md): a request's tokens and log-probabilities have the same bits whatever runs beside it,
// however it is cut, with any number of threads.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "model/memory_plan.h"
#include "properties/determinism_cases.h"
#include "support/golden.h"

namespace fathom::testing {
namespace {

class Determinism : public ::testing::TestWithParam<DeterminismCase> {
 protected:
  void SetUp() override {
    if (!GetParam().machine_has_it())
      GTEST_SKIP() << "this machine does not have " << isa_name(GetParam().isa);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Determinism, ::testing::ValuesIn(determinism_cases()),
                         [](const auto& test_case) { return test_case.param.name(); });

// One way to run the same requests.
struct Schedule {
  int threads = 1;
  size_t together = 1;  // requests submitted at a time
  int64_t chunk = 512;  // max_num_batched_tokens

  std::string name() const {
    return fmt::format("{} threads, batches of {}, chunks of {}", threads, together, chunk);
  }
};

// Answers to the boundary requests, in batches of that many.
std::vector<Answer> answers_of(Engine& engine, const DeterminismCase& test_case, const Schedule& schedule) {
  const int64_t vocab_size = engine.config().vocab_size;
  std::vector<Request> requests = boundary_requests(test_case, vocab_size);
  const size_t count = requests.size();
  if (schedule.together > count) {
    for (Request& request : company(static_cast<int64_t>(schedule.together - count), vocab_size))
      requests.insert(requests.begin(), std::move(request));
  }
  std::vector<Answer> answers;
  for (size_t first = 0; first < requests.size(); first += schedule.together) {
    const size_t end = std::min(requests.size(), first + schedule.together);
    const auto batch = run_all(engine, {requests.begin() + static_cast<int64_t>(first),
                                        requests.begin() + static_cast<int64_t>(end)});
    answers.insert(answers.end(), batch.begin(), batch.end());
  }
  answers.erase(answers.begin(), answers.end() - static_cast<int64_t>(count));
  return answers;
}

TEST_P(Determinism, BatchesChunksAndThreadsChangeNothing) {
  // Every value of every dimension in few runs; the first is what the others are held against.
  std::vector<Schedule> schedules = {{1, 1, 512},  {2, 7, 512}, {3, 2, 171},
                                     {2, 64, 512}, {3, 7, 16},  {1, 1, 1}};
  if (GetParam().is_slow()) schedules = {{1, 1, 512}, {3, 3, 171}, {2, 2, 16}};
  std::vector<Answer> want;
  std::vector<float> want_logits[2];
  for (const Schedule& schedule : schedules) {
    EngineOptions options = GetParam().options(schedule.chunk);
    options.num_threads = schedule.threads;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const int64_t vocab_size = engine->config().vocab_size;
    const std::vector<Answer> answers = answers_of(*engine, GetParam(), schedule);
    if (want.empty()) want = answers;
    expect_equal_answers(answers, want, schedule.name());
    // Every logit of every position, in both forms.
    const int64_t lengths[] = {GetParam().is_slow() ? 70 : 170, GetParam().is_slow() ? 171 : 300};
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<float> logits = score_all(*engine, random_prompt(77, lengths[i], vocab_size));
      if (want_logits[i].empty()) want_logits[i] = logits;
      expect_equal_logits(logits, want_logits[i], vocab_size,
                          fmt::format("{}: scoring {} tokens", schedule.name(), lengths[i]));
    }
  }
}

// So few pages that running requests lose theirs and are computed again: prompts in their form, generated
// tokens in theirs. The third is a prompt for the expanded form that has generated a dozen tokens by then.
TEST_P(Determinism, PreemptionChangesNothing) {
  EngineOptions options = GetParam().options(128);
  const auto plenty = load_engine(options);
  ASSERT_NE(plenty, nullptr);
  // One request's longest context, where these need twice as much.
  options.kv_memory_bytes = *options.kv_memory_bytes / kCaseCacheTokens * kCaseModelLen;
  options.num_threads = 2;
  const auto tight = load_engine(options);
  ASSERT_NE(tight, nullptr);
  std::vector<Request> requests;
  for (uint64_t i = 0; i < 6; ++i) {
    const int64_t prompt_len = i == 2 ? 175 : 30 + static_cast<int64_t>(i);
    requests.push_back({random_prompt(i, prompt_len, plenty->config().vocab_size), greedy_params(60)});
  }
  expect_equal_answers(run_all(*tight, requests), run_all(*plenty, requests), "few pages");
  EXPECT_GT(tight->statistics().num_preemptions, 0);
  EXPECT_EQ(plenty->statistics().num_preemptions, 0);
  EXPECT_EQ(tight->statistics().pages_used, 0);
}

// A request that begins like an earlier one takes its latents over: whole pages, the first rows of a page,
// its own earlier answer, and nothing where the forms differ.
TEST_P(Determinism, PrefixReuseChangesNothing) {
  EngineOptions options = GetParam().options(64);
  options.block_size = 32;
  const auto fresh = [&](const Request& request) {
    const auto engine = load_engine(options);
    return engine == nullptr ? Answer() : run_all(*engine, {request})[0];
  };
  const auto engine = load_engine(options);
  ASSERT_NE(engine, nullptr);
  const std::vector<int32_t> text = random_prompt(3, 230, engine->config().vocab_size);
  std::vector<int32_t> conversation(text.begin(), text.begin() + 60);
  const Answer first = run_all(*engine, {{conversation, greedy_params(30)}})[0];
  conversation.insert(conversation.end(), first.ids.begin(), first.ids.end());
  struct Case {
    std::vector<int32_t> prompt;
    int64_t num_cached;
  };
  const auto beginning = [&](int64_t size) {
    return std::vector<int32_t>(text.begin(), text.begin() + size);
  };
  std::vector<Case> cases = {{beginning(60), 59},   {beginning(64), 60},
                             {conversation, 89},    {beginning(230), 0},  // expanded, the others absorbed
                             {beginning(220), 219}, {beginning(100), 64}};
  if (GetParam().is_slow()) cases.resize(4);
  for (const Case& each : cases) {
    const int64_t cached_before = engine->statistics().num_cached_tokens;
    const Request request{each.prompt, greedy_params(6)};
    const std::string name = fmt::format("a prompt of {} tokens", each.prompt.size());
    expect_equal_answers(run_all(*engine, {request}), {fresh(request)}, name);
    EXPECT_EQ(engine->statistics().num_cached_tokens - cached_before, each.num_cached) << name;
  }
}

class LongSegments : public ::testing::TestWithParam<DeterminismCase> {};

INSTANTIATE_TEST_SUITE_P(All, LongSegments, ::testing::ValuesIn(best_isa_cases()),
                         [](const auto& test_case) { return test_case.param.name(); });

// Segments of more than 512 tokens are cut into groups that share one expansion of the keys, and more than
// 1024 rows of experts into waves (CpuBackend), both depending on the team.
TEST_P(LongSegments, AreCutWithoutATrace) {
  std::vector<float> want;
  for (const Schedule& schedule : {Schedule{1, 1, 1024}, Schedule{3, 1, 1024}, Schedule{2, 1, 400}}) {
    EngineOptions options = GetParam().options(schedule.chunk);
    options.num_threads = schedule.threads;
    options.max_model_len = 1024;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const int64_t vocab_size = engine->config().vocab_size;
    const std::vector<float> logits = score_all(*engine, random_prompt(5, 700, vocab_size));
    if (want.empty()) want = logits;
    expect_equal_logits(logits, want, vocab_size, schedule.name());
  }
}

// Generated tokens go through the absorbed form, a long prompt's through the expanded one: fed back as a
// prompt, the same tokens must have the same likelihoods up to float32 rounding.
TEST(Forms, AbsorbedEqualsExpanded) {
  for (const std::string& variant : golden_variants()) {
    if (variant == "long_positions") continue;  // its greedy continuation is a golden test already
    EngineOptions options = small_options(golden_dir(variant));
    options.dtype = DType::kFloat32;
    options.expanded_prompt_tokens = 1;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const auto vocab_size = static_cast<size_t>(engine->config().vocab_size);
    std::vector<int32_t> ids = random_prompt(5, 20, engine->config().vocab_size);
    const Answer answer = run_all(*engine, {{ids, greedy_params(40)}})[0];
    const size_t prompt_len = ids.size();
    ids.insert(ids.end(), answer.ids.begin(), answer.ids.end());
    const std::vector<float> logits = score_all(*engine, ids);
    for (size_t i = 0; i < answer.ids.size(); ++i) {
      const auto row = std::span(logits).subspan((prompt_len + i - 1) * vocab_size, vocab_size);
      const double largest = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (float logit : row) sum += std::exp(logit - largest);
      const double logprob = row[static_cast<size_t>(answer.ids[i])] - largest - std::log(sum);
      // Logits are near 10 and good to 1e-5 of that.
      EXPECT_NEAR(answer.logprobs[i], logprob, 3e-4) << variant << " token " << i;
    }
  }
}

}  // namespace
}  // namespace fathom::testing
