// tests/golden/text/templates.jsonl: templates with what jinja2 under Hugging Face's settings makes of them.
#include <gtest/gtest.h>

#include <sstream>

#include "base/file.h"
#include "text/jinja/template.h"

namespace fathom::jinja {
namespace {

TEST(GoldenTemplates, EqualJinja2) {
  const std::string path = std::string(FATHOM_SOURCE_DIR) + "/tests/golden/text/templates.jsonl";
  if (!file_exists(path)) GTEST_SKIP() << "needs " << path;
  const auto content = read_file(path, size_t{64} << 20);
  ASSERT_TRUE(content.ok()) << content.status().message();
  std::istringstream lines(*content);
  std::string line;
  size_t count = 0;
  while (std::getline(lines, line)) {
    const auto row = parse_json(line, path, {.max_bytes = size_t{16} << 20, .max_depth = 128});
    ASSERT_TRUE(row.ok()) << row.status().message();
    ++count;
    const std::string name = row->value("name", "") + ": " + (*row)["template"].get<std::string>();
    const auto parsed = Template::parse((*row)["template"].get<std::string>());
    const auto rendered =
        parsed.ok() ? parsed->render((*row)["context"], {}) : Result<std::string>(parsed.status());
    if (row->value("error", false)) {
      EXPECT_FALSE(rendered.ok()) << name << "\n  gave: " << (rendered.ok() ? *rendered : "");
    } else if (!rendered.ok()) {
      ADD_FAILURE() << name << "\n  failed: " << rendered.status().message();
    } else {
      EXPECT_EQ(*rendered, (*row)["expected"].get<std::string>()) << name;
    }
  }
  EXPECT_GE(count, 100u);
}

}  // namespace
}  // namespace fathom::jinja
