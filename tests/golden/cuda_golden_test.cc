// The CUDA backend on the emulated device, or on a GPU (cuda_device_golden_test), against logits of the
// reference implementation, and its determinism: chunks and batch mates change no bit (docs/cuda.md).
#include <gtest/gtest.h>

#include "device/cuda/cuda_backend.h"
#include "model/deepseek_v2.h"
#include "model/stored_weight.h"
#include "support/golden.h"
#include "support/sanitizer.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

constexpr int64_t kBlockSize = 16;
constexpr int64_t kMaxTokens = 128;

constexpr AttentionForm kForms[] = {AttentionForm::kAbsorbed, AttentionForm::kExpanded};

std::string form_name(AttentionForm form) {
  return form == AttentionForm::kAbsorbed ? "absorbed" : "expanded";
}

CudaDevice test_device() {
  static const Result<CudaDevice> device = open_cuda_device(0);
  FATHOM_CHECK(device.ok(), "{}", device.status().message());
  return *device;
}

struct CudaModelOptions {
  DType activations = DType::kFloat32;
  DType cache = DType::kFloat32;
};

// Ids at consecutive positions of a sequence whose pages are those below last_page.
struct CudaSegment {
  std::vector<int32_t> ids;
  AttentionForm form = AttentionForm::kAbsorbed;
  int64_t first_position = 0;
  int64_t last_page = kMaxTokens / kBlockSize;
};

// A checkpoint on the device, and its cache.
class CudaModel {
 public:
  CudaModel(const std::string& folder, const CudaModelOptions& options) {
    const Status status = load(folder, options);
    EXPECT_TRUE(status.ok()) << status.message();
    loaded_ = status.ok();
  }
  bool loaded() const { return loaded_; }
  int64_t vocab_size() const { return model_->config().vocab_size; }
  int64_t num_layers() const { return model_->config().num_hidden_layers; }
  int64_t num_replayed() const { return backend_.graphs().num_replayed(); }

  // Logits of every position, the ids computed in chunks of so many.
  std::vector<float> logits(const std::vector<int32_t>& ids, int64_t chunk,
                            AttentionForm form = AttentionForm::kAbsorbed) {
    std::vector<float> all;
    const auto count = static_cast<int64_t>(ids.size());
    for (int64_t begin = 0; begin < count; begin += chunk) {
      const int64_t end = std::min(count, begin + chunk);
      const std::vector<float> part =
          step({{.ids = {ids.data() + begin, ids.data() + end}, .form = form, .first_position = begin}});
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  // The same of several segments in one batch.
  std::vector<float> step(const std::vector<CudaSegment>& segments) {
    std::vector<float> all;
    const Status status = run(segments, all);
    EXPECT_TRUE(status.ok()) << status.message();
    return all;
  }

 private:
  Status load(const std::string& folder, const CudaModelOptions& options) {
    FATHOM_ASSIGN_OR_RETURN(const ModelConfig config, load_model_config(folder));
    FATHOM_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::open(folder));
    FATHOM_ASSIGN_OR_RETURN(const QuantDescription description, QuantDescription::load(folder, config));
    FATHOM_RETURN_IF_ERROR(check_weights(*checkpoint, config, description));
    FATHOM_ASSIGN_OR_RETURN(model_, DeepseekV2::load(backend_, *checkpoint, description, config,
                                                     {.activation_dtype = options.activations,
                                                      .max_tokens = kMaxTokens,
                                                      .max_logits_rows = kMaxTokens,
                                                      .max_positions = config.max_position_embeddings},
                                                     nullptr));
    FATHOM_ASSIGN_OR_RETURN(LatentCache cache, LatentCache::create(backend_, config,
                                                                   {.num_pages = kMaxTokens / kBlockSize,
                                                                    .block_size = kBlockSize,
                                                                    .dtype = options.cache}));
    cache_.emplace(std::move(cache));
    return ok_status();
  }

  Status run(const std::vector<CudaSegment>& segments, std::vector<float>& all) {
    std::vector<int32_t> ids, positions, rows, page_tables, starts = {0}, table_starts = {0};
    std::vector<int64_t> slots;
    std::vector<AttentionForm> forms;
    for (const CudaSegment& segment : segments) {
      for (size_t t = 0; t < segment.ids.size(); ++t) {
        const int64_t position = segment.first_position + static_cast<int64_t>(t);
        rows.push_back(static_cast<int32_t>(ids.size()));
        ids.push_back(segment.ids[t]);
        positions.push_back(static_cast<int32_t>(position));
        // Pages in descending order.
        slots.push_back((segment.last_page - 1 - position / kBlockSize) * kBlockSize + position % kBlockSize);
      }
      for (int64_t i = 0; i * kBlockSize <= positions.back(); ++i)
        page_tables.push_back(static_cast<int32_t>(segment.last_page - 1 - i));
      starts.push_back(static_cast<int32_t>(ids.size()));
      table_starts.push_back(static_cast<int32_t>(page_tables.size()));
      forms.push_back(segment.form);
    }
    FATHOM_ASSIGN_OR_RETURN(const float* logits, model_->forward({.token_ids = ids,
                                                                  .positions = positions,
                                                                  .slots = slots,
                                                                  .starts = starts,
                                                                  .forms = forms,
                                                                  .page_tables = page_tables,
                                                                  .page_table_starts = table_starts,
                                                                  .logits_rows = rows},
                                                                 *cache_));
    const size_t floats = ids.size() * static_cast<size_t>(vocab_size());
    std::vector<std::byte> room;
    FATHOM_ASSIGN_OR_RETURN(const void* host, backend_.read_back(logits, floats * sizeof(float), room));
    const auto* values = static_cast<const float*>(host);
    all.assign(values, values + floats);
    return ok_status();
  }

  CudaBackend backend_{test_device(), {.num_host_threads = 1}};
  std::unique_ptr<DeepseekV2> model_;
  std::optional<LatentCache> cache_;
  bool loaded_ = false;
};

class CudaGoldenTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Variants, CudaGoldenTest, ::testing::ValuesIn(golden_variants()),
                         [](const auto& variant) { return variant.param; });

