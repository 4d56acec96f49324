// Times a model on an engine: prompts of random tokens, prefill and decode apart, held against the machine's
// ceilings of the same moment. Everything goes through engine/engine.h; the arithmetic of bytes and
// operations is benchmark/traffic.h's.
//
// What is timed. All requests of a row are submitted at once. Prefill lasts until every prompt has given its
// first token; the requests that are ahead already generate in those steps, which is counted neither as bytes
// nor as operations. Decode is the steps after that in which every request still runs; where outputs are so
// short that there is none, all steps after it.
//
// An engine that drafts has steps of several tokens a sequence. Such a step counts as the steps of one token
// each that it was worth, in bytes and so in shares, which may exceed 1; batch and times are its own.
//
// What it is held against. Before and after every run, and between its prefill and its decode, reading and
// the rates that the model needs are measured with the engine's number of threads and placement. A phase's
// ceilings are the better of the two measurements on either side of it; a share is computed run by run, and
// the median of the repeats is reported. The buffer for that, at most 512 MiB, stays while the model is
// loaded. On a CUDA device its copies stand for reading, and its products of matrices for the rates
// (benchmark/cuda_meter.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "benchmark/cuda_meter.h"
#include "benchmark/machine.h"
#include "benchmark/roof.h"
#include "benchmark/traffic.h"
#include "engine/engine.h"

namespace fathom {

struct LengthPair {
  int64_t input = 0;   // prompt tokens of each request, >= 1
  int64_t output = 0;  // generated tokens of each request, >= 1
};

struct ModelBenchOptions {
  // max_num_seqs, max_model_len and kv_memory_bytes are replaced by what the rows need where absent here.
  EngineOptions engine;
  std::optional<int64_t> max_num_seqs = {};
  std::vector<LengthPair> pairs = {};
  std::vector<int64_t> batches = {};
  int64_t num_repeats = 1;
  uint64_t seed = 0;
  // Of each of the machine's measurements, before and after; beside a run two thirds for reading and one
  // third for each rate.
  double machine_seconds = 0.3;
  // Of the buffers that reading is measured over; 0: more than the caches hold. What fits into them says
  // nothing about memory: for whoever needs no shares.
  uint64_t read_bytes = 0;
};

// Of the repeats.
struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

struct ModelBenchRow {
  int64_t batch = 0;
  LengthPair lengths;

  Spread prefill_tps;                // prompt tokens a second
  Spread ttft_ms;                    // median of the requests
  Spread prefill_seconds;            // of all prompts
  Spread total_seconds;              // from submission to the last token
  std::optional<Spread> decode_tps;  // tokens a second of all requests; absent for outputs of one token
  std::optional<Spread> tpot_ms;     // median step
  std::optional<Spread> decode_gb_per_s;
  StepBytes decode_step;          // mean bytes; 0 without decode
  double decode_batch = 0;        // mean sequences of the steps that count
  int64_t num_decode_steps = 0;   // that count, of one repeat
  int64_t num_prefill_steps = 0;  // of one repeat

  PrefillWork prefill;                          // of all prompts
  Spread prefill_tops;                          // its operations, 1e12 a second
  Spread read_gb_per_s;                         // beside decode, without one beside prefill
  std::optional<Spread> roof_fraction_decode;   // of the read bandwidth beside it
  std::optional<Spread> roof_fraction_prefill;  // of the lower of the two limits beside it
  std::optional<RoofLimit> prefill_limit;       // of the last run; absent where a rate is unknown
  uint64_t peak_rss_bytes = 0;                  // without the buffer of the measurements
  int64_t num_preemptions = 0;    // of all repeats; where any, the memory for the cache was too small
  int64_t num_drafts = 0;         // of all repeats
  int64_t num_accepted = 0;       // of these
  int64_t num_cached_tokens = 0;  // of prompts, found in the prefix cache: none, or the figures are wrong
};

// A CUDA device's ceilings: before the model was loaded, and at the end.
struct CudaMoments {
  CudaDeviceFacts facts;
  Moment before;
  Moment after;

  Moment better() const { return better_of(before, after); }
};

struct ModelBenchReport {
  std::string model;
  Isa isa = Isa::kReference;
  int num_threads = 1;  // of a rank
  int num_ranks = 1;
  int64_t num_repeats = 1;
  int64_t step_tokens = 0;          // --max-num-batched-tokens
  std::optional<CudaMoments> cuda;  // of --device cuda; then there are none of the CPU
  MachineCeilings before;
  MachineCeilings after;
  ThreadCeilings machine;           // the better of both at num_threads; shares are of each row's own
  TierRates rates;                  // of that, for the isa, or of cuda
  std::vector<ModelBenchRow> rows;  // pairs outside, batches inside
};

// Failure: sizes that the engine refuses, names the option; anything that loading or a step reports. progress
// may be null.
Result<ModelBenchReport> bench_model(const ModelBenchOptions& options, ProgressSink* progress);
// What the ranks other than 0 do meanwhile. Traffic and ceilings in rank 0's report are those of one rank.
Status follow_bench(const ModelBenchOptions& options);

}  // namespace fathom
