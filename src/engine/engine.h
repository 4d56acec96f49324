// The engine: many requests at once on one model. Integers in (prompt ids, sampling parameters), tokens and
// text out through listeners. Not here: HTTP, chat templates, threads of its own.
//
// Thread rule: one thread owns an Engine and calls everything on it, token_trie() excepted; listeners are
// called from inside step() and cancel().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/device_kind.h"
#include "base/progress.h"
#include "base/status.h"
#include "checkpoint/generation_config.h"
#include "checkpoint/model_config.h"
#include "engine/draft_policy.h"
#include "parallel/communicator.h"
#include "sample/sampler.h"
#include "sample/sampling_params.h"
#include "schedule/sequence.h"
#include "tensor/dtype.h"
#include "text/tokenizer.h"

namespace fathom {

class Checkpoint;
class CompiledConstraint;
class TokenTrie;

// Tokens guessed ahead and checked in the step of the token before them. No result depends on it.
enum class Speculation : uint8_t {
  kOff,
  kNgram,       // from what followed the same tokens earlier in the sequence, as far as that pays
  kDraftModel,  // by a second model, as far as that pays
};

// Whether a prompt takes over what the cache has of earlier requests' beginnings; no result depends on it.
// The choices of one request share their prompt all the same.
enum class PrefixCaching : uint8_t { kOn, kOff };

// Whether each rank has the attention of its own sequences, and their cache, instead of a part of all
// sequences' attention and a copy of the whole cache.
enum class DataParallelAttention : uint8_t { kOff, kOn };

// How long a step with prompts may be; no result depends on it.
enum class StepLength : uint8_t {
  kBalanced,  // while others wait for their next token, no longer than makes prompts efficient
  kLongest,   // max_num_batched_tokens
};

struct EngineOptions {
  std::string model_dir;
  std::optional<DType> dtype;           // activations; default: the checkpoint's
  std::optional<DType> kv_cache_dtype;  // default: the activation dtype
  int64_t block_size = 128;
  std::optional<int64_t>
      max_model_len;  // default: the config's max_position_embeddings, less where memory is short
  int64_t max_num_seqs = 64;
  int64_t max_num_batched_tokens = 512;
  int64_t max_prefill_tokens = 0;           // of prompts in a step; 0: what the step has
  int64_t max_prefill_seqs = 0;             // prompts computed side by side; 0: no limit
  std::optional<int64_t> max_wait_steps;    // after which a request goes first; default: the scheduler's
  std::optional<uint64_t> kv_memory_bytes;  // default: what max_num_seqs need, at most a share of free memory
  // Prompts of at least this many tokens are computed in the expanded form of attention; default: as
  // measured. Part of "the same options" in D1 (docs/numerics.md).
  std::optional<int64_t> expanded_prompt_tokens;
  Speculation speculation = Speculation::kNgram;
  // Of kDraftModel: a checkpoint folder with the same vocabulary. Its cache is counted in kv_memory_bytes.
  std::string draft_model_dir = {};
  PrefixCaching prefix_caching = PrefixCaching::kOn;
  StepLength step_length = StepLength::kBalanced;
  // Seconds, by which steps are timed; empty: the monotonic clock. Only speed depends on it.
  std::function<double()> clock = {};
  DeviceKind device = DeviceKind::kCpu;
  int num_threads = 0;        // 0: all CPUs this process may use
  Isa isa = Isa::kReference;  // of kCpu
  // The ranks that compute the model together, outlives the engine; null: this process alone. All load with
  // the same options. Each needs memory for its share of the weights, and for a cache as large as that of one
  // alone, of all sequences or of its own.
  Communicator* communicator = nullptr;
  // Slices that the model is cut into (model/sharding.h), on which bits depend; 0: one a rank.
  int64_t num_slices = 0;
  int64_t num_expert_groups = 1;  // groups of ranks between which whole experts are shared out
  // With num_slices results are those without it; else attention is computed in one piece.
  DataParallelAttention data_parallel_attention = DataParallelAttention::kOff;
};

// Log-probabilities a request asks for besides its tokens: natural logarithms of the softmax of the logits as
// the model gave them.
struct PromptScoring {
  std::optional<int64_t> first = {};   // in [1, prompt length): of the prompt's own tokens from this one on
  std::vector<int32_t> next_ids = {};  // of each of these as the token after the prompt
  int32_t num_top = 0;  // beside each scored token of the prompt, the likeliest; at most kMaxLogprobs
};

struct PromptScores {
  std::vector<double> logprobs;  // [prompt length - first]
  std::vector<int64_t> ranks;    // the same; 1: no token was likelier
  // [prompt length - first][num_top], the likeliest first; none where num_top is 0.
  std::vector<std::vector<TokenLogprob>> top_logprobs;
  std::vector<double> next_logprobs;  // [next_ids]
};

struct Request {
  std::vector<int32_t> prompt_ids;
  SamplingParams sampling;
  PromptScoring scoring = {};
  // Answers to the prompt, called choices, each with random numbers of its own: see choice_seed().
  int32_t n = 1;
  int32_t priority = 0;         // smaller is sooner
  std::string cache_salt = {};  // what the cache has of prompts is taken over only where this is the same
  // What every answer has to match, by its end. It comes before all else that bears on the end: an answer
  // ends with kStop as soon as nothing but the end may follow; where other tokens may follow too, min_tokens
  // puts off the end, and ignore_eos avoids it for good. May be null.
  std::shared_ptr<const CompiledConstraint> constraint = {};
};

// The seed with which a request for one answer gets this choice of a request with `seed`.
uint64_t choice_seed(uint64_t seed, int32_t choice);

// Of all choices of a request.
using RequestId = SequenceId;

// What a step did for one choice of a request.
struct RequestEvent {
  RequestId request_id = 0;
  int32_t choice = 0;                    // in [0, n)
  std::optional<int32_t> token_id = {};  // absent when the request ends without a token (cancelled, failed)
  std::optional<double> logprob = {};    // where SamplingParams::logprobs asks
  std::vector<TokenLogprob> top_logprobs = {};
  std::string_view text = {};     // what may be shown now; valid during the call
  int64_t num_cached_tokens = 0;  // with the first token: of the prompt, taken over from the cache
  // With the first token of choice 0, where Request::scoring asks; valid during the call.
  const PromptScores* prompt_scores = nullptr;
  FinishReason finish_reason = FinishReason::kNone;
  Status status = {};  // not ok: the request failed, all its choices with kError
};

// "stop", "length", "cancelled", "error"; "" for kNone.
std::string_view finish_reason_name(FinishReason reason);

// Called for every token of every choice and once at a choice's end, which may be the same call. May submit
// and cancel, may not call step().
using RequestListener = std::function<void(const RequestEvent&)>;

// What a step computed: from it follows the least time that it could take (benchmark/step_roof.h).
struct StepWork {
  double seconds = 0;  // that it took
  int64_t num_tokens = 0;
  int64_t num_logits = 0;     // positions that went through the head
  int64_t num_keys = 0;       // latents read, of all sequences
  int64_t num_expanded = 0;   // of these, expanded once more for a later part of their prompt
  double expanded_pairs = 0;  // queries times keys, by form of attention
  double absorbed_pairs = 0;
};

struct EngineStatistics {
  int64_t num_waiting = 0;
  int64_t num_running = 0;
  int64_t num_preemptions = 0;
  int64_t num_prompt_tokens = 0;  // of requests that have begun
  int64_t num_cached_tokens = 0;  // of these, taken over from earlier requests
  int64_t num_steps = 0;
  int64_t num_computed_tokens = 0;  // of all steps, drafts included
  double model_seconds = 0;         // of all steps, in the model's forward pass
  StepWork last_step = {};
  SpeculationStatistics speculation = {};
  int64_t pages_used = 0;  // of all caches
  int64_t pages_total = 0;
  int64_t num_caches = 1;  // of pages_total / num_caches pages; a sequence has all its pages in one
};

class Engine {
 public:
  // Opens the folder, plans the memory, loads. progress may be null. Of several ranks all load, or none.
  static Result<std::unique_ptr<Engine>> load(const EngineOptions& options, ProgressSink* progress);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const;  // that it was loaded with
  const ModelConfig& config() const;
  const Checkpoint& checkpoint() const;
  const GenerationConfig& generation_config() const;
  // Null where the folder has no tokenizer: then text stays empty and stop strings are refused.
  const Tokenizer* tokenizer() const;
  // What constraints are compiled for: made by the first call, on any thread. Null where the model has no
  // tokenizer or no end token in it.
  std::shared_ptr<const TokenTrie> token_trie() const;
  int64_t max_model_len() const;

