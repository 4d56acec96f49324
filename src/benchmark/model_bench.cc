#include "benchmark/model_bench.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/random.h"
#include "benchmark/peak_memory.h"
#include "benchmark/timed_run.h"
#include "checkpoint/checkpoint.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kMilli = 1e-3;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Spread spread_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {.median = median(values), .min = *low, .max = *high};
}

Status check_options(const ModelBenchOptions& options) {
  constexpr int64_t kMaxTokens = int64_t{1} << 24;
  constexpr int64_t kMaxRepeats = 1000;
  for (const LengthPair& pair : options.pairs) {
    for (int64_t length : {pair.input, pair.output}) {
      if (length < 1 || length > kMaxTokens)
        return invalid_argument("--pairs: {} is outside [1, {}]", length, kMaxTokens);
    }
  }
  const int64_t max_batch =
      std::min(options.max_num_seqs.value_or(INT64_MAX), options.engine.max_num_batched_tokens);
  for (int64_t batch : options.batches) {
    if (batch < 1 || batch > max_batch) {
      return invalid_argument("--batch: {} is outside [1, {}], the sequences that one step can compute",
                              batch, max_batch);
    }
  }
  if (options.num_repeats < 1 || options.num_repeats > kMaxRepeats)
    return invalid_argument("--repeat: {} is outside [1, {}]", options.num_repeats, kMaxRepeats);
  return ok_status();
}

// The model's own dtype where the options leave it open, as the engine chooses.
DType cache_dtype(const EngineOptions& options, const ModelConfig& config) {
  return options.kv_cache_dtype.value_or(options.dtype.value_or(config.torch_dtype));
}

// Room for the largest row, so that nothing waits and nothing is preempted.
EngineOptions engine_options(const ModelBenchOptions& options, const ModelConfig& config) {
  EngineOptions engine = options.engine;
  const int64_t max_batch = *std::max_element(options.batches.begin(), options.batches.end());
  engine.max_num_seqs = options.max_num_seqs.value_or(max_batch);
  int64_t longest = 0;
  for (const LengthPair& pair : options.pairs) longest = std::max(longest, pair.input + pair.output);
  if (!engine.max_model_len) engine.max_model_len = longest;
  if (!engine.kv_memory_bytes) {
    // One page more per sequence: the scheduler admits only while every running one has room to grow.
    const int64_t pages = max_batch * (ceil_div(longest, engine.block_size) + 1);
    engine.kv_memory_bytes = static_cast<uint64_t>(pages * engine.block_size) *
                             cache_bytes_per_token(config, cache_dtype(engine, config));
  }
  return engine;
}

Result<ModelTraffic> read_traffic(const EngineOptions& options, const ModelConfig& config) {
  FATHOM_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::open(options.model_dir));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description, QuantDescription::load(options.model_dir, config));
  FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, description));
  return describe_traffic(config, weight_groups(config, 1, *checkpoint), cache_dtype(options, config));
}

// The steps in which all requests generate, or all steps where there is none.
std::vector<DecodeStep> steps_that_count(const TimedRun& run, int64_t batch) {
  std::vector<DecodeStep> full;
  std::copy_if(run.decode_steps.begin(), run.decode_steps.end(), std::back_inserter(full),
               [batch](const DecodeStep& step) { return step.num_sequences == batch; });
  return full.empty() ? run.decode_steps : full;
}

void add_decode(const std::vector<TimedRun>& runs, const ModelTraffic& traffic, ModelBenchRow& row) {
  std::vector<double> tps, tpot, rate;
  for (const TimedRun& run : runs) {
    const std::vector<DecodeStep> steps = steps_that_count(run, row.batch);
    if (steps.empty()) return;
    double seconds = 0, tokens = 0, bytes = 0;
    std::vector<double> step_seconds;
    for (const DecodeStep& step : steps) {
      seconds += step.seconds;
      tokens += static_cast<double>(step.num_sequences);
      bytes += decode_bytes(traffic, step.num_sequences, step.num_keys);
      step_seconds.push_back(step.seconds);
    }
    const auto num_steps = static_cast<double>(steps.size());
    tps.push_back(tokens / seconds);
    tpot.push_back(median(step_seconds) / kMilli);
    rate.push_back(bytes / seconds / kGiga);
    row.decode_bytes_per_step = bytes / num_steps;
    row.decode_batch = tokens / num_steps;
    row.num_decode_steps = static_cast<int64_t>(steps.size());
  }
  row.decode_tps = spread_of(tps);
  row.tpot_ms = spread_of(tpot);
  row.decode_gb_per_s = spread_of(rate);
}

