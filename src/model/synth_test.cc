#include "model/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/file.h"
#include "base/float16.h"
#include "model/stored_weight.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom {
namespace {

using testing::TempDir;
using testing::tiny_config;
using testing::tiny_grouped_config;

SynthOptions options_for(const TempDir& dir, const std::string& name) {
  SynthOptions options;
  options.config = tiny_grouped_config();
  options.output = dir.file(name);
  return options;
}

std::set<std::string> names_in(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename().string());
  return names;
}

std::string content(const std::string& path) {
  const auto text = read_file(path, size_t{1} << 24);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : "";
}

TEST(Synth, OpensWithEveryTypeAndShardSize) {
  TempDir dir;
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    for (const uint64_t shard_bytes : {uint64_t{4096}, uint64_t{1} << 30}) {
      SynthOptions options = options_for(dir, fmt::format("{}-{}", dtype_name(dtype), shard_bytes));
      options.config.torch_dtype = dtype;
      options.shard_bytes = shard_bytes;
      const auto result = synthesize(options, nullptr);
      ASSERT_TRUE(result.ok()) << result.status().message();
      const auto config = load_model_config(options.output);
      ASSERT_TRUE(config.ok()) << config.status().message();
      EXPECT_EQ(*config, options.config);
      const auto checkpoint = Checkpoint::open(options.output);
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
      EXPECT_TRUE(check_weights(**checkpoint, *config, {}).ok());
      EXPECT_TRUE(unused_tensors(**checkpoint, *config).empty());
      EXPECT_EQ((*checkpoint)->files().size(), result->num_files);
      EXPECT_EQ((*checkpoint)->data_bytes(), result->data_bytes);
      EXPECT_EQ((*checkpoint)->tensor("lm_head.weight")->dtype, dtype);
    }
  }
}

TEST(Synth, SameBytesForAnyThreadCount) {
  TempDir dir;
  for (const int threads : {1, 2, 3, 7}) {
    SynthOptions options = options_for(dir, std::to_string(threads));
    options.num_threads = threads;
    options.shard_bytes = 8192;
    options.config.vocab_size = 3000;  // tensors that the threads really share
    options.config.quantize = QuantType::kW8A16;
    ASSERT_TRUE(synthesize(options, nullptr).ok());
    ASSERT_EQ(names_in(options.output), names_in(dir.file("1")));
    for (const std::string& name : names_in(options.output)) {
      EXPECT_EQ(content(options.output + "/" + name), content(dir.file("1/" + name))) << name;
    }
  }
}

TEST(Synth, QuantisedFoldersHaveTheirFiles) {
  TempDir dir;
  SynthOptions options = options_for(dir, "one");
  options.config.quantize = QuantType::kW8A8Dynamic;
  const auto one = synthesize(options, nullptr);
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_EQ(names_in(options.output),
            (std::set<std::string>{"config.json", "quant_model_description_w8a8_dynamic.json",
                                   "quant_model_weight_w8a8_dynamic.safetensors"}));
  options.output = dir.file("many");
  options.shard_bytes = 8192;
  const auto many = synthesize(options, nullptr);
  ASSERT_TRUE(many.ok()) << many.status().message();
  EXPECT_EQ(many->data_bytes, one->data_bytes);
  EXPECT_EQ(many->num_tensors, one->num_tensors);
  const auto names = names_in(options.output);
  EXPECT_EQ(names.size(), many->num_files + 3);
  EXPECT_TRUE(names.contains("quant_model_weight_w8a8_dynamic.safetensors.index.json"));
  EXPECT_TRUE(names.contains(
      fmt::format("quant_model_weight_w8a8_dynamic-00001-of-{:05}.safetensors", many->num_files)));

  const auto config = load_model_config(options.output);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(*config, options.config);
  const auto first = Checkpoint::open(dir.file("one"));
  const auto second = Checkpoint::open(dir.file("many"));
  ASSERT_TRUE(first.ok() && second.ok());
  const auto description = QuantDescription::load(options.output, *config);
  ASSERT_TRUE(description.ok()) << description.status().message();
  const Status status = check_weights(**second, *config, *description);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(unused_tensors(**second, *config).empty());
  ASSERT_EQ((*second)->names().size(), one->num_tensors);
  for (std::string_view name : (*second)->names()) {
    EXPECT_TRUE(description->find(name)) << name;
    const TensorView a = *(*first)->tensor(name);
    const TensorView b = *(*second)->tensor(name);
    EXPECT_EQ(std::string_view(static_cast<const char*>(a.data), a.num_bytes()),
              std::string_view(static_cast<const char*>(b.data), b.num_bytes()))
        << name;
    if (name.ends_with("_scale") || name.ends_with("_offset")) {
      EXPECT_EQ(b.dtype, DType::kFloat32);
      EXPECT_EQ(b.shape.rank(), 2);
      EXPECT_EQ(b.shape[1], 1);
      EXPECT_EQ(description->find(name), QuantType::kW8A8Dynamic);
    }
  }
}