  // Whether this is rank 0, or alone. Of the other ranks nothing below is called but follow().
  bool leads() const;
  // Computes with rank 0 until its engine is destroyed. Failure: a lost rank.
  Status follow();

  // Refuses, naming limit and value: an empty or too long prompt, ids outside the vocabulary, bad parameters,
  // scoring outside the prompt, a constraint for another vocabulary. kResourceExhausted: no place in line
  // now.
  Result<RequestId> submit(Request request, RequestListener listener);
  // Ends all choices of a request at once; unknown ids are ignored.
  void cancel(RequestId id);
  // In line, not yet (or after preemption not) computed.
  bool is_waiting(RequestId id, int32_t choice) const;
  bool has_work() const;
  // An error once another rank is lost, which is noticed without a step too: step() cannot work any more.
  Status health() const;
  // Computes one batch. An error concerns the whole engine; a single request's goes to its listener.
  Status step();

  // While there is no work: counts pages and prefixes of the cache again, unless that has been done lately,
  // so that it takes at most 1 % of the time. kInvalidData: a count is wrong, and answers could be.
  Status recount();

  // Teacher-forced logits of ids: calls sink(first_position, logits [rows, vocab_size]) in order of
  // positions. Between two steps, never from a listener or sink; requests under way are not affected but for
  // the time, and for their pages: kResourceExhausted where too few are free.
  using ScoreSink = std::function<Status(int64_t first_position, std::span<const float> logits)>;
  Status score(std::span<const int32_t> ids, const ScoreSink& sink);

  EngineStatistics statistics() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
