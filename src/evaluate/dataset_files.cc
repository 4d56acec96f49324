#include "evaluate/dataset_files.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "evaluate/plain_text.h"

namespace fathom {

Result<std::string> DatasetFolder::find(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    std::string path = join_path(directory_, name);
    if (file_exists(path)) return path;
  }
  return not_found("{}: {} is not in --data {}; wanted is {}; it is published as {}", info_.name,
                   fmt::join(names, " or "), directory_, info_.form, info_.from);
}

Result<std::vector<std::string>> DatasetFolder::list(const std::string& name, std::string_view ending) const {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(join_path(directory_, name), error)) {
    std::string path = entry.path().string();
    if (path.ends_with(ending) && file_exists(path)) paths.push_back(std::move(path));
  }
  if (paths.empty()) return find({fmt::format("{}/*{}", name, ending)}).status();
  std::sort(paths.begin(), paths.end());
  return paths;
}

Status DatasetFolder::malformed(const std::string& where, std::string_view problem) const {
  return invalid_data("{}: {}; {} is wanted as {}, published as {}", where, problem, info_.name, info_.form,
                      info_.from);
}

Result<std::vector<DatasetFolder::Line>> DatasetFolder::read_json_lines(const std::string& path) const {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxDatasetBytes));
  std::vector<Line> lines;
  size_t number = 0;
  for (std::string_view text : split(content, "\n")) {
    ++number;
    if (strip(text).empty()) continue;
    std::string where = fmt::format("{} line {}", path, number);
    Result<Json> value = parse_json(text, where, {});
    if (!value.ok()) return malformed(path, value.status().message());
    if (!value->is_object()) return malformed(where, "not a JSON object");
    lines.push_back({std::move(where), std::move(value).value()});
  }
  if (lines.empty()) return malformed(path, "no line");
  return lines;
}

Result<std::vector<CsvRow>> DatasetFolder::read_csv(const std::string& path) const {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxDatasetBytes));
  Result<std::vector<CsvRow>> rows = parse_csv(content, path);
  if (!rows.ok()) return malformed(path, rows.status().message());
  if (rows->empty()) return malformed(path, "no row");
  return rows;
}

Result<std::string> DatasetFolder::text_field(const Line& line, const char* key) const {
  const auto found = line.value.find(key);
  if (found == line.value.end()) return malformed(line.where, fmt::format("no field \"{}\"", key));
  if (!found->is_string()) return malformed(line.where, fmt::format("\"{}\" is not a string", key));
  return found->get<std::string>();
}

}  // namespace fathom
