#include "cli/engine_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "cli/console.h"

namespace fathom {
namespace {

constexpr int64_t kMaxSlices = 1024;

enum class Int8Choice { kRefused, kOffered };

Status parse_dtype(const std::string& text, const std::string& option, Int8Choice int8,
                   std::optional<DType>& dtype) {
  if (text == "auto") return ok_status();
  dtype = dtype_from_name(text);
  const bool offered =
      dtype && (is_floating(*dtype) || (*dtype == DType::kInt8 && int8 == Int8Choice::kOffered));
  if (offered) return ok_status();
  return invalid_argument("{}: \"{}\" is not one of auto, fp32, bf16, fp16{}", option, text,
                          int8 == Int8Choice::kOffered ? ", int8" : "");
}

Status parse_optional_size(const std::string& text, const char* option, std::optional<uint64_t>& size) {
  if (text.empty()) return ok_status();
  FATHOM_ASSIGN_OR_RETURN(size, parse_size(text, option));
  return ok_status();
}

Result<Speculation> parse_speculation(const EngineFlags& flags) {
  const std::string& text = flags.speculation;
  if (!text.empty() && text != "ngram" && text != "off")
    return invalid_argument("--speculation: \"{}\" is not one of ngram, off", text);
  if (!flags.draft_model.empty()) {
    if (!text.empty()) return invalid_argument("--draft-model: not together with --speculation {}", text);
    return Speculation::kDraftModel;
  }
  if (text.empty()) return flags.default_speculation;
  return text == "off" ? Speculation::kOff : Speculation::kNgram;
}

Result<int64_t> in_range(int64_t value, int64_t low, int64_t high, const char* option) {
  if (value < low || value > high)
    return invalid_argument("{}: {} is outside [{}, {}]", option, value, low, high);
  return value;
}

}  // namespace

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command.add_option("MODEL", flags.model, "checkpoint folder")->required();
  add_engine_options(command, flags);
}

void add_engine_options(CLI::App& command, EngineFlags& flags) {
  const std::string group = kEngineGroup;
  command
      .add_option("--device", flags.device,
                  "what computes: cpu, or cuda (one GPU a rank; ranks may share one)")
      ->capture_default_str()
      ->group(group);
  command.add_option("--dtype", flags.dtype, "activations: auto (the checkpoint's), fp32, bf16, fp16")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--kv-cache-dtype", flags.kv_cache_dtype,
                  "latent cache: auto (as --dtype), fp32, bf16, fp16, int8")
      ->capture_default_str()
      ->group(group);
  command.add_option("--kv-memory", flags.kv_memory, "memory for the latent cache, for example 4G")
      ->group(group);
  command
      .add_option("--max-model-len", flags.max_model_len, "longest sequence, prompt and answer, in tokens")
      ->group(group);
  command.add_option("--max-num-seqs", flags.max_num_seqs, "sequences computed at once")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-num-batched-tokens", flags.max_num_batched_tokens, "tokens of one step")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-prefill-tokens", flags.max_prefill_tokens, "of these, for prompts; 0: all")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-prefill-seqs", flags.max_prefill_seqs, "prompts computed side by side; 0: any")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--max-wait-steps", flags.max_wait_steps,
                  "steps after which a request goes first, whatever its priority")
      ->group(group);
  command.add_option("--block-size", flags.block_size, "tokens of a cache page")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--speculation", flags.speculation,
                  "guess tokens ahead and check them together: ngram (from earlier text, while it pays), off")
      ->default_str(flags.default_speculation == Speculation::kOff ? "off" : "ngram")
      ->group(group);
  command
      .add_option(
          "--draft-model", flags.draft_model,
          "guess by a smaller model of the same vocabulary instead, while it pays: a checkpoint folder")
      ->group(group);
  command
      .add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", flags.prefix_caching,
                "take over what the cache has of earlier prompts (default), or do not")
      ->group(group);
  command.add_option("--threads", flags.threads, "compute threads; 0: all CPUs this process may use")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--tp", flags.num_ranks,
                  "ranks that compute together, under fathom launch; 0: all there are")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--moe-ep", flags.num_expert_groups,
                  "groups of ranks between which whole experts are shared out; 1: all have parts of all")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--dp-attention", flags.dp_attention,
                "each rank has the attention and the cache of its own sequences: N times the cache")
      ->group(group);
  command
      .add_option("--slices", flags.num_slices,
                  "slices the model is cut into, equal bits on any ranks; 0: one a rank")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--trust-remote-code")
      ->description("accepted, never needed: no code of a model folder is run")
      ->group(group);
}

