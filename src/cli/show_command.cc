#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "base/checked_math.h"
#include "base/file.h"
#include "checkpoint/known_configs.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "device/backend.h"
#include "engine/drafter.h"
#include "model/memory_plan.h"
#include "model/rank_weights.h"
#include "model/stored_weight.h"

namespace fathom {
namespace {

constexpr const char* kShowExamples = R"(Examples:
  fathom show models/demo
  fathom show deepseek-v2 --tp 8 --max-model-len 32k        a released model's sizes, without its files
  fathom show MODEL --kv-cache-dtype fp32 --json
  fathom show MODEL --tensors                               how each weight is stored and multiplied
  fathom show FOLDER                                        of fathom shard: for which ranks, and whose files are here

Exit status 1 where one rank does not fit into this machine's memory.)";

struct ShowFlags {
  std::string model;
  std::string max_model_len;
  std::string device = "cpu";
  std::string kv_cache_dtype = "auto";
  std::optional<int64_t> num_ranks;
  std::optional<int64_t> num_expert_groups;
  bool dp_attention = false;
  int64_t max_num_seqs = MemoryPlanOptions().max_num_seqs;
  bool tensors = false;
  bool json = false;
};

// How one weight is stored and what its layer is multiplied as.
struct TensorMode {
  std::string name;
  Shape shape;  // of the weight, whatever it is packed into
  DType dtype = DType::kBFloat16;
  QuantType type = QuantType::kFloat;
  int64_t group_size = 0;
};

// What is shown: a folder with weights, one that is sharded, or a config alone.
struct Subject {
  ModelConfig config;
  // Of a whole model, or the first rank of a sharded folder whose files are here; null for a config alone.
  std::unique_ptr<Checkpoint> checkpoint;
  std::optional<ShardedFolder> sharding;
  std::vector<int64_t> ranks_here;       // of it
  std::vector<QuantizedPart> quantized;  // empty for a float checkpoint
  std::vector<TensorMode> tensors;       // of checkpoint, in the order of the model
  std::vector<std::string> unused;       // tensors that the model does not need
};

Result<std::vector<TensorMode>> tensor_modes(const Checkpoint& checkpoint, const ModelConfig& config,
                                             const QuantDescription& description) {
  std::vector<TensorMode> modes;
  for (const WeightSpec& spec : stored_table(checkpoint, config)) {
    FATHOM_ASSIGN_OR_RETURN(const StoredWeight stored, stored_weight(checkpoint, description, spec));
    modes.push_back({spec.name, spec.shape, stored.tensor.dtype, stored.type, stored.group_size});
  }
  return modes;
}

std::vector<int64_t> ranks_in(const std::string& model, const ShardedFolder& folder) {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < folder.num_ranks; ++rank) {
    const auto& files = folder.files[static_cast<size_t>(rank)];
    if (std::all_of(files.begin(), files.end(),
                    [&](const RankFile& file) { return path_exists(join_path(model, file.name)); }))
      ranks.push_back(rank);
  }
  return ranks;
}

// Of a sharded folder what this machine has of it may be one rank's files, or none.
Status open_folder(const std::string& model, Subject& subject) {
  FATHOM_ASSIGN_OR_RETURN(subject.sharding, read_sharding(model));
  FATHOM_ASSIGN_OR_RETURN(const QuantDescription description, QuantDescription::load(model, subject.config));
  std::vector<WeightGroup> groups;
  if (subject.sharding) {
    FATHOM_RETURN_IF_ERROR(check_sharding(subject.config, sharding_of(*subject.sharding, 0)));
    FATHOM_ASSIGN_OR_RETURN(groups, weight_groups(model, *subject.sharding, 0));
    subject.ranks_here = ranks_in(model, *subject.sharding);
    if (!subject.ranks_here.empty()) {
      FATHOM_ASSIGN_OR_RETURN(subject.checkpoint,
                              Checkpoint::open_rank(model, *subject.sharding, subject.ranks_here.front()));
    }
  } else {
    FATHOM_ASSIGN_OR_RETURN(subject.checkpoint, Checkpoint::open(model));
  }
  if (subject.checkpoint != nullptr) {
    FATHOM_RETURN_IF_ERROR(check_weights(*subject.checkpoint, subject.config, description));
    FATHOM_ASSIGN_OR_RETURN(subject.tensors, tensor_modes(*subject.checkpoint, subject.config, description));
    subject.unused = unused_tensors(*subject.checkpoint, subject.config);
    if (!subject.sharding) groups = weight_groups(subject.config, {}, *subject.checkpoint, description);
  }
  if (description.present()) subject.quantized = quantized_parts(groups);
  return ok_status();
}

Result<Subject> find_subject(const std::string& model) {
  Subject subject;
  if (const auto known = known_config(model)) {
    subject.config = *known;
  } else if (file_exists(model)) {
    FATHOM_ASSIGN_OR_RETURN(const Json json, read_json_file(model, JsonLimits{}));
    FATHOM_ASSIGN_OR_RETURN(subject.config, parse_model_config(json, model));
  } else {
    FATHOM_ASSIGN_OR_RETURN(subject.config, load_model_config(model));
    FATHOM_RETURN_IF_ERROR(open_folder(model, subject));
  }
  return subject;
}

Status check_range(int64_t value, int64_t highest, const char* option) {
  if (value >= 1 && value <= highest) return ok_status();
  return invalid_argument("{}: {} is outside [1, {}]", option, value, highest);
}

// Of a sharded folder its own, unless the options ask for another.
Result<Sharding> planned_sharding(const ShowFlags& options, const Subject& subject) {
  Sharding sharding = subject.sharding ? sharding_of(*subject.sharding, 0) : Sharding();
  if (options.num_ranks) {
    FATHOM_RETURN_IF_ERROR(check_range(*options.num_ranks, 1024, "--tp"));
    sharding.num_slices = subject.sharding && *options.num_ranks == sharding.num_ranks ? sharding.num_slices
                                                                                       : *options.num_ranks;
    sharding.num_ranks = *options.num_ranks;
  }
  if (options.num_expert_groups) {
    FATHOM_RETURN_IF_ERROR(check_range(*options.num_expert_groups, 1024, "--moe-ep"));
    sharding.num_expert_groups = *options.num_expert_groups;
  }
  if (options.dp_attention) sharding.attention = AttentionShare::kSequences;
  if (subject.sharding) FATHOM_RETURN_IF_ERROR(check_fits(options.model, *subject.sharding, sharding));
  FATHOM_RETURN_IF_ERROR(check_sharding(subject.config, sharding));
  if (subject.checkpoint) sharding.width_unit = width_unit_of(*subject.checkpoint, subject.config);
  return sharding;
}

Result<MemoryPlanOptions> to_plan_options(const ShowFlags& options, const Subject& subject) {
  const ModelConfig& config = subject.config;
  MemoryPlanOptions plan;
  FATHOM_ASSIGN_OR_RETURN(plan.device, parse_device(options.device));
  FATHOM_ASSIGN_OR_RETURN(plan.sharding, planned_sharding(options, subject));
  FATHOM_RETURN_IF_ERROR(check_range(options.max_num_seqs, 65536, "--max-num-seqs"));
  plan.max_num_seqs = options.max_num_seqs;
  plan.max_num_drafts = Drafter::max_step_drafts(plan.max_num_seqs);
  plan.max_model_len = std::min(plan.max_model_len, config.max_position_embeddings);
  if (!options.max_model_len.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const uint64_t length, parse_size(options.max_model_len, "--max-model-len"));
    plan.max_model_len = static_cast<int64_t>(std::min<uint64_t>(length, INT64_MAX));
    FATHOM_RETURN_IF_ERROR(
        check_range(plan.max_model_len, config.max_position_embeddings, "--max-model-len"));
  }
  plan.kv_cache_dtype = config.torch_dtype;
  if (options.kv_cache_dtype != "auto") {
    const auto dtype = dtype_from_name(options.kv_cache_dtype);
    if (!dtype || (!is_floating(*dtype) && *dtype != DType::kInt8)) {
      return invalid_argument("--kv-cache-dtype: \"{}\" is not one of auto, fp32, bf16, fp16, int8",
                              options.kv_cache_dtype);
    }
    plan.kv_cache_dtype = *dtype;
  }
  return plan;
}

