#include "load/datasets.h"

#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "support/temp_dir.h"

namespace fathom {
namespace {

// A token a character; ids 0 to 9 are special.
class Letters : public TokenSource {
 public:
  Result<int32_t> vocab_size() override { return 100; }
  bool is_plain(int32_t id) const override { return id >= 10; }
  Result<std::string> decode(std::span<const int32_t> ids) override { return std::string(ids.size(), 'x'); }
  Result<int64_t> count(std::string_view text) override { return static_cast<int64_t>(text.size()); }
};

TEST(RandomDataset, LengthsPrefixAndPlainTokens) {
  Letters letters;
  DatasetOptions options{.num_prompts = 200,
                         .seed = 5,
                         .random_input_len = 20,
                         .random_output_len = 10,
                         .random_prefix_len = 7,
                         .random_range_ratio = 0.5};
  const auto requests = make_requests(options, CompletionApi::kText, letters);
  ASSERT_TRUE(requests.ok());
  ASSERT_EQ(requests->size(), 200u);
  std::set<int64_t> input_lens, output_lens;
  std::set<std::vector<int32_t>> prefixes, others;
  for (const LoadRequest& request : *requests) {
    ASSERT_EQ(static_cast<int64_t>(request.prompt_ids.size()), request.prompt_len);
    input_lens.insert(request.prompt_len - 7);
    output_lens.insert(request.max_tokens);
    prefixes.insert({request.prompt_ids.begin(), request.prompt_ids.begin() + 7});
    others.insert({request.prompt_ids.begin() + 7, request.prompt_ids.end()});
    for (int32_t id : request.prompt_ids) ASSERT_TRUE(id >= 10 && id < 100);
  }
  EXPECT_EQ(*input_lens.begin(), 10);
  EXPECT_EQ(*input_lens.rbegin(), 30);
  EXPECT_EQ(input_lens.size(), 21u);
  EXPECT_EQ(*output_lens.begin(), 5);
  EXPECT_EQ(*output_lens.rbegin(), 15);
  EXPECT_EQ(prefixes.size(), 1u);
  EXPECT_GT(others.size(), 150u);
  const auto again = make_requests(options, CompletionApi::kText, letters);
  EXPECT_EQ((*again)[199].prompt_ids, (*requests)[199].prompt_ids);
  options.seed = 6;
  EXPECT_NE((*make_requests(options, CompletionApi::kText, letters))[0].prompt_ids,
            (*requests)[0].prompt_ids);
  const auto chats = make_requests(options, CompletionApi::kChat, letters);
  EXPECT_TRUE((*chats)[0].prompt_ids.empty());
  EXPECT_EQ(static_cast<int64_t>((*chats)[0].prompt.size()), (*chats)[0].prompt_len);
}

TEST(SharegptDataset, TakesPairsInBounds) {
  const testing::TempDir dir;
  const std::string path = join_path(dir.path(), "s.json");
  const auto pair = [](size_t question, size_t answer) {
    return Json{{"conversations",
                 {{{"from", "human"}, {"value", std::string(question, 'q')}},
                  {{"value", std::string(answer, 'a')}}}}};
  };
  const Json file = {pair(10, 5),
                     pair(3, 50),
                     pair(50, 3),
                     pair(1025, 10),
                     pair(1024, 1025),
                     pair(1024, 1024),
                     {{"conversations", Json::array()}},
                     7};
  ASSERT_TRUE(write_file(path, dump_json(file)).ok());
  Letters letters;
  DatasetOptions options{.name = "sharegpt", .path = path, .num_prompts = 5, .order = DatasetOrder::kOfFile};
  const auto requests = make_requests(options, CompletionApi::kChat, letters);
  ASSERT_TRUE(requests.ok()) << requests.status().message();
  std::vector<std::pair<int64_t, int64_t>> lengths;
  for (const LoadRequest& request : *requests) lengths.emplace_back(request.prompt_len, request.max_tokens);
  const std::vector<std::pair<int64_t, int64_t>> wanted = {
      {10, 5}, {1024, 1024}, {10, 5}, {1024, 1024}, {10, 5}};
  EXPECT_EQ(lengths, wanted);
  options.sharegpt_output_len = 2;
  EXPECT_EQ((*make_requests(options, CompletionApi::kChat, letters))[1].prompt_len, 50);
}

TEST(CustomDataset, LinesAndTheirErrors) {
  const testing::TempDir dir;
  const std::string path = join_path(dir.path(), "c.jsonl");
  ASSERT_TRUE(write_file(path, "{\"prompt\": \"abc\", \"output_tokens\": 9}\n\n{\"prompt\": \"de\"}\n").ok());
  Letters letters;
  DatasetOptions options{.name = "custom", .path = path, .num_prompts = 2, .order = DatasetOrder::kOfFile};
  const auto requests = make_requests(options, CompletionApi::kText, letters);
  ASSERT_TRUE(requests.ok());
  EXPECT_EQ((*requests)[1].prompt, "de");
  EXPECT_EQ((*requests)[0].max_tokens, 256);
  options.custom_output_len = -1;
  EXPECT_NE(make_requests(options, CompletionApi::kText, letters).status().message().find("c.jsonl line 3"),
            std::string::npos);
  options.num_prompts = 1;
  EXPECT_EQ((*make_requests(options, CompletionApi::kText, letters))[0].max_tokens, 9);
  options.path.clear();
  EXPECT_NE(make_requests(options, CompletionApi::kText, letters).status().message().find("--dataset-path"),
            std::string::npos);
}

}  // namespace
}  // namespace fathom
