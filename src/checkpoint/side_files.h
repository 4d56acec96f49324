// The files of a model folder beside the weights: tokenizer, generation config, model card, licence.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/manifest.h"

namespace fathom {

// Names of the regular files in the folder that a copy in other weights takes along, sorted: not config.json,
// weights of any format, their indices and descriptions, reports of earlier runs, nor hidden files.
Result<std::vector<std::string>> side_files(const std::string& directory);

// Copies from one folder to the other; the entry is of what was written.
Result<ManifestFile> copy_side_file(const std::string& from, const std::string& to, const std::string& name);
// Writes a text of our own.
Result<ManifestFile> write_side_file(const std::string& directory, const std::string& name,
                                     std::string_view text);

}  // namespace fathom