Result<Isa> isa_in_use(const CpuFeatures& features) {
  const Isa best = features.best_isa();
  const char* forced = std::getenv("FATHOM_ISA");
  if (forced == nullptr || *forced == '\0') return best;
  const std::optional<Isa> isa = isa_from_name(forced);
  if (!isa) return invalid_argument("FATHOM_ISA: \"{}\" is not one of reference, avx2, avx512, amx", forced);
  if (*isa > best) {
    return unsupported("FATHOM_ISA: this machine has no {}; its best is {}", isa_name(*isa), isa_name(best));
  }
  return *isa;
}

Result<DeviceKind> parse_device(const std::string& text) {
  const std::optional<DeviceKind> device = device_from_name(text);
  if (!device) return invalid_argument("--device: \"{}\" is not one of cpu, cuda", text);
  return *device;
}

Result<EngineOptions> to_engine_options(const EngineFlags& flags, const std::string& dtype_prefix) {
  EngineOptions options;
  options.model_dir = flags.model;
  FATHOM_ASSIGN_OR_RETURN(options.device, parse_device(flags.device));
  FATHOM_RETURN_IF_ERROR(
      parse_dtype(flags.dtype, dtype_prefix + "dtype", Int8Choice::kRefused, options.dtype));
  FATHOM_RETURN_IF_ERROR(parse_dtype(flags.kv_cache_dtype, dtype_prefix + "kv-cache-dtype",
                                     Int8Choice::kOffered, options.kv_cache_dtype));
  FATHOM_RETURN_IF_ERROR(parse_optional_size(flags.kv_memory, "--kv-memory", options.kv_memory_bytes));
  std::optional<uint64_t> max_model_len;
  FATHOM_RETURN_IF_ERROR(parse_optional_size(flags.max_model_len, "--max-model-len", max_model_len));
  constexpr int64_t kMaxLen = int64_t{1} << 24;
  if (max_model_len) {
    FATHOM_ASSIGN_OR_RETURN(options.max_model_len,
                            in_range(static_cast<int64_t>(std::min<uint64_t>(*max_model_len, kMaxLen + 1)), 1,
                                     kMaxLen, "--max-model-len"));
  }
  FATHOM_ASSIGN_OR_RETURN(const uint64_t batched,
                          parse_size(flags.max_num_batched_tokens, "--max-num-batched-tokens"));
  FATHOM_ASSIGN_OR_RETURN(options.max_num_batched_tokens,
                          in_range(static_cast<int64_t>(std::min<uint64_t>(batched, 1 << 20)), 1, 65536,
                                   "--max-num-batched-tokens"));
  FATHOM_ASSIGN_OR_RETURN(options.block_size, in_range(flags.block_size, 1, 4096, "--block-size"));
  FATHOM_ASSIGN_OR_RETURN(options.max_num_seqs, in_range(flags.max_num_seqs, 1, 4096, "--max-num-seqs"));
  constexpr int64_t kMaxCount = 1 << 24;
  FATHOM_ASSIGN_OR_RETURN(options.max_prefill_tokens,
                          in_range(flags.max_prefill_tokens, 0, kMaxCount, "--max-prefill-tokens"));
  FATHOM_ASSIGN_OR_RETURN(options.max_prefill_seqs,
                          in_range(flags.max_prefill_seqs, 0, kMaxCount, "--max-prefill-seqs"));
  if (flags.max_wait_steps) {
    FATHOM_ASSIGN_OR_RETURN(options.max_wait_steps,
                            in_range(*flags.max_wait_steps, 0, kMaxCount, "--max-wait-steps"));
  }
  options.prefix_caching = flags.prefix_caching ? PrefixCaching::kOn : PrefixCaching::kOff;
  options.draft_model_dir = flags.draft_model;
  FATHOM_ASSIGN_OR_RETURN(options.speculation, parse_speculation(flags));
  FATHOM_ASSIGN_OR_RETURN(const int64_t threads, in_range(flags.threads, 0, 1024, "--threads"));
  options.num_threads = static_cast<int>(threads);
  FATHOM_ASSIGN_OR_RETURN(options.num_slices, in_range(flags.num_slices, 0, kMaxSlices, "--slices"));
  FATHOM_ASSIGN_OR_RETURN(options.num_expert_groups,
                          in_range(flags.num_expert_groups, 1, kMaxSlices, "--moe-ep"));
  FATHOM_RETURN_IF_ERROR(in_range(flags.num_ranks, 0, kMaxSlices, "--tp").status());
  options.data_parallel_attention =
      flags.dp_attention ? DataParallelAttention::kOn : DataParallelAttention::kOff;
  FATHOM_ASSIGN_OR_RETURN(options.isa, isa_in_use(detect_cpu_features()));
  return options;
}

}  // namespace fathom
