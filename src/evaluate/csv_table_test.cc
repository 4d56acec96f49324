#include "evaluate/csv_table.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

std::vector<CsvRow> parsed(std::string_view text) {
  const auto rows = parse_csv(text, "x.csv");
  EXPECT_TRUE(rows.ok()) << rows.status().message();
  return rows.ok() ? *rows : std::vector<CsvRow>();
}

std::string error(std::string_view text) { return parse_csv(text, "x.csv").status().message(); }

TEST(CsvTable, PlainRows) {
  EXPECT_EQ(parsed("a,b\n1,2\n"), (std::vector<CsvRow>{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(parsed("\xEF\xBB\xBF,b\r\n1,\r\n"), (std::vector<CsvRow>{{"", "b"}, {"1", ""}}));
  EXPECT_EQ(parsed("a\n\n\nb"), (std::vector<CsvRow>{{"a"}, {"b"}}));
  EXPECT_EQ(parsed(""), std::vector<CsvRow>());
}

TEST(CsvTable, QuotedFields) {
  EXPECT_EQ(parsed("\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\n1,\"\",3"),
            (std::vector<CsvRow>{{"a,b", "say \"x\"", "two\nlines"}, {"1", "", "3"}}));
  EXPECT_EQ(parsed("a \"b\" c,d"), (std::vector<CsvRow>{{"a \"b\" c", "d"}}));  // no quote at the start
}

TEST(CsvTable, NamesTheLine) {
  EXPECT_EQ(error("a\nb,\"c\nd\n"), "x.csv line 2: a quoted field does not end");
  EXPECT_EQ(error("\"a\nb\"\n\"c\"d"), "x.csv line 3: text after a closing quote");
}

TEST(CsvTable, FieldsComeBack) {
  for (const std::string text : {"plain", "", "a,b", "say \"x\"", "two\r\nlines", "问"}) {
    const auto rows = parsed("x," + csv_field(text));
    ASSERT_EQ(rows.size(), 1u) << text;
    EXPECT_EQ(rows[0][1], text);
  }
}

}  // namespace
}  // namespace fathom