ModelBenchRow make_row(const std::vector<TimedRun>& runs, const TimedRunOptions& shape, int64_t chunk_tokens,
                       const ModelTraffic& traffic) {
  ModelBenchRow row;
  row.batch = shape.batch;
  row.lengths = {shape.input, shape.output};
  row.num_prefill_steps = runs.back().num_prefill_steps;
  row.prefill = prefill_work(
      traffic, {.num_sequences = shape.batch, .prompt_len = shape.input, .chunk_tokens = chunk_tokens});
  std::vector<double> tps, ttft, prefill, total, tops;
  for (const TimedRun& run : runs) {
    prefill.push_back(run.prefill_seconds);
    total.push_back(run.total_seconds);
    tps.push_back(static_cast<double>(shape.batch * shape.input) / run.prefill_seconds);
    ttft.push_back(median(run.first_token_seconds) / kMilli);
    tops.push_back(row.prefill.operations.total() / run.prefill_seconds / kTera);
  }
  row.prefill_tps = spread_of(tps);
  row.ttft_ms = spread_of(ttft);
  row.prefill_seconds = spread_of(prefill);
  row.total_seconds = spread_of(total);
  row.prefill_tops = spread_of(tops);
  add_decode(runs, traffic, row);
  return row;
}

Result<ModelBenchRow> measure_row(Engine& engine, const ModelBenchOptions& options, TimedRunOptions shape,
                                  const ModelTraffic& traffic, ProgressSink* progress) {
  const int64_t preempted_before = engine.statistics().num_preemptions;
  std::vector<TimedRun> runs;
  reset_peak_memory();
  for (int64_t repeat = 0; repeat < options.num_repeats; ++repeat) {
    shape.random_key =
        random_key(options.seed, fmt::format("{} {} {} {}", shape.batch, shape.input, shape.output, repeat));
    FATHOM_ASSIGN_OR_RETURN(TimedRun run, run_timed(engine, shape, progress));
    runs.push_back(std::move(run));
  }
  ModelBenchRow row = make_row(runs, shape, options.engine.max_num_batched_tokens, traffic);
  row.peak_rss_bytes = peak_memory_bytes();
  row.num_preemptions = engine.statistics().num_preemptions - preempted_before;
  return row;
}

// Faults the weights in and brings the engine's own memory up: two tokens after a prompt of one chunk.
Status warm_up(Engine& engine, const ModelBenchOptions& options) {
  const LengthPair& first = options.pairs.front();
  const int64_t room = engine.max_model_len() - 1;
  const int64_t input = std::min({first.input, options.engine.max_num_batched_tokens, room});
  const TimedRunOptions shape{.batch = 1,
                              .input = input,
                              .output = std::min<int64_t>(2, engine.max_model_len() - input),
                              .random_key = random_key(options.seed, "warm up")};
  return run_timed(engine, shape, nullptr).status();
}

void hold_against_roof(const ModelBenchReport& report, ModelBenchRow& row) {
  const double bandwidth = report.machine.read.best;
  if (row.decode_gb_per_s) row.roof_fraction_decode = row.decode_gb_per_s->median * kGiga / bandwidth;
  const double reading = row.prefill.weight_bytes / bandwidth;
  const auto computing = operation_seconds(row.prefill.operations, report.rates);
  if (!computing) return;
  row.prefill_limit = reading > *computing ? PrefillLimit::kBandwidth : PrefillLimit::kOperations;
  row.roof_fraction_prefill = std::max(reading, *computing) / row.prefill_seconds.median;
}

}  // namespace

std::string_view prefill_limit_name(PrefillLimit limit) {
  switch (limit) {
    case PrefillLimit::kBandwidth:
      return "bandwidth";
    case PrefillLimit::kOperations:
      return "operations";
    case PrefillLimit::kUnknown:
      break;
  }
  return "unknown";
}

Result<ModelBenchReport> bench_model(const ModelBenchOptions& options, ProgressSink* progress) {
  FATHOM_CHECK(!options.pairs.empty() && !options.batches.empty(), "no rows asked for");
  FATHOM_RETURN_IF_ERROR(check_options(options));
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(options.engine.model_dir));
  EngineOptions engine_opts = engine_options(options, config);
  if (engine_opts.num_threads == 0) engine_opts.num_threads = available_cpus();
  FATHOM_ASSIGN_OR_RETURN(const ModelTraffic traffic, read_traffic(engine_opts, config));

  ModelBenchReport report;
  report.model = engine_opts.model_dir;
  report.isa = engine_opts.isa;
  report.num_threads = engine_opts.num_threads;
  const MachineOptions machine_options{.thread_counts = {report.num_threads},
                                       .seconds = options.machine_seconds};
  FATHOM_ASSIGN_OR_RETURN(report.before, measure_machine(machine_options, progress));
  {
    FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::load(engine_opts, progress));
    FATHOM_RETURN_IF_ERROR(warm_up(*engine, options));
    for (const LengthPair& pair : options.pairs) {
      for (int64_t batch : options.batches) {
        const TimedRunOptions shape{
            .batch = batch, .input = pair.input, .output = pair.output, .random_key = 0};
        FATHOM_ASSIGN_OR_RETURN(ModelBenchRow row, measure_row(*engine, options, shape, traffic, progress));
        report.rows.push_back(std::move(row));
      }
    }
  }
  FATHOM_ASSIGN_OR_RETURN(report.after, measure_machine(machine_options, progress));
  report.machine = better_of(report.before, report.after).threads.front();
  report.rates = tier_rates(report.machine, report.isa);
  for (ModelBenchRow& row : report.rows) hold_against_roof(report, row);
  return report;
}

}  // namespace fathom
