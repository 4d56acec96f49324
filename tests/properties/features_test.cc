// D1 with everything at once: answers that share a prompt, prefixes taken over, small chunks, an int8 cache,
// drafts, preemption and constraints change no bit of what a single request gets by itself.
#include <gtest/gtest.h>

#include "constrain/constraint.h"
#include "properties/determinism_cases.h"
#include "support/fake_step_clock.h"

namespace fathom::testing {
namespace {

class Features : public ::testing::TestWithParam<DeterminismCase> {};

INSTANTIATE_TEST_SUITE_P(Best, Features, ::testing::ValuesIn(best_isa_cases()),
                         [](const auto& test_case) { return test_case.param.name(); });

// Words of letters, as the ids from 2 on.
std::shared_ptr<const CompiledConstraint> words() {
  std::vector<std::string> tokens = {"", ""};
  for (const char letter : std::string("abcdefgh ")) tokens.emplace_back(1, letter);
  const std::vector<std::string_view> views(tokens.begin(), tokens.end());
  return CompiledConstraint::compile(
             {.kind = ConstraintSpec::Kind::kRegex, .text = "((abc|bad){2} )*", .choices = {}},
             TokenTrie::create(views, {1}).value())
      .value();
}

std::vector<Request> requests_of_all_kinds(int64_t vocab_size) {
  const std::vector<int32_t> text = random_prompt(3, 200, vocab_size);
  std::vector<Request> requests;
  // Prompts for both forms of attention that begin alike.
  for (const int64_t length : {70, 75, 180, 200}) {
    Request request{{text.begin(), text.begin() + length}, greedy_params(60)};
    request.sampling.temperature = length == 75 ? 0 : 1;
    request.sampling.seed = static_cast<uint64_t>(length);
    request.n = 3;
    if (length % 20 == 0) request.constraint = words();
    // Few tokens to choose from, so that drafts hold now and then.
    if (!request.constraint) request.sampling.logit_bias = {{3, 100}, {4, 100}, {5, 100}};
    requests.push_back(std::move(request));
  }
  return requests;
}

// [request][choice], all requests at once.
std::vector<std::vector<Answer>> choices_of(Engine& engine, const std::vector<Request>& requests) {
  std::vector<std::vector<Answer>> all(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    all[i].resize(static_cast<size_t>(requests[i].n));
    const auto id = engine.submit(requests[i], [&all, i](const RequestEvent& event) {
      EXPECT_TRUE(event.status.ok()) << event.status.message();
      if (!event.token_id) return;
      Answer& answer = all[i][static_cast<size_t>(event.choice)];
      answer.ids.push_back(*event.token_id);
      answer.logprobs.push_back(event.logprob.value_or(0));
    });
    EXPECT_TRUE(id.ok()) << id.status().message();
  }
  while (engine.has_work()) EXPECT_TRUE(engine.step().ok());
  return all;
}

// What each request's choices get one by one, without drafts or prefixes.
std::vector<std::vector<Answer>> singly(EngineOptions options, const std::vector<Request>& requests) {
  options.speculation = Speculation::kOff;
  options.prefix_caching = PrefixCaching::kOff;
  const auto plain = load_engine(options);
  std::vector<std::vector<Answer>> all;
  if (plain == nullptr) return all;
  for (const Request& request : requests) {
    std::vector<Answer>& answers = all.emplace_back();
    for (int32_t choice = 0; choice < request.n; ++choice) {
      Request single = request;
      single.n = 1;
      single.sampling.seed = choice_seed(*request.sampling.seed, choice);
      answers.push_back(run_all(*plain, {single})[0]);
    }
  }
  EXPECT_EQ(plain->statistics().num_cached_tokens, 0);
  return all;
}

// Little room and small chunks.
EngineOptions crowded(EngineOptions options) {
  options.max_num_batched_tokens = 37;
  options.max_num_seqs = 7;
  options.num_threads = 2;
  options.kv_memory_bytes = *options.kv_memory_bytes / kCaseCacheTokens * kCaseModelLen;
  return options;
}

TEST_P(Features, TogetherChangeNothing) {
  if (!GetParam().machine_has_it()) GTEST_SKIP() << "this machine does not have " << isa_name(GetParam().isa);
  const EngineOptions options = GetParam().options(64);
  const std::vector<Request> requests =
      requests_of_all_kinds(load_model_config(options.model_dir).value().vocab_size);
  const std::vector<std::vector<Answer>> want = singly(options, requests);
  ASSERT_FALSE(want.empty());
  // A model that drafts for itself has two caches of the same size.
  for (const Speculation speculation : {Speculation::kNgram, Speculation::kDraftModel}) {
    EngineOptions busy_options = crowded(options);
    busy_options.speculation = speculation;
    if (speculation == Speculation::kDraftModel) {
      busy_options.draft_model_dir = options.model_dir;
      *busy_options.kv_memory_bytes *= 2;
    }
    // Drafts seem to cost next to nothing.
    FakeStepClock clock({.per_step = 1, .per_token = 0, .per_draft_model_token = 0.001});
    clock.set(busy_options);
    const auto busy = load_engine(busy_options);
    ASSERT_NE(busy, nullptr);
    clock.watch(*busy);
    const std::vector<std::vector<Answer>> got = choices_of(*busy, requests);
    for (size_t i = 0; i < want.size(); ++i)
      expect_equal_answers(got[i], want[i], fmt::format("request {}", i));
    const EngineStatistics statistics = busy->statistics();
    EXPECT_GT(statistics.num_preemptions, 0);
    EXPECT_GT(statistics.num_cached_tokens, 0);
    EXPECT_GT(statistics.speculation.num_accepted, 0);
    // Its own guesses always hold.
    if (speculation == Speculation::kNgram) {
      EXPECT_GT(statistics.speculation.num_drafts, statistics.speculation.num_accepted);
    }
    EXPECT_EQ(statistics.pages_used, 0);
    EXPECT_TRUE(busy->recount().ok());
  }
}

}  // namespace
}  // namespace fathom::testing
