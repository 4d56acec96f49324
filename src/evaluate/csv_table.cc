#include "evaluate/csv_table.h"

#include <algorithm>

namespace fathom {
namespace {

class CsvParser {
 public:
  CsvParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Result<std::vector<CsvRow>> parse() {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    std::vector<CsvRow> rows;
    while (at_ < text_.size()) {
      CsvRow row;
      FATHOM_RETURN_IF_ERROR(parse_row(row));
      if (row.size() > 1 || !row[0].empty()) rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  bool at_end_of_line() const { return at_ >= text_.size() || text_[at_] == '\n' || text_[at_] == '\r'; }

  Status parse_row(CsvRow& row) {
    while (true) {
      row.emplace_back();
      FATHOM_RETURN_IF_ERROR(at_ < text_.size() && text_[at_] == '"' ? parse_quoted(row.back())
                                                                     : parse_plain(row.back()));
      if (at_end_of_line()) break;
      ++at_;  // the comma
    }
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
    return ok_status();
  }

  Status parse_plain(std::string& field) {
    const size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    field = text_.substr(at_, end - at_);
    at_ = end;
    return ok_status();
  }

  Status parse_quoted(std::string& field) {
    const size_t first_line = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        if (++at_ >= text_.size() || text_[at_] != '"') return after_quote();
      }
      line_ += text_[at_] == '\n';
      field += text_[at_];
    }
    return invalid_data("{} line {}: a quoted field does not end", name_, first_line);
  }

  Status after_quote() const {
    if (at_end_of_line() || text_[at_] == ',') return ok_status();
    return invalid_data("{} line {}: text after a closing quote", name_, line_);
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  size_t line_ = 1;
};

}  // namespace

Result<std::vector<CsvRow>> parse_csv(std::string_view text, const std::string& name) {
  return CsvParser(text, name).parse();
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace fathom
