#include "cli/spelling.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace fathom {
namespace {

using Words = std::vector<std::string>;

TEST(NearestWord, FewestChanges) {
  const Words words = {"run", "chat", "serve", "score"};
  EXPECT_EQ(nearest_word("rum", words), "run");
  EXPECT_EQ(nearest_word("caht", words), "chat");
  EXPECT_EQ(nearest_word("scor", words), "score");
  EXPECT_EQ(nearest_word("sevre", words), "serve");
  EXPECT_EQ(nearest_word("launch", words), std::nullopt);
  EXPECT_EQ(nearest_word("", words), std::nullopt);
  EXPECT_EQ(nearest_word("run", {}), std::nullopt);
}

TEST(UnknownWord, FirstThatDoesNotExist) {
  CLI::App app;
  CLI::App* bench = app.add_subcommand("bench", "");
  CLI::App* model = bench->add_subcommand("model", "");
  std::string folder;
  int seed = 0;
  model->add_option("MODEL", folder);
  model->add_option("--seed,-s", seed);
  const auto found = [&](const Words& arguments) { return unknown_word(app, arguments).value_or(""); };
  EXPECT_EQ(found({"bench", "model", "folder", "--seed=1", "--seed", "-1", "-s", "2"}), "");
  EXPECT_EQ(found({"bnech"}), "bnech is no command of fathom: did you mean bench?");
  EXPECT_EQ(found({"bench", "xyzzy"}), "xyzzy is no command of bench: see --help");
  EXPECT_EQ(found({"bench", "model", "--sede=3"}), "--sede is no option of model: did you mean --seed?");
  EXPECT_EQ(found({"bench", "model", "--", "--sede"}), "");
}

}  // namespace
}  // namespace fathom
