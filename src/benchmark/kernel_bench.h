// Times the kernels of the table in use one by one, on a model's real shapes, and holds each against the
// roof: the lower of what memory can deliver and what the instructions can multiply, measured before and
// after each section of the report. No model is needed, only its config: weights, caches and activations are
// random.
//
// What is timed. A call is what one operation of the backend does with one matrix or one layer's cache,
// shared out over the threads as the backend does (device/work_share.h, device/cpu_attention.cc); calls
// follow each other without a barrier in passes of some milliseconds, so that starting threads is not part of
// it. Weights and caches rotate through pool_bytes of memory, so that each call finds its own outside the
// caches, as a layer does after all the others. Bytes are those: weights with scales, cached rows;
// activations stay in the caches and are not counted, except by the kernels that do nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/progress.h"
#include "base/status.h"
#include "benchmark/roof.h"
#include "checkpoint/model_config.h"

namespace fathom {

enum class KernelGroup : uint8_t { kLinear, kExperts, kAttention, kSmall };
std::string_view kernel_group_name(KernelGroup group);  // "linear", "experts", "attention", "small"
std::optional<KernelGroup> kernel_group_from_name(std::string_view name);

struct KernelBenchOptions {
  ModelConfig config = {};
  std::string model = {};  // the config's name, for the report
  Isa isa = Isa::kReference;
  int num_threads = 0;                                 // 0: all CPUs this process may use
  std::vector<int64_t> tokens = {1, 4, 16, 64, 512};   // rows of linears and small kernels
  std::vector<int64_t> contexts = {256, 4096, 16384};  // cached tokens, of attention
  std::optional<KernelGroup> only = {};                // absent: all
  double seconds = 0.05;                               // of each row, and at least some calls
  // At most, of weights or cached rows, and once more for the read bandwidth; less where little memory is
  // free.
  uint64_t pool_bytes = uint64_t{512} << 20;
};

// Seconds of one call.
struct CallTime {
  double best = 0;  // of passes
  double median = 0;
  int64_t num_calls = 0;
};

struct KernelRow {
  std::string name = {};    // "q_proj", "absorbed"
  std::string kernel = {};  // the implementation: "avx512"
  std::string shape = {};   // "3072 x 2048", "4096 keys"
  int64_t tokens = 0;
  double bytes = 0;
  OperationCounts operations = {};
  double rotated_bytes = 0;  // that calls go round through: below the last-level caches it is read from them
  CallTime time = {};
  std::optional<Roof> roof = {};  // absent where a rate is unknown

  // Of the roof that the best call reaches.
  std::optional<double> share() const {
    return roof ? std::optional(roof->seconds / time.best) : std::nullopt;
  }
};

struct KernelSection {
  KernelGroup group = KernelGroup::kLinear;
  std::string name = {};  // "w8a8", "absorbed, bf16 cache"
  Moment moment = {};     // the better of before and after
  std::vector<KernelRow> rows = {};
};

// The whole attention of one layer for new tokens of one sequence in both forms, products with kv_b_proj
// included: what the engine chooses between by the length of a prompt.
struct AttentionForms {
  int64_t context = 0;    // tokens cached before the new ones
  int64_t num_heads = 0;  // of the model's
  struct Row {
    int64_t tokens = 0;
    CallTime absorbed;
    CallTime expanded;
  };
  std::vector<Row> rows = {};
  // Tokens from which the expanded form is faster, between two rows by interpolation; absent where one form
  // is faster throughout.
  std::optional<double> crossover = {};
  int64_t engine_crossover = 0;  // where the engine changes over
};

struct KernelBenchReport {
  std::string model = {};
  std::string device = {};  // of a CUDA device its name, and nothing of the CPU; else empty
  std::string cpu = {};
  Isa isa = Isa::kReference;
  int num_threads = 1;
  uint64_t last_level_cache_bytes = 0;
  ThreadCeilings machine = {};  // at the start
  std::vector<KernelSection> sections = {};
  std::optional<AttentionForms> forms = {};
};

// An option out of range, named.
Status check_kernel_options(const KernelBenchOptions& options);

// Failure: an option out of range, named; no memory or threads. progress may be null. Like an engine's, its
// thread must not be pinned when this is called.
Result<KernelBenchReport> bench_kernels(const KernelBenchOptions& options, ProgressSink* progress);

}  // namespace fathom
