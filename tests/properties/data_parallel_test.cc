// Data-parallel attention (docs/parallel.md): ranks that have sequences of their own give every request the
// bits that it gets alone and on one rank, and hold as many times the cache.
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "model/deepseek_v2.h"
#include "model/memory_plan.h"
#include "properties/determinism_cases.h"
#include "support/golden.h"
#include "support/ranks.h"

namespace fathom::testing {
namespace {

EngineOptions shared_options(const char* golden, int64_t num_slices) {
  const DeterminismCase as_case{
      {.name = golden, .golden = golden}, std::nullopt, detect_cpu_features().best_isa()};
  EngineOptions options = as_case.options(64);
  options.num_slices = num_slices;
  options.data_parallel_attention = DataParallelAttention::kOn;
  return options;
}

// Conversations over a few beginnings, some answered twice, long ones and short ones, in two priorities.
std::vector<Request> many_requests(int64_t vocab_size) {
  std::vector<Request> all;
  for (uint64_t i = 0; i < 24; ++i) {
    std::vector<int32_t> prompt = random_prompt(i % 3, 40 + static_cast<int64_t>(i % 2) * 150, vocab_size);
    const std::vector<int32_t> rest = random_prompt(100 + i, 1 + static_cast<int64_t>(i % 7) * 5, vocab_size);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    SamplingParams sampling = greedy_params(8 + static_cast<int64_t>(i % 4) * 24);
    if (i % 3 == 1) sampling.temperature = 0.9f;
    sampling.seed = i;
    all.push_back({prompt, sampling});
    all.back().priority = static_cast<int32_t>(i % 2);
  }
  return all;
}

// In each cache: what two or three of the requests have.
constexpr int64_t kTightPages = 24;

void make_tight(EngineOptions& options) {
  const auto config = load_model_config(options.model_dir);
  ASSERT_TRUE(config.ok()) << config.status().message();
  options.kv_memory_bytes = static_cast<uint64_t>(kTightPages * options.block_size) *
                            cache_bytes_per_token(*config, config->torch_dtype);
}

TEST(DataParallel, ManyAtOnceInTightCachesAreAnsweredAsAlone) {
  std::vector<Answer> want;
  EngineOptions alone = shared_options("lite_like", 4);
  make_tight(alone);
  alone.max_num_seqs = 1;
  with_ranks(1, alone, [&](Engine& engine) {
    want = run_all(engine, many_requests(engine.config().vocab_size));
    EXPECT_EQ(engine.statistics().pages_total, kTightPages);
  });
  EngineOptions options = shared_options("lite_like", 4);
  make_tight(options);
  int64_t num_preemptions = 0;
  for (int num_ranks : {2, 4}) {
    with_ranks(num_ranks, options, [&](Engine& engine) {
      const std::vector<Answer> got = run_all(engine, many_requests(engine.config().vocab_size));
      expect_equal_answers(got, want, fmt::format("{} ranks", num_ranks));
      const EngineStatistics statistics = engine.statistics();
      EXPECT_EQ(statistics.pages_total, num_ranks * kTightPages);
      EXPECT_EQ(statistics.num_caches, num_ranks);
      num_preemptions += statistics.num_preemptions;
      EXPECT_GT(statistics.num_cached_tokens, 0);
      EXPECT_TRUE(engine.recount().ok());
    });
  }
  EXPECT_GT(num_preemptions, 0);
}

TEST(DataParallel, AnswersToOnePromptAreThoseOfOneRank) {
  const auto answers = [](Engine& engine) {
    std::vector<Answer> all(12);
    for (size_t i = 0; i < 3; ++i) {
      SamplingParams sampling = greedy_params(10);
      sampling.temperature = 1;
      sampling.seed = i;
      Request request{random_prompt(50 + i, 100, engine.config().vocab_size), sampling};
      request.n = 4;
      const auto id = engine.submit(request, [&all, i](const RequestEvent& event) {
        Answer& answer = all[4 * i + static_cast<size_t>(event.choice)];
        if (event.token_id) answer.ids.push_back(*event.token_id);
        answer.logprobs.push_back(event.logprob.value_or(0));
      });
      EXPECT_TRUE(id.ok()) << id.status().message();
    }
    while (engine.has_work()) EXPECT_TRUE(engine.step().ok());
    EXPECT_EQ(engine.statistics().num_cached_tokens, 9 * 99);  // of the second page a copy
    return all;
  };
  std::vector<Answer> want;
  EngineOptions options = shared_options("q_lora_groups", 2);
  options.block_size = 64;
  with_ranks(1, options, [&](Engine& engine) { want = answers(engine); });
  with_ranks(2, options, [&](Engine& engine) { expect_equal_answers(answers(engine), want, "2 ranks"); });
}

// In one step there are rows of several homes, which are not in the order of the requests.
TEST(DataParallel, PromptsScoredTogetherAreThoseOfOneRank) {
  const auto scores = [](Engine& engine) {
    std::vector<std::vector<double>> all(6);
    for (size_t i = 0; i < all.size(); ++i) {
      Request request{random_prompt(i, 9 + static_cast<int64_t>(i), engine.config().vocab_size),
                      greedy_params(1)};
      request.scoring.first = 1;
      const auto id = engine.submit(request, [&all, i](const RequestEvent& event) {
        if (event.prompt_scores != nullptr) all[i] = event.prompt_scores->logprobs;
      });
      EXPECT_TRUE(id.ok()) << id.status().message();
    }
    while (engine.has_work()) EXPECT_TRUE(engine.step().ok());
    return all;
  };
  std::vector<std::vector<double>> want;
  EngineOptions options = shared_options("lite_like", 2);
  options.max_num_batched_tokens = 256;
  with_ranks(1, options, [&](Engine& engine) { want = scores(engine); });
  with_ranks(2, options, [&](Engine& engine) { EXPECT_EQ(scores(engine), want); });
}

// One cache has place for two at a time, three have place for six.
TEST(DataParallel, MoreRunAtOnceInTheMemoryOfEachRank) {
  EngineOptions options = shared_options("lite_like", 0);
  options.prefix_caching = PrefixCaching::kOff;
  options.max_num_seqs = 12;
  make_tight(options);
  const auto most_running = [](Engine& engine) {
    for (uint64_t i = 0; i < 12; ++i) {
      const auto id = engine.submit({random_prompt(i, 150, engine.config().vocab_size), greedy_params(40)},
                                    [](const RequestEvent&) {});
      EXPECT_TRUE(id.ok()) << id.status().message();
    }
    int64_t most = 0;
    while (engine.has_work()) {
      EXPECT_TRUE(engine.step().ok());
      most = std::max(most, engine.statistics().num_running);
    }
    return most;
  };
  int64_t one = 0, three = 0;
  with_ranks(1, options, [&](Engine& engine) { one = most_running(engine); });
  with_ranks(3, options, [&](Engine& engine) { three = most_running(engine); });
  EXPECT_EQ(one, 2);
  EXPECT_EQ(three, 6);
}

// In one piece, on ranks that do not divide the heads.
TEST(DataParallel, WithoutSlicesNothingDependsOnCompanyEither) {
  for (int num_ranks : {2, 3}) {
    with_ranks(num_ranks, shared_options("lite_like", 0), [&](Engine& engine) {
      const std::vector<Request> all = many_requests(engine.config().vocab_size);
      const std::vector<Answer> together = run_all(engine, all);
      std::vector<Answer> alone;
      for (auto request = all.rbegin(); request != all.rend(); ++request)
        alone.insert(alone.begin(), run_all(engine, {*request})[0]);
      expect_equal_answers(together, alone, fmt::format("{} ranks", num_ranks));
    });
  }
}

// Three segments of two homes, as a runner lays them out; pages are numbered by each home for itself.
struct ModelStep {
  std::vector<int32_t> token_ids, positions, starts, page_tables, page_table_starts, logits_rows;
  std::vector<int64_t> slots;
  std::vector<AttentionForm> forms;