std::string config_text(const ModelConfig& c) {
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<24}{}\n", name, value);
  };
  line("layers", fmt::format("{}, experts from layer {}{}", c.num_hidden_layers, c.first_k_dense_replace,
                             c.n_routed_experts == 0 ? " (none)" : ""));
  line("hidden size",
       fmt::format("{}, dense {}, expert {}", c.hidden_size, c.intermediate_size, c.moe_intermediate_size));
  line("attention",
       fmt::format("{} heads of {} + {} (value {}), latent {}, query {}", c.num_attention_heads,
                   c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank,
                   c.q_lora_rank ? fmt::format("compressed to {}", *c.q_lora_rank) : "not compressed"));
  line("experts", fmt::format("{} routed, {} a token, {} shared, {}", c.n_routed_experts,
                              c.num_experts_per_tok, c.n_shared_experts,
                              c.topk_method == TopkMethod::kGreedy
                                  ? "greedy"
                                  : fmt::format("{} of {} groups", c.topk_group, c.n_group)));
  line("positions", fmt::format("{}, {}", c.max_position_embeddings,
                                c.rope_scaling ? fmt::format("YaRN {} x {}", c.rope_scaling->factor,
                                                             c.rope_scaling->original_max_position_embeddings)
                                               : "no scaling"));
  line("vocabulary", fmt::format("{}{}", c.vocab_size, c.tie_word_embeddings ? ", embeddings tied" : ""));
  line("dtype", std::string(dtype_name(c.torch_dtype)));
  return text;
}

