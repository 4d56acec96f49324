// CSV as data sets come in it (RFC 4180): quoted fields, doubled quotes, line breaks inside quotes; a byte
// order mark and CRLF are accepted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom {

using CsvRow = std::vector<std::string>;

// All rows, those without any character left out. name is what messages call it; they name the line.
Result<std::vector<CsvRow>> parse_csv(std::string_view text, const std::string& name);

// One field, quoted where it has to be.
std::string csv_field(std::string_view text);

}  // namespace fathom