  void add(int64_t num_tokens, int32_t page, AttentionForm form) {
    if (starts.empty()) starts = page_table_starts = {0};
    for (int64_t i = 0; i < num_tokens; ++i) {
      logits_rows.push_back(static_cast<int32_t>(token_ids.size()));
      token_ids.push_back(static_cast<int32_t>(random_bits(3, token_ids.size()) % 100));
      positions.push_back(static_cast<int32_t>(i));
      slots.push_back(int64_t{page} * 128 + i);
    }
    starts.push_back(static_cast<int32_t>(token_ids.size()));
    forms.push_back(form);
    page_tables.push_back(page);
    page_table_starts.push_back(static_cast<int32_t>(page_tables.size()));
  }
  Batch batch(std::span<const int32_t> home_starts) const {
    return {token_ids,   positions,         slots,       starts,     forms,
            page_tables, page_table_starts, logits_rows, home_starts};
  }
};

std::vector<float> logits_of(const ModelStep& step, std::span<const int32_t> home_starts,
                             const Sharding& sharding, Communicator* communicator) {
  const std::string folder = golden_dir("lite_like");
  const auto config = load_model_config(folder);
  const auto checkpoint = Checkpoint::open(folder);
  const auto backend = make_cpu_backend({.num_threads = 1, .isa = detect_cpu_features().best_isa()});
  DeviceCommunicator* const ranks =
      communicator != nullptr ? (*backend)->connect(*communicator).value() : nullptr;
  const auto model =
      DeepseekV2::load(**backend, **checkpoint, {}, *config,
                       {.max_positions = 200, .sharding = sharding, .communicator = ranks}, nullptr);
  const auto cache = LatentCache::create(**backend, *config, {.num_pages = 3, .block_size = 128});
  if (!model.ok() || !cache.ok()) {
    ADD_FAILURE() << model.status().message() << cache.status().message();
    return {};
  }
  const auto logits = (*model)->forward(step.batch(home_starts), *cache);
  EXPECT_TRUE(logits.ok()) << logits.status().message();
  const size_t count = step.logits_rows.size() * static_cast<size_t>(config->vocab_size);
  std::vector<std::byte> room;
  const auto values = (*backend)->read_back(*logits, count * sizeof(float), room);
  EXPECT_TRUE(values.ok()) << values.status().message();
  const auto* first = static_cast<const float*>(*values);
  return {first, first + count};
}

TEST(DataParallel, AttentionInOnePieceIsThatOfOneProcess) {
  ModelStep step, of_one;
  const std::pair<int64_t, AttentionForm> segments[] = {
      {5, AttentionForm::kAbsorbed}, {30, AttentionForm::kExpanded}, {7, AttentionForm::kAbsorbed}};
  const int32_t pages[] = {1, 0, 1};
  for (int32_t i = 0; i < 3; ++i) {
    step.add(segments[i].first, pages[i], segments[i].second);
    of_one.add(segments[i].first, i, segments[i].second);
  }
  const std::vector<float> want =
      logits_of(of_one, {}, {.num_slices = 2, .attention = AttentionShare::kSequences}, nullptr);
  ASSERT_FALSE(want.empty());
  // One and two segments, all and none.
  for (const std::vector<int32_t>& home_starts : {std::vector<int32_t>{0, 1, 3}, {0, 0, 3}, {0, 3, 3}}) {
    if (home_starts[1] != 1) step.page_tables = of_one.page_tables, step.slots = of_one.slots;
    on_ranks(2, [&](int rank, Communicator& communicator) {
      const Sharding sharding{
          .num_ranks = 2, .rank = rank, .num_slices = 2, .attention = AttentionShare::kSequences};
      const std::vector<float> got = logits_of(step, home_starts, sharding, &communicator);
      EXPECT_TRUE(got == want) << "rank " << rank << ", home 1 from segment " << home_starts[1];
      EXPECT_TRUE(communicator.finish().ok());
    });
  }
}

}  // namespace
}  // namespace fathom::testing