std::string quantized_text(const std::vector<QuantizedPart>& parts) {
  std::string text;
  for (const QuantizedPart& part : parts) {
    text += fmt::format("{:<24}{}, {} tensors\n", text.empty() ? "quantisation" : "",
                        fmt::format("{} {}", part.part, quant_type_name(part.type)), part.num_tensors);
  }
  return text;
}

Json quantized_json(const std::vector<QuantizedPart>& parts) {
  Json json = Json::array();
  for (const QuantizedPart& part : parts) {
    json.push_back(
        {{"part", part.part}, {"type", quant_type_name(part.type)}, {"tensors", part.num_tensors}});
  }
  return json;
}

std::string sharding_line(const Subject& subject) {
  if (!subject.sharding) return "";
  const ShardedFolder& folder = *subject.sharding;
  const std::string here = subject.ranks_here.size() == static_cast<size_t>(folder.num_ranks) ? "all"
                           : subject.ranks_here.empty()
                               ? "none"
                               : fmt::format("those of ranks {}", fmt::join(subject.ranks_here, ", "));
  return fmt::format("{:<24}for {}; of the ranks' files {} are here\n", "sharded",
                     sharding_text(folder.num_ranks, folder.num_expert_groups, folder.num_slices), here);
}

Json sharding_json(const Subject& subject) {
  if (!subject.sharding) return nullptr;
  const ShardedFolder& folder = *subject.sharding;
  return {{"ranks", folder.num_ranks},
          {"moe_ep", folder.num_expert_groups},
          {"slices", folder.num_slices},
          {"source_digest", folder.source_digest},
          {"ranks_here", subject.ranks_here}};
}

std::string tensors_text(const std::vector<TensorMode>& tensors) {
  std::string text =
      fmt::format("\n{:<8}{:<14}{:>7}  {:<16}{}\n", "stored", "type", "group", "shape", "tensor");
  for (const TensorMode& tensor : tensors) {
    text +=
        fmt::format("{:<8}{:<14}{:>7}  {:<16}{}\n", storage_name(tensor.dtype), quant_type_name(tensor.type),
                    tensor.group_size == 0 ? "" : std::to_string(tensor.group_size), to_string(tensor.shape),
                    tensor.name);
  }
  return text;
}