// What is rounded are the very values that a float checkpoint of the same seed holds.
TEST(Synth, RowsAreTheStoredValues) {
  const ModelConfig config = tiny_grouped_config();
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.shape.rank() != 2) continue;
    const SynthTensor tensor(spec, config, 9);
    const int64_t rows = spec.shape[0], row_size = spec.shape[1];
    std::vector<BFloat16> stored(static_cast<size_t>(rows * row_size));
    tensor.copy(0, rows * row_size, reinterpret_cast<std::byte*>(stored.data()));
    std::vector<float> row(static_cast<size_t>(row_size));
    for (int64_t i = 0; i < rows; ++i) {
      tensor.read_row(i, row);
      for (int64_t j = 0; j < row_size; ++j)
        ASSERT_EQ(row[static_cast<size_t>(j)], to_float(stored[static_cast<size_t>(i * row_size + j)]))
            << spec.name;
    }
  }
}

TEST(Synth, Int4FoldersOpen) {
  TempDir dir;
  for (const QuantType type : {QuantType::kW4A16, QuantType::kW4A8Dynamic}) {
    for (const int64_t group_size : kGroupSizes) {
      SynthOptions options;
      options.config = tiny_config();
      options.config.hidden_size = 200;  // short last groups, a shape of its own for each size
      options.config.quantize = type;
      options.group_size = group_size;
      options.shard_bytes = 8192;
      options.output = dir.file(fmt::format("{}-{}", quant_type_name(type), group_size));
      const auto result = synthesize(options, nullptr);
      ASSERT_TRUE(result.ok()) << result.status().message();
      const auto config = load_model_config(options.output);
      const auto checkpoint = Checkpoint::open(options.output);
      ASSERT_TRUE(config.ok() && checkpoint.ok());
      const auto description = QuantDescription::load(options.output, *config);
      ASSERT_TRUE(description.ok()) << description.status().message();
      const Status status = check_weights(**checkpoint, *config, *description);
      EXPECT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(unused_tensors(**checkpoint, *config).empty());
      const WeightSpec spec = {
          "model.layers.0.self_attn.q_proj.weight", WeightRole::kQProj, 0, -1, ShardAxis::kRows,
          WeightFormats::kFloatOrQuantized,         {20, 200}};
      const auto stored = stored_weight(**checkpoint, *description, spec);
      ASSERT_TRUE(stored.ok()) << stored.status().message();
      EXPECT_EQ(stored->type, type);
      EXPECT_EQ(stored->group_size, group_size);
      EXPECT_EQ(stored->tensor.shape, (Shape{20, 100}));
      EXPECT_EQ(stored->factors.shape, (Shape{20, num_groups(200, group_size)}));
    }
  }
}

TEST(Synth, Int4NeedsAnEvenNumberOfInputs) {
  TempDir dir;
  SynthOptions options = options_for(dir, "out");
  options.config.quantize = QuantType::kW4A16;  // q_lora_rank is 7
  EXPECT_EQ(
      synthesize(options, nullptr).status().message(),
      "tensor \"model.layers.0.self_attn.q_b_proj.weight\" has 7 inputs: w4a16 needs an even number, store "
      "it as int8 or floating");
  EXPECT_FALSE(path_exists(options.output));
}

TEST(Synth, AnotherTypeReplacesAllOfTheOld) {
  TempDir dir;
  SynthOptions options = options_for(dir, "out");
  options.shard_bytes = 8192;
  options.config.quantize = QuantType::kW8A16;
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  options.existing_output = ExistingOutput::kReplace;
  options.shard_bytes = uint64_t{1} << 30;
  options.config.quantize.reset();
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  EXPECT_EQ(names_in(options.output), (std::set<std::string>{"config.json", "model.safetensors"}));
}

TEST(Synth, SeedsDifferAndPiecesAgree) {
  const WeightSpec spec = weight_table(tiny_config())[0];
  const SynthTensor tensor(spec, tiny_config(), 1);
  const SynthTensor other(spec, tiny_config(), 2);
  const int64_t n = spec.shape.num_elements();
  std::vector<uint16_t> whole(static_cast<size_t>(n)), different(whole.size()), pieces(whole.size());
  const auto fill = [](const SynthTensor& from, int64_t begin, int64_t end, std::vector<uint16_t>& to) {
    from.copy(begin, end, reinterpret_cast<std::byte*>(to.data() + begin));
  };
  fill(tensor, 0, n, whole);
  fill(other, 0, n, different);
  EXPECT_NE(whole, different);
  for (int64_t begin = 0, step = 1; begin < n; begin += step, step = step % 7 + 1) {
    fill(tensor, begin, std::min(begin + step, n), pieces);
  }
  EXPECT_EQ(whole, pieces);
}

