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

// Takes "NAME VALUE" or "NAME=VALUE" out of the options; empty where there is none.
Result<std::string> take_option(std::vector<std::string>& arguments, const std::string& name);

// Adds options of the form "--name=value", each unless the command line has one of its name.
void add_unless_given(std::vector<std::string>& arguments, const std::vector<std::string>& options);

}  // namespace fathom