Json tensors_json(const std::vector<TensorMode>& tensors) {
  Json json = Json::array();
  for (const TensorMode& tensor : tensors) {
    json.push_back({{"name", tensor.name},
                    {"shape", tensor.shape.dimensions()},
                    {"stored", storage_name(tensor.dtype)},
                    {"type", quant_type_name(tensor.type)}});
    if (tensor.group_size != 0) json.back()["group_size"] = tensor.group_size;
  }
  return json;
}

std::string plan_text(const MemoryPlan& plan, const MemoryPlanOptions& options, const MemoryInfo& memory) {
  std::string text =
      fmt::format("\n{:<24}{:<8}{:>8}{:>14}{:>14}\n", "weights", "format", "tensors", "bytes", "per rank");
  uint64_t rank_bytes = 0;
  for (const WeightGroup& group : plan.weights) {
    text += fmt::format("{:<24}{:<8}{:>8}{:>14}{:>14}\n", role_name(group.role), storage_name(group.dtype),
                        group.num_tensors, format_bytes(group.bytes), format_bytes(group.rank_bytes));
    rank_bytes += group.rank_bytes;
  }
  text += fmt::format("{:<24}{:<8}{:>8}{:>14}{:>14}\n", "all", "", "", format_bytes(plan.weight_bytes),
                      format_bytes(rank_bytes));
  text += fmt::format("\n{:<24}{} a token in {}\n", "cache", format_bytes(plan.cache_bytes_per_token),
                      dtype_name(options.kv_cache_dtype));
  const int64_t num_homes = options.sharding.num_homes();
  text += fmt::format(
      "\nmemory of one rank of {}, {} sequences of {} tokens{}\n", options.sharding.num_ranks,
      options.max_num_seqs, options.max_model_len,
      num_homes > 1 ? fmt::format(", {} of them its own", ceil_div(options.max_num_seqs, num_homes)) : "");
  text +=
      fmt::format("{:<24}{:>14}\n{:<24}{:>14}\n{:<24}{:>14}\n{:<24}{:>14}\n", "weights, packed",
                  format_bytes(plan.rank_weight_bytes), "cache", format_bytes(plan.cache_bytes), "workspace",
                  format_bytes(plan.workspace_bytes), "total", format_bytes(plan.rank_total_bytes));
  const auto available = memory.available();
  text += fmt::format("{:<24}{:>14}{}\n", memory.owner.empty() ? "available here" : "available on it",
                      available ? format_bytes(*available) : "unknown",
                      check_memory(plan, memory).ok() ? "  fits" : "  does not fit");
  return text;
}

Json json_of(std::optional<uint64_t> bytes) { return bytes ? Json(*bytes) : Json(nullptr); }

Json plan_json(const Subject& subject, const MemoryPlan& plan, const MemoryPlanOptions& options,
               const MemoryInfo& memory) {
  Json weights = Json::array();
  int64_t num_tensors = 0;
  int64_t num_parameters = 0;
  for (const WeightGroup& group : plan.weights) {
    num_tensors += group.num_tensors;
    num_parameters += group.num_elements;
    weights.push_back({{"role", role_name(group.role)},
                       {"format", storage_name(group.dtype)},
                       {"tensors", group.num_tensors},
                       {"bytes", group.bytes},
                       {"bytes_per_rank", group.rank_bytes}});
  }
  return {{"config", to_json(subject.config)},
          {"tensors", num_tensors},
          {"parameters", num_parameters},
          {"quantization", quantized_json(subject.quantized)},
          {"sharding", sharding_json(subject)},
          {"unused_tensors", subject.unused.size()},
          {"weights", std::move(weights)},
          {"weight_bytes", plan.weight_bytes},
          {"cache_bytes_per_token", plan.cache_bytes_per_token},
          {"plan",
           {{"device", device_name(options.device)},
            {"ranks", options.sharding.num_ranks},
            {"dp_attention", options.sharding.shares_sequences()},
            {"max_model_len", options.max_model_len},
            {"max_num_seqs", options.max_num_seqs},
            {"kv_cache_dtype", dtype_name(options.kv_cache_dtype)},
            {"weight_bytes", plan.rank_weight_bytes},
            {"cache_bytes", plan.cache_bytes},
            {"workspace_bytes", plan.workspace_bytes},
            {"total_bytes", plan.rank_total_bytes}}},
          {"available",
           {{"system_bytes", json_of(memory.system_available)},
            {"cgroup_bytes", json_of(memory.cgroup_available)},
            {"address_space_bytes", json_of(memory.address_space_available)},
            {"bytes", json_of(memory.available())}}},
          {"fits", check_memory(plan, memory).ok()}};
}

