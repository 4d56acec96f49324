#include "base/text_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace fathom {
namespace {

using Lines = std::vector<std::pair<size_t, std::string>>;

Lines lines_of(std::string_view text) {
  Lines lines;
  EXPECT_TRUE(for_each_line(text, [&](size_t number, std::string_view line) {
                lines.emplace_back(number, line);
                return ok_status();
              }).ok());
  return lines;
}

TEST(TextLines, BlankOnesAreCountedAndLeftOut) {
  EXPECT_EQ(lines_of("a\n\n \t\r\nb"), (Lines{{1, "a"}, {4, "b"}}));
  EXPECT_EQ(lines_of("a\nb\n"), (Lines{{1, "a"}, {2, "b"}}));
  EXPECT_EQ(lines_of("\na"), (Lines{{2, "a"}}));
  EXPECT_EQ(lines_of(""), Lines());
  EXPECT_EQ(lines_of("\n"), Lines());
}

TEST(TextLines, TheFirstErrorEndsTheWalk) {
  size_t visited = 0;
  const Status status = for_each_line("a\nb\nc", [&](size_t number, std::string_view) {
    ++visited;
    return number == 2 ? invalid_data("line {}", number) : ok_status();
  });
  EXPECT_EQ(status.message(), "line 2");
  EXPECT_EQ(visited, 2u);
}

}  // namespace
}  // namespace fathom
