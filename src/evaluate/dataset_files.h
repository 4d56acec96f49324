// Finding and reading the files of a data set, with messages that say what is wanted and where users get it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "evaluate/csv_table.h"

namespace fathom {

// What a user needs to know of a data set that is missing or malformed.
struct DatasetInfo {
  const char* name;  // "BoolQ"
  const char* form;  // "one JSON object a line with ..."
  const char* from;  // "google-research-datasets/boolean-questions on GitHub"
};

class DatasetFolder {
 public:
  DatasetFolder(std::string directory, const DatasetInfo& info)
      : directory_(std::move(directory)), info_(info) {}

  // The first of the names (relative paths) that is there; kNotFound names them all, form and source.
  Result<std::string> find(const std::vector<std::string>& names) const;
  // The files of a folder (relative) with this ending, by name; at least one.
  Result<std::vector<std::string>> list(const std::string& name, std::string_view ending) const;
  // A problem in a file: says where, what and the form that is wanted.
  Status malformed(const std::string& where, std::string_view problem) const;

  struct Line {
    std::string where;  // "PATH line N"
    Json value;         // an object
  };
  // One JSON object a line, empty lines left out; at least one.
  Result<std::vector<Line>> read_json_lines(const std::string& path) const;
  // At least one row.
  Result<std::vector<CsvRow>> read_csv(const std::string& path) const;
  // A field of a line that must be a string, or the whole error.
  Result<std::string> text_field(const Line& line, const char* key) const;

 private:
  std::string directory_;
  DatasetInfo info_;
};

// Larger files are refused.
inline constexpr size_t kMaxDatasetBytes = size_t{512} << 20;

}  // namespace fathom
