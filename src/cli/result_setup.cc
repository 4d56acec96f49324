#include "cli/result_setup.h"

#include "base/checksum.h"
#include "checkpoint/digests.h"
#include "engine/engine_ranks.h"
#include "schedule/sequence.h"

namespace fathom {
namespace {

std::string_view name_or_auto(const std::optional<DType>& dtype) {
  return dtype ? dtype_name(*dtype) : "auto";
}

}  // namespace

Result<Json> result_setup(const Engine& engine) {
  const EngineOptions& options = engine.options();
  const Sharding sharding = sharding_of(options);
  FATHOM_ASSIGN_OR_RETURN(const std::string settings, settings_digest(options.model_dir));
  const bool is_cpu = options.device == DeviceKind::kCpu;
  return Json{{"fathom", FATHOM_VERSION},
              {"device", device_name(options.device)},
              {"isa", is_cpu ? Json(isa_name(options.isa)) : Json(nullptr)},
              {"dtype", name_or_auto(options.dtype)},
              {"kv_cache_dtype", name_or_auto(options.kv_cache_dtype)},
              {"max_model_len", engine.max_model_len()},
              {"expanded_prompt_tokens", options.expanded_prompt_tokens.value_or(kExpandedPromptTokens)},
              {"slices", sharding.num_slices},
              {"slices_of_attention", sharding.num_head_slices()},
              {"moe_ep", sharding.num_expert_groups},
              {"settings", settings},
              {"weights", weights_digest(engine.checkpoint())}};
}

std::string fingerprint_of(const Engine& engine, const Json& setup) {
  const Communicator* ranks = engine.options().communicator;
  return fmt::format("fathom-{}-tp{}-{}", FATHOM_VERSION, ranks == nullptr ? 1 : ranks->size(),
                     checksum_of(dump_json(setup)).substr(0, 8));
}

}  // namespace fathom
