// --config FILE: options from a JSON object with the same names as on the command line, which wins.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

// arguments without the program's name. Where they hold "--config FILE", returns them without it and with the
// file's options added (before a "--"): {"max-num-seqs": 8, "greedy": true} becomes --max-num-seqs=8
// --greedy, each unless given already. false leaves a flag out, a list gives an option
// several times.
Result<std::vector<std::string>> apply_config_file(std::vector<std::string> arguments);

}  // namespace fathom
