// The two passes on tiny models: held against every logit taken at once, and independent of how the work is
// cut.
#include "evaluate/compare.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"
#include "text/tiny_tokenizer.h"

namespace fathom::testing {
namespace {

constexpr int64_t kVocabSize = 258;

class CompareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelConfig config = tiny_config();
    config.vocab_size = kVocabSize;
    config.max_position_embeddings = 512;
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = config, .directory = model_});
    folder_.write("model/tokenizer.json", tiny::tokenizer_json().dump());
    folder_.write("model/tokenizer_config.json", tiny::config_json().dump());
    std::string text;
    for (int i = 0; i < 300; ++i) text += static_cast<char>('a' + i * i % 26);
    texts_ = {folder_.write("long.txt", text), folder_.write("short.txt", "brief")};
  }

  // Windows of 200: the first is computed expanded, the second and third absorbed.
  TextWindows windows() const {
    auto read = read_compared_texts({.model_a = model_, .model_b = model_, .files = texts_, .context = 200});
    EXPECT_TRUE(read.ok()) << read.status().message();
    return std::move(read).value();
  }

  EngineOptions options() const {
    EngineOptions options = small_options(model_);
    options.dtype = DType::kFloat32;
    return options;
  }

  Result<DivergenceSummary> compare(const EngineOptions& a, const EngineOptions& b) const {
    const TextWindows cut = windows();
    FATHOM_ASSIGN_OR_RETURN(const auto kept,
                            ScratchFile::create(folder_.path(), kept_bytes(cut, kVocabSize)));
    FATHOM_RETURN_IF_ERROR(keep_logits(*load_engine(a), cut, *kept, nullptr));
    return compare_with_kept(*load_engine(b), cut, *kept, nullptr);
  }

  // Makes the token's row of the embedding NaN: what comes after the token cannot be predicted.
  void poison_embedding(int32_t token) const {
    const auto checkpoint = Checkpoint::open(model_);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    const auto view = (*checkpoint)->tensor("model.embed_tokens.weight");
    ASSERT_TRUE(view.ok()) << view.status().message();
    const size_t row_bytes =
        static_cast<size_t>(view->shape.num_elements() / kVocabSize) * dtype_bytes(view->dtype);
    const auto* begin = static_cast<const char*>(view->data) + static_cast<size_t>(token) * row_bytes;
    const std::string path = (*checkpoint)->files()[0]->path();
    const auto content = read_file(path, 1 << 24);
    ASSERT_TRUE(content.ok()) << content.status().message();
    const size_t at = content->find(std::string(begin, row_bytes));
    ASSERT_NE(at, std::string::npos);
    std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(at));
    out << std::string(row_bytes, '\xff');
  }

  TempDir folder_;
  std::string model_;
  std::vector<std::string> texts_;
};

TEST_F(CompareTest, AModelEqualsItself) {
  const auto got = compare(options(), options());
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(got->num_tokens, 305);
  EXPECT_EQ(got->kl_max, 0);
  EXPECT_EQ(got->top1_agreement, 1);
  EXPECT_EQ(got->nll_a, got->nll_b);
  EXPECT_EQ(*got->log_ratio_error, 0);
}

// Each window's logits at once, the last row left out.
TEST_F(CompareTest, EqualsAllLogitsTakenAtOnce) {
  EngineOptions int8 = options();
  int8.kv_cache_dtype = DType::kInt8;
  const auto got = compare(options(), int8);
  ASSERT_TRUE(got.ok()) << got.status().message();
  DivergenceCollector collector;
  const TextWindows cut = windows();
  const auto a = load_engine(options()), b = load_engine(int8);
  for (const Window& window : cut.windows()) {
    const std::vector<int32_t> ids = cut.model_input(window);
    const std::vector<float> all_a = score_all(*a, ids), all_b = score_all(*b, ids);
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const size_t first = i * kVocabSize;
      collector.add(diverge(std::span(all_a).subspan(first, kVocabSize),
                            std::span(all_b).subspan(first, kVocabSize), ids[i + 1]));
    }
  }
  const DivergenceSummary want = collector.summary();
  EXPECT_GT(got->kl_mean, 0) << "the int8 cache is not in the path";
  EXPECT_EQ(got->num_tokens, want.num_tokens);
  EXPECT_EQ(got->kl_mean, want.kl_mean);
  EXPECT_EQ(got->kl_max_index, want.kl_max_index);
  EXPECT_EQ(got->nll_a, want.nll_a);
  EXPECT_EQ(got->nll_b, want.nll_b);
  EXPECT_EQ(got->top1_agreement, want.top1_agreement);
}

TEST_F(CompareTest, HowTheWorkIsCutChangesNoBit) {
  EngineOptions int8 = options();
  int8.kv_cache_dtype = DType::kInt8;
  const auto want = compare(options(), int8);
  ASSERT_TRUE(want.ok()) << want.status().message();
  const std::vector<std::array<int, 3>> cuts{{1, 128, 8}, {3, 1, 1}, {2, 512, 300}, {2, 7, 64}};
  for (const auto& [threads, tokens, sequences] : cuts) {
    EngineOptions a = options();
    a.num_threads = threads;
    a.max_num_batched_tokens = tokens;
    a.max_num_seqs = sequences;
    EngineOptions b = a;
    b.kv_cache_dtype = DType::kInt8;
    const auto got = compare(a, b);
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(got->kl_mean, want->kl_mean) << threads << " threads, steps of " << tokens;
    EXPECT_EQ(got->kl_max, want->kl_max);
    EXPECT_EQ(got->nll_a, want->nll_a);
    EXPECT_EQ(got->nll_b, want->nll_b);
    EXPECT_EQ(*got->log_ratio_error, *want->log_ratio_error);
  }
}

TEST_F(CompareTest, LogitsThatAreNotFinite) {
  const auto first = folder_.write("first.txt", "good");
  const auto second = folder_.write("second.txt", "aaa#aa");
  texts_ = {first, second};
  poison_embedding('#');
  const auto got = compare(options(), options());
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.status().message(),
            "the logits that predict token 4 of " + second + " (byte 4) are not finite");
}

}  // namespace
}  // namespace fathom::testing