// The emulation is slow: the beginning of a golden's prompt.
constexpr size_t kPromptTokens = kSanitized ? 9 : 40;

Golden read_beginning(const std::string& variant) {
  Golden golden = read_golden(variant);
  const size_t vocab_size = golden.logits.size() / golden.ids.size();
  golden.ids.resize(std::min(golden.ids.size(), kPromptTokens));
  golden.logits.resize(golden.ids.size() * vocab_size);
  return golden;
}

// Both forms agree, but not to the bit.
TEST_P(CudaGoldenTest, Float32AgreesAtEveryPosition) {
  const Golden golden = read_beginning(GetParam());
  CudaModel model(golden_dir(GetParam()), {});
  ASSERT_TRUE(model.loaded());
  std::vector<std::vector<float>> results;
  for (AttentionForm form : kForms) {
    const std::vector<float> ours = model.logits(golden.ids, kMaxTokens, form);
    ASSERT_EQ(ours.size(), golden.logits.size());
    EXPECT_LE(position_distances(ours, golden.logits, static_cast<size_t>(model.vocab_size())).back(), 1e-5)
        << form_name(form);
    results.push_back(ours);
  }
  EXPECT_NE(results[0], results[1]);
}

// The bound of golden_test.cc: ten roundings a layer and one in the head, three times their mean square; a
// quarter of the positions, since a flipped expert is more than rounding.
TEST_P(CudaGoldenTest, RoundedActivationsStayWithinTheirBound) {
  const Golden golden = read_beginning(GetParam());
  for (DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    CudaModel model(golden_dir(GetParam()), {.activations = dtype, .cache = dtype});
    ASSERT_TRUE(model.loaded());
    const double unit = dtype == DType::kBFloat16 ? 0x1p-9 : 0x1p-12;
    const double tolerance =
        3 * unit / std::sqrt(3.0) * std::sqrt(static_cast<double>(10 * model.num_layers() + 1));
    for (AttentionForm form : kForms) {
      const std::vector<float> ours = model.logits(golden.ids, kMaxTokens, form);
      for (float logit : ours) ASSERT_TRUE(std::isfinite(logit));
      const auto distances = position_distances(ours, golden.logits, static_cast<size_t>(model.vocab_size()));
      EXPECT_LE(distances[distances.size() / 4], tolerance) << dtype_name(dtype) << ' ' << form_name(form);
      EXPECT_GE(distances[distances.size() / 4], tolerance / 100) << "nothing was rounded";
    }
  }
}

// One token after another, in chunks of 7, all at once: streamed and tiled products, other groups of experts.
TEST(CudaDeterminism, ChunksChangeNoBit) {
  for (const CudaModelOptions& options : {CudaModelOptions{},
                                          {DType::kBFloat16, DType::kBFloat16},
                                          {DType::kBFloat16, DType::kInt8},
                                          {DType::kFloat16, DType::kFloat16}}) {
    const Golden golden = read_beginning("lite_like");
    CudaModel model(golden_dir("lite_like"), options);
    ASSERT_TRUE(model.loaded());
    for (AttentionForm form : kForms) {
      const std::vector<float> whole = model.logits(golden.ids, kMaxTokens, form);
      // An expanded chunk expands all keys before it once more: fewer of them are quick enough.
      for (int64_t chunk : {form == AttentionForm::kAbsorbed ? 1 : 19, 7})
        EXPECT_TRUE(model.logits(golden.ids, chunk, form) == whole)
            << dtype_name(options.activations) << ' ' << form_name(form) << " chunk " << chunk;
    }
    // All one-token steps but two are launched as the second one's graph.
    EXPECT_GE(model.num_replayed(), std::ssize(golden.ids) - 2);
  }
}

