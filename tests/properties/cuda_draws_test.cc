// Draws on a device whose memory the host does not read: records of rows and rows brought over give the
// tokens of rows that the host has whole.
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "device/cuda/cuda_backend.h"
#include "device/cuda/emulated_device.h"
#include "engine/row_reader.h"
#include "support/tiny_engine.h"

namespace fathom::testing {
namespace {

class Numbers {
 public:
  explicit Numbers(uint64_t seed) : seed_(seed) {}
  uint64_t below(uint64_t bound) { return random_bits(seed_, counter_++) % bound; }
  double uniform() { return random_uniform(seed_, counter_++); }

 private:
  uint64_t seed_;
  uint64_t counter_ = 0;
};

// Parameters of every kind; logits of some rows change before they are drawn from.
SamplingParams random_params(Numbers& numbers) {
  SamplingParams params;
  params.temperature = numbers.below(4) == 0 ? 0 : 0.05 + 1.9 * numbers.uniform();
  if (numbers.below(3) == 0) params.top_k = static_cast<int32_t>(1 + numbers.below(60));
  if (numbers.below(20) == 0) params.top_k = 2000;
  if (numbers.below(2) == 0) params.top_p = numbers.below(3) == 0 ? 0.999999 : numbers.uniform();
  if (numbers.below(4) == 0)
    params.min_p = numbers.below(3) == 0 ? 1e-9 : numbers.uniform() * numbers.uniform();
  if (numbers.below(6) == 0) params.repetition_penalty = 1.3;
  if (numbers.below(8) == 0) params.logit_bias = {{3, 4.0}};
  params.seed = numbers.below(1000000);
  return params;
}

// A row of one of several shapes: spread, flat, with ties, all equal, hardly anything finite, not usable.
std::vector<float> random_row(Numbers& numbers, size_t width) {
  const uint64_t kind = numbers.below(7);
  std::vector<float> row(width);
  for (float& logit : row) {
    const double x = numbers.uniform() * 2 - 1;
    logit = static_cast<float>(kind < 2 ? 30 * x * x * x : kind == 2 ? x : kind == 3 ? 0 : std::round(x * 9));
    if (kind == 5 && numbers.below(50) != 0) logit = -std::numeric_limits<float>::infinity();
  }
  row[width / 2] = 1;  // finite
  if (kind == 6 && numbers.below(3) == 0) row[numbers.below(width)] = std::nanf("");
  return row;
}

struct Draw {
  SamplingParams params;
  uint64_t key = 0;
  std::vector<float> row;
};

// What a row that was read gives, by the sampler where it came whole.
Result<int32_t> token_of(const DrawnRow& drawn, const Draw& draw, SamplerWorkspace& workspace) {
  if (drawn.logits.empty()) return drawn.token_id;
  FATHOM_ASSIGN_OR_RETURN(
      const SampledToken token,
      sample({.logits = drawn.logits, .prompt_tokens = {}, .generated_tokens = {}, .random_key = draw.key},
             draw.params, workspace));
  return token.id;
}

struct Counts {
  int64_t records = 0;
  int64_t rows = 0;
};

// width of the vocabulary, of which the last few ids are never drawn.
void compare_draws(CudaBackend& backend, Numbers& numbers, size_t width, size_t num_rows, Counts& counts) {
  const size_t num_drawable = width - width / 10;
  std::vector<Draw> draws(num_rows);
  std::vector<RowDraw> wanted;
  std::vector<float> logits;
  for (Draw& draw : draws) {
    draw = {
        .params = random_params(numbers), .key = numbers.below(1 << 30), .row = random_row(numbers, width)};
    logits.insert(logits.end(), draw.row.begin(), draw.row.end());
    wanted.push_back(
        {.params = &draw.params, .u = sampler_number(draw.key, 0), .needs_logits = numbers.below(10) == 0});
  }
  const size_t bytes = logits.size() * sizeof(float);
  const DeviceBuffer device = backend.allocate(bytes).value();
  ASSERT_TRUE(backend.upload(logits.data(), device.data(), bytes).ok());
  RowReader reader(backend, static_cast<int64_t>(width), num_drawable);
  const auto drawn = reader.read(device.floats(), wanted);
  ASSERT_TRUE(drawn.ok()) << drawn.status().message();
  SamplerWorkspace workspace;
  for (size_t i = 0; i < num_rows; ++i) {
    const DrawnRow host{.logits = std::span<const float>(draws[i].row).first(num_drawable)};
    const Result<int32_t> want = token_of(host, draws[i], workspace);
    const Result<int32_t> got = token_of((*drawn)[i], draws[i], workspace);
    ASSERT_EQ(got.ok(), want.ok()) << i;
    if (want.ok()) {
      ASSERT_EQ(*got, *want) << i;
    } else {
      ASSERT_EQ(got.status().message(), want.status().message());
    }
    ++((*drawn)[i].logits.empty() ? counts.records : counts.rows);
  }
}

TEST(CudaDraws, AreThoseOfWholeRows) {
  CudaBackend backend(emulated_device(), {.num_host_threads = 2});
  Numbers numbers(1);
  Counts counts;
  for (const size_t width : {size_t{40}, size_t{41}, size_t{1000}, size_t{9000}, size_t{21000}})
    for (const size_t num_rows : {size_t{1}, size_t{7}, size_t{40}})
      ASSERT_NO_FATAL_FAILURE(compare_draws(backend, numbers, width, num_rows, counts)) << width;
  // Most tokens need no row; some do.
  EXPECT_GT(counts.records, counts.rows);
  EXPECT_GT(counts.rows, 20);
}

class CudaEngineDraws : public TinyEngineTest {
 protected:
  using Answers = std::map<std::pair<size_t, int32_t>, std::vector<int32_t>>;  // by request and choice

  Answers run(Engine& engine, const std::vector<Request>& requests) {
    Answers answers;
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto id = engine.submit(requests[i], [&answers, i](const RequestEvent& event) {
        EXPECT_TRUE(event.status.ok()) << event.status.message();
        if (event.token_id) answers[{i, event.choice}].push_back(*event.token_id);
      });
      EXPECT_TRUE(id.ok()) << id.status().message();
    }
    while (engine.has_work() && !HasFailure()) EXPECT_TRUE(engine.step().ok());
    return answers;
  }
};

// Log-probabilities have every row brought over. Drafts are on.
TEST_F(CudaEngineDraws, AreThoseOfWholeRows) {
  EngineOptions options = small_options(model_);
  options.device = DeviceKind::kCuda;
  const std::unique_ptr<Engine> engine = load_engine(options);
  ASSERT_NE(engine, nullptr);
  Numbers numbers(2);
  std::vector<Request> with_records, with_rows;
  for (int i = 0; i < 12; ++i) {
    Request request{.prompt_ids = {}, .sampling = random_params(numbers), .n = 1 + i % 4 / 3};
    for (uint64_t length = 1 + numbers.below(20); length > 0; --length)
      request.prompt_ids.push_back(static_cast<int32_t>(2 + numbers.below(6)));
    request.sampling.max_tokens = 8;
    request.sampling.ignore_eos = i % 3 != 0;
    request.sampling.min_tokens = i % 5 == 0 ? 4 : 0;
    request.cache_salt = "records";
    with_records.push_back(request);
    request.sampling.logprobs = 0;
    request.cache_salt = "rows";
    with_rows.push_back(request);
  }
  const Answers got = run(*engine, with_records);
  EXPECT_EQ(got.size(), 15u);
  EXPECT_EQ(got, run(*engine, with_rows));
}

}  // namespace
}  // namespace fathom::testing
