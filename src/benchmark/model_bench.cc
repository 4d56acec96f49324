#include "benchmark/model_bench.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/random.h"
#include "benchmark/engine_traffic.h"
#include "benchmark/peak_memory.h"
#include "benchmark/timed_run.h"
#include "parallel/communicator.h"

namespace fathom {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kMilli = 1e-3;
// Of the buffer that is read beside the runs: it stays beside the model.
constexpr uint64_t kMaxReadBytes = uint64_t{512} << 20;

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

// Room for the largest row, so that nothing waits and nothing is preempted.
EngineOptions engine_options(const ModelBenchOptions& options, const ModelConfig& config) {
  EngineOptions engine = options.engine;
  // What a row says of a step holds for steps of full chunks.
  engine.step_length = StepLength::kLongest;
  const int64_t max_batch = *std::max_element(options.batches.begin(), options.batches.end());
  engine.max_num_seqs = options.max_num_seqs.value_or(max_batch);
  int64_t longest = 0;
  for (const LengthPair& pair : options.pairs) longest = std::max(longest, pair.input + pair.output);
  if (!engine.max_model_len) engine.max_model_len = longest;
  if (!engine.kv_memory_bytes) {
    const int64_t pages = max_batch * ceil_div(longest, engine.block_size);
    engine.kv_memory_bytes = static_cast<uint64_t>(pages * engine.block_size) *
                             cache_bytes_per_token(config, cache_dtype(engine, config));
  }
  return engine;
}

// A run and the machine's ceilings beside its phases.
struct MeasuredRun {
  TimedRun run;
  Moment prefill;
  Moment decode;
};

// The steps in which all requests generate, or all steps where there is none.
std::vector<DecodeStep> steps_that_count(const TimedRun& run, int64_t batch) {
  std::vector<DecodeStep> full;
  std::copy_if(run.decode_steps.begin(), run.decode_steps.end(), std::back_inserter(full),
               [batch](const DecodeStep& step) { return step.num_sequences == batch; });
  return full.empty() ? run.decode_steps : full;
}

void add_decode(const std::vector<MeasuredRun>& runs, const ModelTraffic& traffic, ModelBenchRow& row) {
  std::vector<double> tps, tpot, rate, ceiling, share;
  for (const MeasuredRun& measured : runs) {
    const std::vector<DecodeStep> steps = steps_that_count(measured.run, row.batch);
    if (steps.empty()) return;
    double seconds = 0, tokens = 0, sequences = 0;
    StepBytes bytes;
    std::vector<double> step_seconds;
    for (const DecodeStep& step : steps) {
      // Of a step of one token each, and how many of them this one was worth.
      const double worth = static_cast<double>(step.num_tokens) / static_cast<double>(step.num_sequences);
      const StepBytes step_bytes =
          decode_bytes(traffic, step.num_sequences, step.num_keys * step.num_sequences / step.num_tokens);
      seconds += step.seconds;
      tokens += static_cast<double>(step.num_tokens);
      sequences += static_cast<double>(step.num_sequences);
      bytes.weights += step_bytes.weights * worth;
      bytes.cache += step_bytes.cache * worth;
      step_seconds.push_back(step.seconds);
    }
    const auto num_steps = static_cast<double>(steps.size());
    const double achieved = bytes.total() / seconds;
    tps.push_back(tokens / seconds);
    tpot.push_back(median(step_seconds) / kMilli);
    rate.push_back(achieved / kGiga);
    ceiling.push_back(measured.decode.read_bytes_per_second / kGiga);
    share.push_back(achieved / measured.decode.read_bytes_per_second);
    row.decode_step = {.weights = bytes.weights / num_steps, .cache = bytes.cache / num_steps};
    row.decode_batch = sequences / num_steps;
    row.num_decode_steps = static_cast<int64_t>(steps.size());
  }
  row.decode_tps = spread_of(tps);
  row.tpot_ms = spread_of(tpot);
  row.decode_gb_per_s = spread_of(rate);
  row.read_gb_per_s = spread_of(ceiling);
  row.roof_fraction_decode = spread_of(share);
}

void add_prefill(const std::vector<MeasuredRun>& runs, ModelBenchRow& row) {
  const auto num_tokens = static_cast<double>(row.batch * row.lengths.input);
  std::vector<double> tps, ttft, seconds, tops, ceiling, share;
  for (const auto& [run, moment, decode] : runs) {
    seconds.push_back(run.prefill_seconds);
    tps.push_back(num_tokens / run.prefill_seconds);
    ttft.push_back(median(run.first_token_seconds) / kMilli);
    tops.push_back(row.prefill.operations.total() / run.prefill_seconds / kTera);
    ceiling.push_back(moment.read_bytes_per_second / kGiga);
    const auto roof = roof_of(row.prefill.weight_bytes, row.prefill.operations, moment);
    if (!roof) continue;
    share.push_back(roof->seconds / run.prefill_seconds);
    row.prefill_limit = roof->limit;
  }
  row.prefill_tps = spread_of(tps);
  row.ttft_ms = spread_of(ttft);
  row.prefill_seconds = spread_of(seconds);
  row.prefill_tops = spread_of(tops);
  row.read_gb_per_s = spread_of(ceiling);
  if (!share.empty()) row.roof_fraction_prefill = spread_of(share);
}

// What measures the ceilings beside a run.
struct RunMeter {
  std::function<Result<Moment>()> measure;
  uint64_t host_bytes = 0;  // that it holds
};

// What all rows share. Borrowed.
struct Bench {
  Engine& engine;
  const RunMeter& meter;
  const ModelBenchOptions& options;
  const ModelTraffic& traffic;
  Moment last;  // measured after the latest run, and so before the next
  ProgressSink* progress;
};

Result<MeasuredRun> measure_run(Bench& bench, const TimedRunOptions& shape) {
  const Moment before = bench.last;
  std::optional<Result<Moment>> between;
  MeasuredRun measured;
  FATHOM_ASSIGN_OR_RETURN(
      measured.run, run_timed(bench.engine, shape, bench.progress, [&] { between = bench.meter.measure(); }));
  FATHOM_ASSIGN_OR_RETURN(bench.last, bench.meter.measure());
  if (between) FATHOM_RETURN_IF_ERROR(between->status());
  measured.prefill = better_of(before, between ? **between : bench.last);
  measured.decode = better_of(between ? **between : before, bench.last);
  return measured;
}

Result<ModelBenchRow> measure_row(Bench& bench, size_t row_index, TimedRunOptions shape) {
  const ModelBenchOptions& options = bench.options;
  const EngineStatistics before = bench.engine.statistics();
  std::vector<MeasuredRun> runs;
  reset_peak_memory();
  for (int64_t repeat = 0; repeat < options.num_repeats; ++repeat) {
    // Prompts that no run before had: they would be found in the cache.
    shape.random_key = random_key(options.seed, fmt::format("row {} run {}", row_index, repeat));
    FATHOM_ASSIGN_OR_RETURN(MeasuredRun run, measure_run(bench, shape));
    runs.push_back(std::move(run));
  }
  ModelBenchRow row;
  row.batch = shape.batch;
  row.lengths = {shape.input, shape.output};
  row.num_prefill_steps = runs.back().run.num_prefill_steps;
  row.prefill = prefill_work(bench.traffic, {.num_sequences = shape.batch,
                                             .prompt_len = shape.input,
                                             .chunk_tokens = options.engine.max_num_batched_tokens});
  std::vector<double> total;
  for (const MeasuredRun& run : runs) total.push_back(run.run.total_seconds);
  row.total_seconds = spread_of(total);
  add_prefill(runs, row);
  add_decode(runs, bench.traffic, row);
  const uint64_t peak = peak_memory_bytes();
  row.peak_rss_bytes = peak - std::min(peak, bench.meter.host_bytes);
  const EngineStatistics after = bench.engine.statistics();
  row.num_preemptions = after.num_preemptions - before.num_preemptions;
  row.num_drafts = after.speculation.num_drafts - before.speculation.num_drafts;
  row.num_accepted = after.speculation.num_accepted - before.speculation.num_accepted;
  row.num_cached_tokens = after.num_cached_tokens - before.num_cached_tokens;
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

// The rates that prefill is held against, of those that there are probes for.
MomentOptions moment_options(const ModelBenchOptions& options, const ModelTraffic& traffic,
                             const TierRates& probes) {
  const PrefillWork work = prefill_work(traffic, {});
  return {.probes = needed_rates(probes, work.operations),
          .read_seconds = options.machine_seconds * 2 / 3,
          .compute_seconds = options.machine_seconds / 3};
}

// Loads the engine and measures all rows.
Status bench_rows(const ModelBenchOptions& options, const EngineOptions& engine_opts,
                  const ModelTraffic& traffic, const RunMeter& meter, ModelBenchReport& report,
                  ProgressSink* progress) {
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::load(engine_opts, progress));
  FATHOM_RETURN_IF_ERROR(warm_up(*engine, options));
  Bench bench{.engine = *engine,
              .meter = meter,
              .options = options,
              .traffic = traffic,
              .last = {},
              .progress = progress};
  FATHOM_ASSIGN_OR_RETURN(bench.last, meter.measure());
  for (const LengthPair& pair : options.pairs) {
    for (int64_t batch : options.batches) {
      const TimedRunOptions shape{
          .batch = batch, .input = pair.input, .output = pair.output, .random_key = 0};
      FATHOM_ASSIGN_OR_RETURN(ModelBenchRow row, measure_row(bench, report.rows.size(), shape));
      report.rows.push_back(std::move(row));
    }
  }
  return ok_status();
}

Status bench_on_cpu(const ModelBenchOptions& options, const EngineOptions& engine_opts,
                    const ModelTraffic& traffic, ModelBenchReport& report, ProgressSink* progress) {
  const MachineOptions machine_options{.thread_counts = {report.num_threads},
                                       .seconds = options.machine_seconds,
                                       .read_bytes = options.read_bytes};
  FATHOM_ASSIGN_OR_RETURN(report.before, measure_machine(machine_options, progress));
  {
    const uint64_t read_bytes = options.read_bytes != 0
                                    ? options.read_bytes
                                    : choose_read_bytes(report.before.last_level_cache_bytes, kMaxReadBytes);
    FATHOM_ASSIGN_OR_RETURN(const auto meter, CeilingMeter::create(report.num_threads, read_bytes));
    const MomentOptions moment =
        moment_options(options, traffic, tier_rates(report.before.threads.front(), report.isa));
    const RunMeter run_meter{.measure = [&] { return Result<Moment>(measure_moment(*meter, moment)); },
                             .host_bytes = meter->read_bytes()};
    FATHOM_RETURN_IF_ERROR(bench_rows(options, engine_opts, traffic, run_meter, report, progress));
  }
  FATHOM_ASSIGN_OR_RETURN(report.after, measure_machine(machine_options, progress));
  report.machine = better_of(report.before, report.after).threads.front();
  report.rates = tier_rates(report.machine, report.isa);
  return ok_status();
}

Status bench_on_cuda(const ModelBenchOptions& options, const EngineOptions& engine_opts,
                     const ModelTraffic& traffic, ModelBenchReport& report, ProgressSink* progress) {
  FATHOM_ASSIGN_OR_RETURN(const CudaDevice device, open_cuda_device(0));
  FATHOM_ASSIGN_OR_RETURN(const auto meter, CudaMeter::create(device));
  const MomentOptions moment = moment_options(options, traffic, cuda_probes());
  const RunMeter run_meter{.measure = [&] { return meter->measure(moment); }};
  report.cuda.emplace();
  report.cuda->facts = device.facts;
  FATHOM_ASSIGN_OR_RETURN(report.cuda->before, run_meter.measure());
  FATHOM_RETURN_IF_ERROR(bench_rows(options, engine_opts, traffic, run_meter, report, progress));
  FATHOM_ASSIGN_OR_RETURN(report.cuda->after, run_meter.measure());
  report.rates = report.cuda->better().rates;
  return ok_status();
}

}  // namespace

Status follow_bench(const ModelBenchOptions& options) {
  FATHOM_RETURN_IF_ERROR(check_options(options));
  FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(options.engine.model_dir));
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          Engine::load(engine_options(options, config), nullptr));
  return engine->follow();
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
  report.num_repeats = options.num_repeats;
  report.step_tokens = engine_opts.max_num_batched_tokens;
  if (engine_opts.communicator != nullptr) report.num_ranks = engine_opts.communicator->size();
  const auto bench_on = engine_opts.device == DeviceKind::kCuda ? bench_on_cuda : bench_on_cpu;
  FATHOM_RETURN_IF_ERROR(bench_on(options, engine_opts, traffic, report, progress));
  return report;
}

}  // namespace fathom
