// What a step of the engine takes besides the model: scheduler, runner, draws and text, at 16 and 64 requests
// on the demo model, with and without a JSON schema. Run by hand: build/release/tests/step_bench [MODEL]
//
// Rounds of the two kinds take turns, so that a busy machine disturbs both alike; medians of the rounds are
// printed. The model's own time is measured around its forward pass, so that "besides" is everything else in
// Engine::step(), listeners included; what drawing takes of it is timed apart, on rows of the same width.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "constrain/constraint.h"
#include "engine/engine.h"
#include "sample/sampler.h"

namespace fathom {
namespace {

constexpr int kRounds = 7;
constexpr int64_t kPrompt = 16;
constexpr int64_t kAnswer = 64;
constexpr const char* kSchema = R"({"type": "object", "required": ["name", "tags", "size"],
  "properties": {"name": {"type": "string", "minLength": 40}, "size": {"type": "integer"},
                 "tags": {"type": "array", "items": {"type": "string"}, "minItems": 8}}})";

struct Times {
  double step = 0;   // seconds a step
  double other = 0;  // of these, besides the model
};

// Steps in which every request generates.
Times run(Engine& engine, int64_t batch, const std::shared_ptr<const CompiledConstraint>& constraint,
          uint64_t round) {
  int64_t num_begun = 0, num_ended = 0;
  for (int64_t i = 0; i < batch; ++i) {
    Request request{.prompt_ids = std::vector<int32_t>(kPrompt, static_cast<int32_t>(5 + i)), .sampling = {}};
    request.sampling.seed = round * 1000 + static_cast<uint64_t>(i);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = kAnswer;
    request.sampling.ignore_eos = true;
    request.constraint = constraint;
    request.cache_salt = fmt::format("{} {}", round, i);
    int64_t num_tokens = 0;
    const auto id = engine.submit(std::move(request), [&, num_tokens](const RequestEvent& event) mutable {
      FATHOM_CHECK(event.status.ok(), "{}", event.status.message());
      if (num_tokens++ == 0) ++num_begun;
      if (event.finish_reason != FinishReason::kNone) ++num_ended;
    });
    FATHOM_CHECK(id.ok(), "{}", id.status().message());
  }
  double seconds = 0, model_seconds = 0;
  int64_t num_steps = 0;
  while (engine.has_work()) {
    const bool counts = num_begun == batch && num_ended == 0;
    const double model_before = engine.statistics().model_seconds;
    const double started = monotonic_seconds();
    FATHOM_CHECK(engine.step().ok(), "a step failed");
    if (!counts) continue;
    seconds += monotonic_seconds() - started;
    model_seconds += engine.statistics().model_seconds - model_before;
    ++num_steps;
  }
  FATHOM_CHECK(num_steps > 10, "{} steps count", num_steps);
  return {.step = seconds / static_cast<double>(num_steps),
          .other = (seconds - model_seconds) / static_cast<double>(num_steps)};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds that greedy draws for `batch` rows of logits take.
double time_draws(const Engine& engine, int64_t batch) {
  const auto width = static_cast<size_t>(engine.config().vocab_size);
  std::vector<float> logits(static_cast<size_t>(batch) * width);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(random_bits(1, i) % 1000);
  SamplingParams greedy;
  greedy.temperature = 0;
  SamplerWorkspace workspace;
  std::vector<double> times;
  for (int round = 0; round <= kRounds; ++round) {
    const double started = monotonic_seconds();
    for (size_t row = 0; row < static_cast<size_t>(batch); ++row) {
      const SampleInput input{.logits = std::span(logits).subspan(row * width, width)};
      FATHOM_CHECK(sample(input, greedy, workspace).ok(), "a draw failed");
    }
    times.push_back(monotonic_seconds() - started);
  }
  return median(times);
}

void measure(Engine& engine, int64_t batch, const std::shared_ptr<const CompiledConstraint>& constraint) {
  std::vector<double> plain_step, plain_other, bound_other;
  for (uint64_t round = 0; round <= kRounds; ++round) {
    const Times plain = run(engine, batch, nullptr, 2 * round);
    const Times bound = run(engine, batch, constraint, 2 * round + 1);
    if (round == 0) continue;  // weights, workspace and masks come into being
    plain_step.push_back(plain.step);
    plain_other.push_back(plain.other);
    bound_other.push_back(bound.other);
  }
  constexpr double kMicro = 1e6;
  const double step = median(plain_step), other = median(plain_other);
  const double added = median(bound_other) - other, draws = time_draws(engine, batch);
  fmt::print(
      "batch {:>2}: a step {:6.0f} us, besides the model {:5.1f} us ({:.2f} %): draws {:5.1f} us, scheduler, "
      "runner, text and listeners {:5.1f} us ({:.2f} %); a JSON schema adds {:5.1f} us ({:.2f} %)\n",
      batch, kMicro * step, kMicro * other, 100 * other / step, kMicro * draws, kMicro * (other - draws),
      100 * (other - draws) / step, kMicro * added, 100 * added / step);
}

void run_all(const std::string& model) {
  EngineOptions options;
  options.model_dir = model;
  options.isa = detect_cpu_features().best_isa();
  options.max_model_len = 2 * (kPrompt + kAnswer);
  options.speculation = Speculation::kOff;
  options.step_length = StepLength::kLongest;  // all prompts at once, so that all requests generate together
  auto engine = Engine::load(options, nullptr);
  FATHOM_CHECK(engine.ok(), "{}", engine.status().message());
  const auto constraint = CompiledConstraint::compile(
      {.kind = ConstraintSpec::Kind::kJsonSchema, .text = kSchema, .choices = {}}, (*engine)->token_trie());
  FATHOM_CHECK(constraint.ok(), "{}", constraint.status().message());
  for (const int64_t batch : {16, 64}) measure(**engine, batch, *constraint);
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) { fathom::run_all(argc > 1 ? argv[1] : FATHOM_SOURCE_DIR "/models/demo"); }
