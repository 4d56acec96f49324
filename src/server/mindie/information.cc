#include "server/mindie/information.h"

#include <algorithm>

namespace fathom::mindie {
namespace {

// Memory sizes and ranks of an accelerator have no meaning here.
constexpr int kAutomatic = -1;

int64_t free_pages(const ServiceLoad& load) {
  return load.statistics.pages_total - load.statistics.pages_used;
}

int64_t free_slots(const ServiceFacts& facts, const ServiceLoad& load) {
  return std::max<int64_t>(0, facts.max_num_seqs - load.running);
}

}  // namespace

int64_t max_prompt_tokens(const ServedModel& model, const ServerLimits& limits) {
  const int64_t context = model.max_model_len() - 1;
  return limits.max_prompt_tokens > 0 ? std::min(limits.max_prompt_tokens, context) : context;
}

int64_t max_answer_tokens(const ServedModel& model, const ServerLimits& limits) {
  const int64_t context = model.max_model_len() - 1;
  return limits.max_output_tokens > 0 ? std::min(limits.max_output_tokens, context) : context;
}

Json info_json(const ServiceFacts& facts, const ServedModel& model, const ServerLimits& limits) {
  const Json served = {{"model_device_type", "cpu"}, {"model_dtype", dtype_name(model.dtype())},
                       {"model_id", model.name()},   {"model_pipeline_tag", "text-generation"},
                       {"model_sha", nullptr},       {"max_total_tokens", model.max_model_len()}};
  return {{"docker_label", nullptr},
          {"max_batch_total_tokens", facts.max_prefill_tokens},
          {"max_best_of", 1},
          {"max_concurrent_requests", facts.max_num_seqs},
          {"max_stop_sequences", kMaxStopStrings},
          {"max_waiting_tokens", nullptr},
          {"sha", nullptr},
          {"validation_workers", nullptr},
          {"version", facts.version},
          {"waiting_served_ratio", nullptr},
          {"models", Json::array({served})},
          {"max_input_length", max_prompt_tokens(model, limits)}};
}

Json server_json(const ServiceFacts& facts, const ServedModel& model, const ServerLimits& limits) {
  return {{"name", "fathom"},
          {"version", facts.version},
          {"extensions",
           {{"max_iter_times", max_answer_tokens(model, limits)},
            {"prefill_policy_type", 0},
            {"decode_policy_type", 0},
            {"max_prefill_batch_size", facts.max_prefill_seqs},
            {"max_prefill_tokens", facts.max_prefill_tokens}}}};
}

Json model_json(const std::string& name) {
  const auto tensor = [](const char* tensor_name) {
    return Json::array({{{"name", tensor_name}, {"shape", Json::array({-1})}, {"datatype", "UINT32"}}});
  };
  return {
      {"name", name}, {"platform", "fathom"}, {"inputs", tensor("input0")}, {"outputs", tensor("output0")}};
}

Json model_config_json(const std::string& name, const ServedModel& model) {
  return {{"model_name", name},
          {"input_datatype", "INT64"},
          {"output_datatype", "INT64"},
          {"max_seq_len", model.max_model_len()},
          {"npu_mem_size", kAutomatic},
          {"cpu_mem_size", 0},
          {"world_size", 1},
          {"model_weight_path", model.name()},
          {"model_instance_type", "Standard"}};
}

Json slots_json(const ServiceFacts& facts, const ServiceLoad& load) {
  return {{"total_slots", facts.max_num_seqs},
          {"free_slots", free_slots(facts, load)},
          {"available_tokens_length", free_pages(load) * facts.block_size}};
}

Json config_json(const ServiceFacts& facts, const ServedModel& model, const ServerLimits& limits) {
  return {{"modelName", model.name()},
          {"maxSeqLen", model.max_model_len()},
          {"npuMemSize", kAutomatic},
          {"cpuMemSize", 0},
          {"worldSize", 1},
          {"maxOutputLen", max_answer_tokens(model, limits)},
          {"cacheBlockSize", facts.block_size}};
}

Json status_json(const ServiceFacts& facts, const ServiceLoad& load) {
  return {{"service", {{"roleStatus", "RoleReady"}, {"currentRole", "none"}}},
          {"resource",
           {{"availSlotsNum", free_slots(facts, load)},
            {"availBlockNum", free_pages(load)},
            {"waitingRequestNum", load.waiting},
            {"runningRequestNum", load.running},
            {"swappedRequestNum", 0},
            {"freeNpuBlockNums", free_pages(load)},
            {"freeCpuBlockNums", 0},
            {"totalNpuBlockNums", load.statistics.pages_total},
            {"totalCpuBlockNums", 0}}},
          {"linkStatus", {{"peers", Json::array()}}}};
}

Json metrics_json(const ServiceFacts& facts, const ServiceLoad& load, double first_token,
                  double between_tokens) {
  Json result = Json::array();
  const auto add = [&](const char* name, std::string value) {
    const Json metric = {{"__name__", name}, {"job", "node"}, {"instance", facts.admin_address}};
    result.push_back({{"metric", Json::array({metric})}, {"value", std::move(value)}});
  };
  add("TTFT", fmt::format("{:.6f}", first_token));
  add("TBT", fmt::format("{:.6f}", between_tokens));
  add("waitingInferRequestNum", std::to_string(load.waiting));
  add("processingInferRequestNum", std::to_string(load.running));
  add("remainBlocks", std::to_string(free_pages(load)));
  return {{"resultType", "vector"}, {"result", std::move(result)}};
}

}  // namespace fathom::mindie
