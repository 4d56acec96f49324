#include "cli/config_file.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace fathom {
namespace {

using Arguments = std::vector<std::string>;

class ConfigFile : public ::testing::Test {
 protected:
  std::string write(std::string_view text) {
    const std::string path = testing::TempDir() + "fathom_config_file_test.json";
    EXPECT_TRUE(write_file(path, text).ok());
    return path;
  }
};

TEST_F(ConfigFile, AddsWhatTheCommandLineLeavesOpen) {
  const std::string path =
      write(R"({"seed": 7, "dtype": "fp32", "greedy": true, "json": false, "top-p": 0.5})");
  const auto result = apply_config_file({"run", "M", "--config", path, "--seed", "1", "--top-p=0.25"});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(*result, (Arguments{"run", "M", "--seed", "1", "--top-p=0.25", "--dtype=fp32", "--greedy"}));
  EXPECT_EQ(*apply_config_file({"run", "--config=" + path, "--dtype", "bf16", "--greedy", "--top-p", "1"}),
            (Arguments{"run", "--dtype", "bf16", "--greedy", "--top-p", "1", "--seed=7"}));
}

TEST_F(ConfigFile, ListsRepeatTheirOption) {
  const std::string path = write(R"({"api-key": ["a", 2], "empty": []})");
  EXPECT_EQ(*apply_config_file({"serve", "--config", path}),
            (Arguments{"serve", "--api-key=a", "--api-key=2"}));
  EXPECT_EQ(*apply_config_file({"serve", "--config", path, "--api-key", "b"}),
            (Arguments{"serve", "--api-key", "b"}));
}

TEST_F(ConfigFile, OptionsStandBeforeTheDoubleDash) {
  const std::string path = write(R"({"greedy": true})");
  EXPECT_EQ(*apply_config_file({"run", "M", "--config", path, "--", "--greedy"}),
            (Arguments{"run", "M", "--greedy", "--", "--greedy"}));
}

TEST_F(ConfigFile, LeavesOtherCommandLinesAlone) {
  EXPECT_EQ(*apply_config_file({"run", "M", "--", "--config"}), (Arguments{"run", "M", "--", "--config"}));
  EXPECT_EQ(*apply_config_file({}), Arguments{});
}

TEST_F(ConfigFile, NamesWhatIsWrong) {
  EXPECT_FALSE(apply_config_file({"run", "--config"}).ok());
  EXPECT_FALSE(apply_config_file({"run", "--config", "/no/such/file"}).ok());
  for (const char* text :
       {R"({"seed": {"a": 1}})", R"({"seed": [[1]]})", R"({"seed": [true]})", R"({"seed": null})"}) {
    const std::string path = write(text);
    EXPECT_NE(apply_config_file({"run", "--config", path}).status().message().find("seed"), std::string::npos)
        << text;
  }
  EXPECT_FALSE(apply_config_file({"run", "--config", write("[]")}).ok());
}

}  // namespace
}  // namespace fathom