Result<std::vector<WeightGroup>> groups_of(const std::string& model, const Subject& subject,
                                           const Sharding& sharding) {
  if (subject.sharding) return weight_groups(model, *subject.sharding, 0);
  if (subject.checkpoint) return weight_groups(subject.config, sharding, *subject.checkpoint);
  return weight_groups(subject.config, sharding);
}

Status run_show(const ShowFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(const Subject subject, find_subject(options.model));
  FATHOM_ASSIGN_OR_RETURN(MemoryPlanOptions plan_options, to_plan_options(options, subject));
  FATHOM_ASSIGN_OR_RETURN(std::vector<WeightGroup> groups,
                          groups_of(options.model, subject, plan_options.sharding));
  const MemoryPlan plan = plan_memory(subject.config, plan_options, std::move(groups));
  if (options.tensors && !subject.checkpoint)
    return invalid_argument("--tensors: no weights of {} are here", options.model);
  MemoryInfo memory;
  if (plan_options.device == DeviceKind::kCpu) {
    memory = read_memory_info();
  } else {
    FATHOM_ASSIGN_OR_RETURN(memory, read_cuda_memory(0));
  }
  if (options.json) {
    Json json = plan_json(subject, plan, plan_options, memory);
    if (options.tensors) json["weight_tensors"] = tensors_json(subject.tensors);
    print_json(json);
  } else {
    print_text(config_text(subject.config) + sharding_line(subject) + quantized_text(subject.quantized) +
               plan_text(plan, plan_options, memory));
    if (options.tensors) print_text(tensors_text(subject.tensors));
    if (!subject.unused.empty()) {
      print_text(fmt::format("{} tensors are not used, the first is {}\n", subject.unused.size(),
                             subject.unused[0]));
    }
  }
  return check_memory(plan, memory);
}

}  // namespace

void add_show_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ShowFlags>();
  CLI::App* command = app.add_subcommand("show", "a model's config, sizes and memory plan");
  command->footer(kShowExamples);
  command
      ->add_option("MODEL", options->model, "checkpoint folder, config.json, deepseek-v2-lite or deepseek-v2")
      ->required();
  command->add_option("--tp", options->num_ranks, "tensor-parallel ranks (default 1, or a sharded folder's)");
  command->add_option("--moe-ep", options->num_expert_groups,
                      "groups of ranks that share out whole experts (default likewise)");
  command->add_flag("--dp-attention", options->dp_attention,
                    "each rank has the attention and the cache of its own sequences");
  command->add_option("--device", options->device, "whose memory: cpu, or cuda (one GPU)")
      ->capture_default_str();
  command->add_option("--max-model-len", options->max_model_len, "longest sequence in tokens (default 4k)");
  command->add_option("--max-num-seqs", options->max_num_seqs, "sequences at once")->capture_default_str();
  command->add_option("--kv-cache-dtype", options->kv_cache_dtype, "auto, fp32, bf16, fp16, int8")
      ->capture_default_str();
  command->add_flag("--tensors", options->tensors, "list every weight: how it is stored and multiplied");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_show(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
