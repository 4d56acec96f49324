// --mindie-config FILE: the config.json of MindIE Service as options of `serve`.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace fathom {

struct MindieConfig {
  std::vector<std::string> options;  // "--port=1025", ..
  std::vector<std::string> unused;   // keys that have no meaning here, "ServerConfig.tlsCrlPath"
};

// A key whose meaning would be lost is refused by name. Keys that the file leaves out have MindIE's defaults.
// path is the file's: certificates lie relative to its folder, or to what holds a folder "conf".
Result<MindieConfig> translate_mindie_config(const Json& config, const std::string& path);

// arguments without the program's name. Where they hold "--mindie-config FILE", returns them without it and
// with the file's options added, each unless given already. Logs once what has no meaning here.
Result<std::vector<std::string>> apply_mindie_config(std::vector<std::string> arguments);

}  // namespace fathom
