#include "engine/engine_ranks.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/file.h"
#include "checkpoint/digests.h"
#include "engine/engine_impl.h"
#include "parallel/agreement.h"

namespace fathom {
namespace {

constexpr size_t kMaxProgramBytes = size_t{1} << 30;
constexpr size_t kMaxConfigBytes = size_t{16} << 20;

std::string digest_of_file(const std::string& path, size_t max_bytes) {
  const Result<std::string> text = read_file(path, max_bytes);
  return text.ok() ? checksum_of(*text) : text.status().message();
}

std::string number_or_auto(std::optional<int64_t> value) { return value ? fmt::to_string(*value) : "auto"; }

std::string name_or_auto(std::optional<DType> dtype) {
  return dtype ? std::string(dtype_name(*dtype)) : "auto";
}

}  // namespace

Sharding sharding_of(const EngineOptions& options) {
  Sharding sharding;
  if (options.communicator != nullptr) {
    sharding.num_ranks = options.communicator->size();
    sharding.rank = options.communicator->rank();
  }
  sharding.num_slices = options.num_slices != 0 ? options.num_slices : sharding.num_ranks;
  sharding.num_expert_groups = options.num_expert_groups;
  if (options.data_parallel_attention == DataParallelAttention::kOn) {
    sharding.attention =
        options.num_slices != 0 ? AttentionShare::kSlicedSequences : AttentionShare::kSequences;
  }
  return sharding;
}

MemoryInfo share_of_memory(MemoryInfo memory, const DeviceCommunicator* ranks) {
  if (ranks == nullptr) return memory;
  const auto num_ranks = static_cast<uint64_t>(ranks->num_sharing_memory());
  if (memory.system_available) *memory.system_available /= num_ranks;
  if (memory.cgroup_available) *memory.cgroup_available /= num_ranks;
  return memory;
}

Status smallest_of_ranks(Communicator& communicator, CacheSize& size) {
  std::vector<CacheSize> sizes(static_cast<size_t>(communicator.size()));
  FATHOM_RETURN_IF_ERROR(
      communicator.all_gather(std::as_bytes(std::span(&size, 1)), std::as_writable_bytes(std::span(sizes))));
  for (const CacheSize& other : sizes) {
    size.num_pages = std::min(size.num_pages, other.num_pages);
    size.max_model_len = std::min(size.max_model_len, other.max_model_len);
  }
  return ok_status();
}

Status Engine::Impl::agree() const {
  const auto kv_memory = options.kv_memory_bytes;
  const Checkpoint::RankPart* part = checkpoint->rank_part();  // has nothing in common with other ranks'
  const NamedValue values[] = {
      {"the program", digest_of_file("/proc/self/exe", kMaxProgramBytes)},
      {"--slices", fmt::to_string(sharding.num_slices)},
      {"--moe-ep", fmt::to_string(sharding.num_expert_groups)},
      {"--dp-attention", sharding.shares_sequences() ? "on" : "off"},
      {"--dtype", name_or_auto(options.dtype)},
      {"--kv-cache-dtype", name_or_auto(options.kv_cache_dtype)},
      {"--block-size", fmt::to_string(options.block_size)},
      {"--max-model-len", number_or_auto(options.max_model_len)},
      {"--max-num-seqs", fmt::to_string(options.max_num_seqs)},
      {"--max-num-batched-tokens", fmt::to_string(options.max_num_batched_tokens)},
      {"--kv-memory", kv_memory ? fmt::to_string(*kv_memory) : "auto"},
      {"the length from which prompts are expanded", number_or_auto(options.expanded_prompt_tokens)},
      {"--device", std::string(device_name(options.device))},
      {"the instruction set", std::string(isa_name(options.isa))},
      {"config.json", digest_of_file(join_path(options.model_dir, "config.json"), kMaxConfigBytes)},
      {"sharding.json", part != nullptr ? part->folder.checksum : "none"},
      {"the weights' names and shapes", part != nullptr ? "a part" : shape_digest(*checkpoint)},
      {"the weights' values", part != nullptr ? "a part" : sample_digest(*checkpoint)},
  };
  return check_agreement(*communicator, values);
}

bool Engine::leads() const { return impl_->communicator == nullptr || impl_->communicator->rank() == 0; }

Status Engine::health() const {
  return impl_->communicator == nullptr ? ok_status() : impl_->communicator->health();
}

Status Engine::follow() {
  const Status status = impl_->runner->follow();
  if (!status.ok()) impl_->communicator->fail(status.message());
  return status;
}

}  // namespace fathom
