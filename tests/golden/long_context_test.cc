// Sequences as long as YaRN's 40 x 4096 positions: logits of far positions against the reference
// (tools/reference/make_long_goldens.py), the end of the context, and a key that has to be found among
// 100,000.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/random.h"
#include "model/memory_plan.h"
#include "support/engine.h"
#include "support/golden.h"
#include "support/sanitizer.h"
#include "support/temp_dir.h"

namespace fathom::testing {
namespace {

constexpr int64_t kContext = 163840;
constexpr int32_t kVocab = 64;
// Everything a sanitizer has the time for.
constexpr int64_t kSanitizedTokens = 5008;

std::string checkpoint_dir() { return golden_dir("context/yarn_160k"); }

int64_t length_here(int64_t num_tokens) {
  return kSanitized ? std::min(num_tokens, kSanitizedTokens) : num_tokens;
}

std::vector<int32_t> ids_of(int64_t num_tokens) {
  std::vector<int32_t> ids(static_cast<size_t>(num_tokens));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(mix_bits(i) % kVocab);
  return ids;
}

using Rows = std::map<int64_t, std::vector<float>>;  // logits by position

struct LongGolden {
  Rows rows;
  double latent_crest = 0;
};

LongGolden read_long_golden() {
  const auto file = SafetensorsFile::open(checkpoint_dir() + "/golden.safetensors");
  if (!file.ok()) {
    ADD_FAILURE() << file.status().message();
    return {};
  }
  LongGolden golden{.rows = {}, .latent_crest = read_tensor<float>(**file, "latent_crest").at(0)};
  const auto logits = read_tensor<float>(**file, "logits");
  auto row = logits.begin();
  for (int64_t position : read_tensor<int64_t>(**file, "rows")) {
    golden.rows[position].assign(row, row + kVocab);
    row += kVocab;
  }
  return golden;
}

// Room for one sequence of num_tokens; logits of a whole chunk at once.
EngineOptions long_options(const std::string& dir, int64_t num_tokens, int64_t chunk) {
  EngineOptions options = small_options(dir);
  options.block_size = 128;
  options.dtype = DType::kFloat32;
  options.max_model_len = num_tokens;
  options.max_num_seqs = options.max_num_batched_tokens = chunk;
  options.kv_memory_bytes = uint64_t{64} << 20;
  return options;
}

// Of the positions that golden has.
Rows score_rows(Engine& engine, const std::vector<int32_t>& ids, const Rows& golden) {
  Rows rows;
  const Status status = engine.score(ids, [&](int64_t first, std::span<const float> logits) {
    for (int64_t i = 0; i < static_cast<int64_t>(logits.size()) / kVocab; ++i) {
      if (!golden.contains(first + i)) continue;
      const auto row = logits.subspan(static_cast<size_t>(i * kVocab), kVocab);
      rows[first + i].assign(row.begin(), row.end());
    }
    return ok_status();
  });
  EXPECT_TRUE(status.ok()) << status.message();
  return rows;
}

std::vector<double> distances(const Rows& ours, const Rows& golden) {
  std::vector<double> all;
  for (const auto& [position, row] : ours) all.push_back(relative_distance(row, golden.at(position)));
  std::sort(all.begin(), all.end());
  return all;
}

double norm(const std::vector<float>& row) {
  double sum = 0;
  for (float x : row) sum += double{x} * x;
  return std::sqrt(sum);
}

double log_probability(const std::vector<float>& row, int32_t id) {
  double sum = 0;
  const double largest = *std::max_element(row.begin(), row.end());
  for (float x : row) sum += std::exp(x - largest);
  return row[static_cast<size_t>(id)] - largest - std::log(sum);
}

// A prompt that leaves room for one token. What is held against the reference are the log-probabilities of
// the prompt's own tokens, which differ by at most twice what a logit does. Attention is sharp here, with
// scores up to 16: a float32 sum of 24 products of that size errs by some 16 * 2^-24 * sqrt(24) = 5e-6, and
// the weight of its key by as much, in each of two layers.
TEST(LongContext, FillsItToTheLastPosition) {
  const LongGolden golden = read_long_golden();
  const int64_t context = length_here(kContext);
  const std::vector<int32_t> ids = ids_of(context);
  const auto engine = load_engine(long_options(checkpoint_dir(), context, 512));
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->max_model_len(), context);
  constexpr int64_t kFirst = 5001;
  Request request{.prompt_ids = {ids.begin(), ids.end() - 1}, .sampling = {}, .scoring = {.first = kFirst}};
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  std::vector<double> logprobs;
  std::vector<int32_t> answer;
  FinishReason reason = FinishReason::kNone;
  const auto id = engine->submit(request, [&](const RequestEvent& event) {
    if (event.prompt_scores != nullptr) logprobs = event.prompt_scores->logprobs;
    if (event.token_id) answer.push_back(*event.token_id);
    reason = event.finish_reason;
  });
  ASSERT_TRUE(id.ok()) << id.status().message();
  while (engine->has_work()) ASSERT_TRUE(engine->step().ok());
  EXPECT_EQ(reason, FinishReason::kLength);
  ASSERT_EQ(answer.size(), 1u);
  ASSERT_EQ(logprobs.size(), static_cast<size_t>(context - 1 - kFirst));
  double worst = 0;
  for (const auto& [position, row] : golden.rows) {
    if (position >= context - 2) continue;
    const double ours = logprobs[static_cast<size_t>(position + 1 - kFirst)];
    const double difference =
        std::abs(ours - log_probability(row, ids[static_cast<size_t>(position + 1)])) / norm(row);
    worst = std::max(worst, difference);
    EXPECT_LE(difference, 2e-5) << position;
  }
  std::printf("  full context: worst difference %.1e of the logits' norm\n", worst);
  if (const auto last = golden.rows.find(context - 2); last != golden.rows.end()) {
    const auto best = std::max_element(last->second.begin(), last->second.end());
    EXPECT_EQ(answer[0], best - last->second.begin());
  }
}

TEST(LongContext, MoreThanItHoldsIsRefused) {
  const auto engine = load_engine(long_options(checkpoint_dir(), kContext, 512));
  ASSERT_NE(engine, nullptr);
  const auto full =
      engine->submit({.prompt_ids = ids_of(kContext), .sampling = {}}, [](const RequestEvent&) {});
  EXPECT_EQ(full.status().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(full.status().message().find("163840"), std::string::npos) << full.status().message();
  const Status scored =
      engine->score(ids_of(kContext + 1), [](int64_t, std::span<const float>) { return ok_status(); });
  EXPECT_NE(scored.message().find("163841"), std::string::npos) << scored.message();
  EXPECT_NE(scored.message().find("163840"), std::string::npos) << scored.message();
  const auto beyond = Engine::load(long_options(checkpoint_dir(), kContext + 1, 512), nullptr);
  EXPECT_NE(beyond.status().message().find("max_position_embeddings"), std::string::npos);
}

// docs/numerics.md has the bound: one digit in the latent, 16 bits in the rotated key, an error that enters
// scores and values alike.
TEST(LongContext, Int8CacheStaysWithinItsBound) {
  const LongGolden golden = read_long_golden();
  const int64_t num_tokens = length_here(100008);
  EngineOptions options = long_options(checkpoint_dir(), num_tokens, 512);
  options.kv_cache_dtype = DType::kInt8;
  const auto engine = load_engine(options);
  ASSERT_NE(engine, nullptr);
  const auto all = distances(score_rows(*engine, ids_of(num_tokens), golden.rows), golden.rows);
  const auto num_layers = static_cast<double>(engine->config().num_hidden_layers);
  const double latent = golden.latent_crest / 127 / std::sqrt(12.0);
  const double bound = 3 * std::sqrt(num_layers * (2 * latent * latent + 0x1p-18 / 3));
  std::printf("  int8 cache: quartile %.1e, median %.1e, worst %.1e of %.1e\n", all[all.size() / 4],
              all[all.size() / 2], all.back(), bound);
  EXPECT_LE(all[all.size() / 4], bound);
  EXPECT_GE(all[all.size() / 4], bound / 100) << "nothing was rounded";
}

TEST(LongContext, ChunksAndFormsAgree) {
  const LongGolden golden = read_long_golden();
  const int64_t num_tokens = length_here(20008);
  const std::vector<int32_t> ids = ids_of(num_tokens);
  for (const DType cache : {DType::kFloat32, DType::kInt8}) {
    std::vector<float> first;
    for (int64_t chunk : {512, 100}) {
      EngineOptions options = long_options(checkpoint_dir(), num_tokens, chunk);
      options.kv_cache_dtype = cache;
      const auto engine = load_engine(options);
      ASSERT_NE(engine, nullptr);
      std::vector<float> all = score_all(*engine, ids);
      if (first.empty()) {
        first = std::move(all);
      } else {
        EXPECT_TRUE(all == first) << "chunks of " << chunk << ", " << dtype_name(cache);
      }
    }
    EXPECT_EQ(first.size(), ids.size() * kVocab);
  }
  EngineOptions absorbed = long_options(checkpoint_dir(), num_tokens, 512);
  absorbed.expanded_prompt_tokens = int64_t{1} << 30;
  const auto engine = load_engine(absorbed);
  ASSERT_NE(engine, nullptr);
  const double worst = distances(score_rows(*engine, ids, golden.rows), golden.rows).back();
  std::printf("  absorbed: worst position %.1e\n", worst);
  EXPECT_LE(worst, 1e-5);
}

// What `fathom show` promises is what the engine's cache has.
TEST(LongContext, TheCacheIsAsLargeAsPlanned) {
  for (const DType dtype : {DType::kBFloat16, DType::kInt8}) {
    EngineOptions options = small_options(checkpoint_dir());
    options.block_size = 128;
    options.max_num_seqs = 3;
    options.max_model_len = kContext;
    options.kv_cache_dtype = dtype;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    const MemoryPlan plan = plan_memory(
        engine->config(), {.max_model_len = kContext, .max_num_seqs = 3, .kv_cache_dtype = dtype}, {});
    const int64_t num_tokens = engine->statistics().pages_total * options.block_size;
    EXPECT_EQ(num_tokens, 3 * kContext);
    EXPECT_EQ(plan.num_cache_tokens, num_tokens);
    EXPECT_EQ(plan.cache_bytes,
              static_cast<uint64_t>(num_tokens) * cache_bytes_per_token(engine->config(), dtype));
  }
}

// ---- the needle ----
//
// One layer and one head, written by hand. A needle says what kind it is (8 of them) and a value (4); a query
// asks for one kind. Its key matches that kind alone, far above all else, and what it takes back is the
// value.
constexpr int kKinds = 8, kValues = 4;
constexpr int kHidden = 32, kLatent = 16, kNope = 8, kRope = 16, kHead = 8, kInner = 8;
constexpr int kQueryAt = 8, kValueAt = 16, kOtherAt = 20;  // parts of a hidden row; kinds are at 0

int32_t needle_id(int kind, int value) { return 1 + kind * kValues + value; }
int32_t query_id(int kind) { return 1 + kKinds * kValues + kind; }

struct Matrix {
  int rows, columns;
  std::vector<float> values = std::vector<float>(static_cast<size_t>(rows * columns));
  float& at(int row, int column) { return values[static_cast<size_t>(row * columns + column)]; }
};

Matrix embedding() {
  Matrix m{kVocab, kHidden};
  for (int32_t id = 0; id < kVocab; ++id) m.at(id, kOtherAt + id % (kHidden - kOtherAt)) = 1;
  for (int kind = 0; kind < kKinds; ++kind) {
    for (int column = 0; column < kHidden; ++column) m.at(query_id(kind), column) = column == kQueryAt + kind;
    for (int value = 0; value < kValues; ++value) {
      for (int column = 0; column < kHidden; ++column)
        m.at(needle_id(kind, value), column) = column == kind || column == kValueAt + value;
    }
  }
  return m;
}

std::map<std::string, Matrix> needle_weights() {
  Matrix q{kNope + kRope, kHidden}, kv_a{kLatent + kRope, kHidden}, kv_b{kNope + kHead, kLatent},
      o{kHidden, kHead}, head{kVocab, kHidden}, ones{1, kHidden}, latent_ones{1, kLatent};
  // With rows normalised to 5.7 and latents to 2.8, a match scores 8 * 5.7 * 2.8 * 0.32 = 41.
  for (int kind = 0; kind < kKinds; ++kind) {
    q.at(kind, kQueryAt + kind) = 8;
    kv_a.at(kind, kind) = 1;
    kv_b.at(kind, kind) = 1;
  }
  for (int value = 0; value < kValues; ++value) {
    kv_a.at(kKinds + value, kValueAt + value) = 1;
    kv_b.at(kNope + value, kKinds + value) = 1;
    o.at(kValueAt + value, value) = 1;
  }
  for (int i = 0; i < kRope; ++i) kv_a.at(kLatent + i, kOtherAt + i % (kHidden - kOtherAt)) = 1;
  for (int kind = 0; kind < kKinds; ++kind) {
    for (int value = 0; value < kValues; ++value) {
      head.at(needle_id(kind, value), kQueryAt + kind) = 1;
      head.at(needle_id(kind, value), kValueAt + value) = 1;
    }
  }
  std::fill(ones.values.begin(), ones.values.end(), 1.0F);
  std::fill(latent_ones.values.begin(), latent_ones.values.end(), 1.0F);
  const std::string layer = "model.layers.0.", attention = layer + "self_attn.";
  return {{"model.embed_tokens.weight", embedding()},
          {"lm_head.weight", head},
          {"model.norm.weight", ones},
          {layer + "input_layernorm.weight", ones},
          {layer + "post_attention_layernorm.weight", ones},
          {attention + "q_proj.weight", q},
          {attention + "kv_a_proj_with_mqa.weight", kv_a},
          {attention + "kv_a_layernorm.weight", latent_ones},
          {attention + "kv_b_proj.weight", kv_b},
          {attention + "o_proj.weight", o},
          {layer + "mlp.gate_proj.weight", Matrix{kInner, kHidden}},
          {layer + "mlp.up_proj.weight", Matrix{kInner, kHidden}},
          {layer + "mlp.down_proj.weight", Matrix{kHidden, kInner}}};
}

void write_needle_checkpoint(const TempDir& folder) {
  auto config = read_json_file(checkpoint_dir() + "/config.json", {});
  ASSERT_TRUE(config.ok());
  (*config)["num_hidden_layers"] = (*config)["first_k_dense_replace"] = 1;
  (*config)["intermediate_size"] = kInner;
  (*config)["torch_dtype"] = "float32";
  folder.write("config.json", dump_json(*config));
  Json header = Json::object();
  std::string data;
  for (const auto& [name, matrix] : needle_weights()) {
    const size_t bytes = matrix.values.size() * sizeof(float);
    const Json shape =
        matrix.rows == 1 ? Json::array({matrix.columns}) : Json::array({matrix.rows, matrix.columns});
    header[name] = {{"dtype", "F32"},
                    {"shape", shape},
                    {"data_offsets", Json::array({data.size(), data.size() + bytes})}};
    data.append(reinterpret_cast<const char*>(matrix.values.data()), bytes);
  }
  std::string text = dump_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  folder.write("model.safetensors", file + text + data);
}

TEST(LongContext, NeedlesAreFoundAtAnyDepth) {
  const TempDir folder;
  write_needle_checkpoint(folder);
  for (const DType cache : {DType::kBFloat16, DType::kInt8}) {
    const int64_t num_tokens = length_here(cache == DType::kInt8 ? 100008 : 20008);
    std::vector<int32_t> ids(static_cast<size_t>(num_tokens));
    // Filler: 0 and what comes behind the queries.
    constexpr int32_t kFirstFiller = 1 + kKinds * (kValues + 1);
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = kFirstFiller + static_cast<int32_t>(mix_bits(i) % (kVocab - kFirstFiller));
    Rows wanted;
    std::map<int64_t, int32_t> answers;
    for (int kind = 0; kind < kKinds; ++kind) {
      const int64_t depth = (num_tokens - 2 * kKinds) * kind / (kKinds - 1);
      const int32_t needle =
          needle_id(kind, static_cast<int>(mix_bits(static_cast<uint64_t>(kind)) % kValues));
      const int64_t asked_at = num_tokens - kKinds + kind;
      ids[static_cast<size_t>(depth)] = needle;
      ids[static_cast<size_t>(asked_at)] = query_id(kind);
      answers[asked_at] = needle;
      wanted[asked_at];
    }
    EngineOptions options = long_options(folder.path(), num_tokens, 512);
    options.kv_cache_dtype = cache;
    options.dtype = DType::kBFloat16;
    const auto engine = load_engine(options);
    ASSERT_NE(engine, nullptr);
    for (const auto& [position, row] : score_rows(*engine, ids, wanted)) {
      const auto best = std::max_element(row.begin(), row.end()) - row.begin();
      EXPECT_EQ(best, answers.at(position)) << dtype_name(cache) << " at " << position;
    }
  }
}

}  // namespace
}  // namespace fathom::testing