// A chunk of a long prompt with a prefix in the cache, a generated token and a short prompt in one batch.
TEST(CudaDeterminism, FormsMixInABatch) {
  for (const CudaModelOptions& options :
       {CudaModelOptions{}, {DType::kBFloat16, DType::kBFloat16}, {DType::kFloat16, DType::kInt8}}) {
    const std::string variant = options.activations == DType::kFloat16 ? "fp16_overflow" : "lite_like";
    const std::vector<int32_t> ids = read_beginning(variant).ids;
    CudaModel model(golden_dir(variant), options);
    ASSERT_TRUE(model.loaded());
    model.step({{.ids = {ids.begin(), ids.begin() + 5}, .form = AttentionForm::kExpanded},
                {.ids = {ids.begin() + 1, ids.begin() + 3}, .last_page = 5}});
    const std::vector<CudaSegment> segments = {
        {.ids = {ids.begin() + 3, ids.begin() + 4}, .first_position = 2, .last_page = 5},
        {.ids = {ids.begin() + 5, ids.end()}, .form = AttentionForm::kExpanded, .first_position = 5},
        {.ids = {ids.begin(), ids.begin() + 4}, .last_page = 3},
        {.ids = {ids.begin() + 2, ids.begin() + 9}, .form = AttentionForm::kExpanded, .last_page = 2}};
    const std::vector<float> together = model.step(segments);
    std::vector<float> alone;
    for (const CudaSegment& segment : segments) {
      const std::vector<float> part = model.step({segment});
      alone.insert(alone.end(), part.begin(), part.end());
    }
    EXPECT_TRUE(together == alone) << dtype_name(options.activations);
  }
}

// A batch of one token in page 0.
struct OneToken {
  std::vector<int32_t> zero = {0}, ends = {0, 1};
  std::vector<int64_t> slots = {0};
  std::vector<AttentionForm> forms = {AttentionForm::kAbsorbed};
  Batch batch{.token_ids = zero,
              .positions = zero,
              .slots = slots,
              .starts = ends,
              .forms = forms,
              .page_tables = zero,
              .page_table_starts = ends,
              .logits_rows = zero};
};

TEST(CudaBackendFailures, AFailedLaunchIsReportedByWhatHasAStatus) {
  CudaDevice device = test_device();
  device.kernels.embed = [](const kernels::cuda::EmbedParams&, void*) { return 700; };
  CudaBackend backend(device, {.num_host_threads = 1});
  const OneToken one;
  ASSERT_TRUE(backend.begin_step(one.batch).ok());
  float out = 0;
  backend.embed({.data = &out, .rows = 1, .cols = 1}, &out);
  std::vector<std::byte> room;
  EXPECT_EQ(backend.read_back(&out, sizeof(out), room).status().message(),
            "the CUDA kernel embed failed with error 700");
  EXPECT_FALSE(backend.begin_step(one.batch).ok());
}

TEST(CudaBackendFailures, TooLittleMemoryIsReported) {
  CudaDevice device = test_device();
  device.allocate = [](size_t bytes) -> Result<void*> { return resource_exhausted("no {} bytes", bytes); };
  CudaBackend backend(device, {.num_host_threads = 1});
  EXPECT_EQ(backend.begin_step(OneToken().batch).code(), ErrorCode::kResourceExhausted);
}

class CudaQuantizedTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Types, CudaQuantizedTest,
                         ::testing::Values("w8a16", "w8a8_dynamic", "mix", "w4a16", "w4a8_dynamic"));

// Exact sums of the reference's integers: float32's own error is left, as in quantized_golden_test.cc; where
// inputs are two digits, the rounding of five of them a layer.
TEST_P(CudaQuantizedTest, AgreesAndChunksChangeNoBit) {
  const QuantizedGolden golden = read_quantized_golden("lite_like", GetParam());
  TempDir folder;
  assemble_quantized_golden("lite_like", GetParam(), folder.path());
  CudaModel model(folder.path(), {});
  ASSERT_TRUE(model.loaded());
  const std::vector<float> ours = model.logits(golden.ids, kMaxTokens);
  ASSERT_EQ(ours.size(), golden.logits.size());
  const double digits = golden.input_crest / kernels::kInt8PairLimit / std::sqrt(12.0);
  const double tolerance = GetParam() == "w8a8_dynamic" || GetParam() == "w4a8_dynamic"
                               ? 1e-5
                               : 3 * digits * std::sqrt(5.0 * static_cast<double>(model.num_layers()));
  EXPECT_LE(relative_distance(ours, golden.logits), tolerance);
  EXPECT_TRUE(model.logits(golden.ids, 3) == ours);
}

}  // namespace
}  // namespace fathom::testing