TEST(Synth, ValuesHaveTheirDeviation) {
  ModelConfig config = tiny_config();
  config.torch_dtype = DType::kFloat32;
  config.vocab_size = 20000;
  const auto moments = [&config](WeightRole role) {
    for (const WeightSpec& spec : weight_table(config)) {
      if (spec.role != role) continue;
      std::vector<float> values(static_cast<size_t>(spec.shape.num_elements()));
      SynthTensor(spec, config, 5)
          .copy(0, spec.shape.num_elements(), reinterpret_cast<std::byte*>(values.data()));
      double sum = 0, squares = 0;
      for (float value : values) {
        EXPECT_TRUE(std::isfinite(value));
        sum += value;
        squares += static_cast<double>(value) * value;
      }
      const double n = static_cast<double>(values.size());
      return std::pair(sum / n, std::sqrt(squares / n));
    }
    return std::pair(0.0, 0.0);
  };
  const auto [embed_mean, embed_root] = moments(WeightRole::kEmbedTokens);
  EXPECT_NEAR(embed_mean, 0, 0.01);  // 320,000 values: standard error 0.002
  EXPECT_NEAR(embed_root, 1, 0.01);
  EXPECT_NEAR(moments(WeightRole::kLmHead).second, 2 / std::sqrt(16.0), 0.01);
  EXPECT_NEAR(moments(WeightRole::kFinalNorm).first, 1, 0.1);
}

TEST(Synth, ExistingFoldersAreKept) {
  TempDir dir;
  SynthOptions options = options_for(dir, "out");
  options.shard_bytes = 4096;
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  const auto before = names_in(options.output);
  EXPECT_EQ(synthesize(options, nullptr).status().message(),
            options.output + ": folder is not empty: choose another, or replace its model with --force");
  EXPECT_EQ(names_in(options.output), before);
  dir.write("out/notes.txt", "mine");
  options.existing_output = ExistingOutput::kReplace;
  options.shard_bytes = uint64_t{1} << 30;
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  EXPECT_EQ(names_in(options.output),
            (std::set<std::string>{"config.json", "model.safetensors", "notes.txt"}));
  options.tokenizer_directory = options.output;
  EXPECT_EQ(synthesize(options, nullptr).status().message(),
            options.output + ": output and source are the same folder");
  options.output = dir.file("out/notes.txt");
  EXPECT_FALSE(synthesize(options, nullptr).ok());
}

TEST(Synth, RepeatingHeadHasTheEmbeddingOfTheTokenBefore) {
  // Cycles of 0 1 2, 3 4 5, 6 7.
  const std::vector<int64_t> before = {2, 0, 1, 5, 3, 4, 7, 6};
  for (int64_t token = 0; token < 8; ++token)
    EXPECT_EQ(token_before(token, 3, 8), before[static_cast<size_t>(token)]) << token;

  TempDir dir;
  SynthOptions options = options_for(dir, "out");
  options.config.torch_dtype = DType::kFloat32;
  options.repeat_after = 7;
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  const auto checkpoint = Checkpoint::open(options.output).value();
  const auto floats = [&](const char* name) {
    const TensorView view = *checkpoint->tensor(name);
    return std::span(static_cast<const float*>(view.data), static_cast<size_t>(view.shape.num_elements()));
  };
  const auto head = floats("lm_head.weight"), embedding = floats("model.embed_tokens.weight");
  const auto width = static_cast<size_t>(options.config.hidden_size);
  const float scale = 2 / std::sqrt(static_cast<float>(width));
  for (int64_t token = 0; token < options.config.vocab_size; ++token) {
    const int64_t source = token_before(token, 7, options.config.vocab_size);
    for (size_t i = 0; i < width; ++i) {
      const float want = scale * embedding[static_cast<size_t>(source) * width + i];
      EXPECT_NEAR(head[static_cast<size_t>(token) * width + i], want, 1e-5f) << token << " " << i;
    }
  }
  options.output = dir.file("tied");
  options.config.tie_word_embeddings = true;
  EXPECT_EQ(synthesize(options, nullptr).status().message(),
            "--repeat-after: needs a head of its own, which tie_word_embeddings denies");
}

TEST(Synth, TokenizerFilesComeAlong) {
  TempDir dir;
  std::filesystem::create_directory(dir.file("source"));
  dir.write("source/tokenizer.json", "{}");
  dir.write("source/modeling.py", "");
  SynthOptions options = options_for(dir, "out");
  options.tokenizer_directory = dir.file("source");
  ASSERT_TRUE(synthesize(options, nullptr).ok());
  EXPECT_EQ(names_in(options.output),
            (std::set<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
}

TEST(Synth, TooLittleDiskSpaceIsSeenBefore) {
  TempDir dir;
  SynthOptions options = options_for(dir, "out");
  options.config.vocab_size = 4194304;
  options.config.hidden_size = 1048576;
  options.config.num_hidden_layers = 1;
  const auto result = synthesize(options, nullptr);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("MB of disk space"), std::string::npos)
      << result.status().message();
  EXPECT_TRUE(names_in(options.output).empty());
}

// The last report is the whole.
TEST(Synth, ReportsProgress) {
  struct Sink : ProgressSink {
    uint64_t done = 0, total = 0;
    void report(std::string_view, uint64_t d, uint64_t t) override {
      EXPECT_GE(d, done);
      done = d, total = t;
    }
  } sink;
  TempDir dir;
  const auto result = synthesize(options_for(dir, "out"), &sink);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(sink.done, result->data_bytes);
  EXPECT_EQ(sink.total, result->data_bytes);
}

}  // namespace
}  // namespace fathom
