#include "cli/config_source.h"

#include "base/file.h"
#include "base/json.h"
#include "checkpoint/known_configs.h"

namespace fathom {

Result<ModelConfig> find_config(const std::string& source) {
  if (const auto known = known_config(source)) return *known;
  if (directory_exists(source)) return load_model_config(source);
  if (!file_exists(source)) {
    return not_found("{}: no such file or folder, nor one of the known names deepseek-v2-lite, deepseek-v2",
                     source);
  }
  FATHOM_ASSIGN_OR_RETURN(const Json json, read_json_file(source, JsonLimits{}));
  return parse_model_config(json, source);
}

}  // namespace fathom
