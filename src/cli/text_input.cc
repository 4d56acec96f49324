#include "cli/text_input.h"

#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "base/text_lines.h"

namespace fathom {
namespace {

constexpr size_t kMaxInputBytes = size_t{512} << 20;
constexpr JsonLimits kLineLimits = {.max_bytes = kMaxInputBytes, .max_depth = 64};

Result<TextInput> parse_json_lines(const std::string& content, const std::string& path) {
  TextInput input{TextSource::kJsonLines, {}};
  const auto read_line = [&](size_t number, std::string_view line) -> Status {
    const std::string where = fmt::format("{} line {}", path, number);
    FATHOM_ASSIGN_OR_RETURN(const Json value, parse_json(line, where, kLineLimits));
    if (!value.is_object() || !value.contains("text") || !value["text"].is_string())
      return invalid_data("{}: not an object with a string \"text\"", where);
    input.texts.push_back(value["text"].get<std::string>());
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(for_each_line(content, read_line));
  return input;
}

}  // namespace

Result<std::string> read_stdin(size_t max_bytes) {
  std::string content;
  char buffer[1 << 16];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0) {
    if (content.size() + got > max_bytes) {
      return invalid_data("standard input is over the limit of {} bytes", max_bytes);
    }
    content.append(buffer, got);
  }
  if (std::ferror(stdin)) return io_error("standard input: cannot read");
  return content;
}

Result<TextInput> read_text_input(const TextInputOptions& options) {
  if (options.has_text && !options.file.empty())
    return invalid_argument("--file and a text exclude each other");
  if (options.has_text) return TextInput{TextSource::kOneText, {options.text}};
  if (options.file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(std::string content, read_stdin(kMaxInputBytes));
    return TextInput{TextSource::kOneText, {std::move(content)}};
  }
  FATHOM_ASSIGN_OR_RETURN(std::string content, read_file(options.file, kMaxInputBytes));
  if (options.file.ends_with(".jsonl")) return parse_json_lines(content, options.file);
  return TextInput{TextSource::kOneText, {std::move(content)}};
}

}  // namespace fathom
