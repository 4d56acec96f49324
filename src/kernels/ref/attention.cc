#include <algorithm>

#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {
namespace {

// What AttentionPrecision does to a factor of a product.
double rounded(double value, AttentionPrecision precision) {
  if (precision == AttentionPrecision::kFloat32) return value;
  return round_activation(static_cast<float>(value), precision == AttentionPrecision::kBFloat16
                                                         ? ActivationRounding::kBFloat16
                                                         : ActivationRounding::kFloat16);
}

// And to the probabilities of the absorbed form.
AttentionPrecision weight_precision(const LatentCacheView& cache, AttentionPrecision precision) {
  const bool half = precision == AttentionPrecision::kFloat16;
  return half && cache.dtype == DType::kInt8 ? AttentionPrecision::kBFloat16 : precision;
}

// Softmax in place; the sum in double.
void softmax(std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (double& score : scores) score /= sum;
}

}  // namespace

void absorbed_attention(const AbsorbedAttentionParams& p) {
  const int64_t latent_dim = p.cache.latent_dim;
  const int64_t width = latent_dim + p.cache.rope_dim;
  const auto element = [&](int64_t position, int64_t i) {
    return static_cast<double>(load_cached(p.cache, cache_row(p.cache, p.page_table, position), i));
  };
  const AttentionPrecision weights = weight_precision(p.cache, p.precision);
  std::vector<double> scores(static_cast<size_t>(p.key_end - p.key_begin));
  for (int64_t h = 0; h < p.num_heads; ++h) {
    for (int64_t s = p.key_begin; s < p.key_end; ++s) {
      double dot = 0;
      for (int64_t i = 0; i < width; ++i)
        dot += rounded(p.q[h * p.q_stride + i], p.precision) * element(s, i);
      scores[static_cast<size_t>(s - p.key_begin)] = dot * p.scale;
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    p.max[h] = static_cast<float>(largest);
    p.sum[h] = static_cast<float>(sum);
    for (int64_t i = 0; i < latent_dim; ++i) {
      double out = 0;
      for (int64_t s = p.key_begin; s < p.key_end; ++s) {
        out += rounded(scores[static_cast<size_t>(s - p.key_begin)], weights) * element(s, i);
      }
      p.out[h * latent_dim + i] = static_cast<float>(out);
    }
  }
}

void merge_splits(const MergeSplitsParams& p) {
  for (int64_t h = p.begin; h < p.end; ++h) {
    float largest = p.max[h];
    for (int64_t s = 1; s < p.num_splits; ++s) largest = std::max(largest, p.max[s * p.num_heads + h]);
    double sum = 0;
    std::vector<double> out(static_cast<size_t>(p.latent_dim));
    for (int64_t s = 0; s < p.num_splits; ++s) {
      const double factor = std::exp(static_cast<double>(p.max[s * p.num_heads + h]) - largest);
      sum += factor * p.sum[s * p.num_heads + h];
      for (int64_t i = 0; i < p.latent_dim; ++i) {
        out[static_cast<size_t>(i)] += factor * p.out[s * p.split_stride + h * p.latent_dim + i];
      }
    }
    for (int64_t i = 0; i < p.latent_dim; ++i) {
      p.y[h * p.latent_dim + i] = static_cast<float>(out[static_cast<size_t>(i)] / sum);
    }
  }
}

void expanded_attention(const ExpandedAttentionParams& p) {
  const int64_t latent_dim = p.cache.latent_dim;
  const int64_t num_keys = p.first_position + p.num_tokens;
  const int64_t key_dim = p.nope_dim + p.cache.rope_dim;
  std::vector<double> keys(static_cast<size_t>(num_keys * key_dim));
  std::vector<double> values(static_cast<size_t>(num_keys * p.v_dim));
  // One output of kv_b_proj for the latent in this row of the cache.
  const auto expand = [&](const void* panels, int64_t output, int64_t row) {
    double sum = 0;
    for (int64_t i = 0; i < latent_dim; ++i) {
      sum += static_cast<double>(load_cached(p.cache, row, i)) *
             load_packed(panels, p.kv_b_format, latent_dim, output, i);
    }
    return rounded(sum, p.precision);
  };
  for (int64_t s = 0; s < num_keys; ++s) {
    const int64_t row = cache_row(p.cache, p.page_table, s);
    for (int64_t j = 0; j < p.nope_dim; ++j) {
      keys[static_cast<size_t>(s * key_dim + j)] = expand(p.key_panels, j, row);
    }
    for (int64_t j = 0; j < p.cache.rope_dim; ++j) {
      keys[static_cast<size_t>(s * key_dim + p.nope_dim + j)] = load_cached(p.cache, row, latent_dim + j);
    }
    for (int64_t j = 0; j < p.v_dim; ++j) {
      values[static_cast<size_t>(s * p.v_dim + j)] = expand(p.value_panels, j, row);
    }
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    std::vector<double> scores(static_cast<size_t>(p.first_position + t + 1));
    for (size_t s = 0; s < scores.size(); ++s) {
      double dot = 0;
      for (int64_t i = 0; i < key_dim; ++i) {
        dot += rounded(p.q[t * p.q_stride + i], p.precision) *
               keys[s * static_cast<size_t>(key_dim) + static_cast<size_t>(i)];
      }
      scores[s] = dot * p.scale;
    }
    softmax(scores);
    for (int64_t i = 0; i < p.v_dim; ++i) {
      double sum = 0;
      for (size_t s = 0; s < scores.size(); ++s) {
        sum += scores[s] * values[s * static_cast<size_t>(p.v_dim) + static_cast<size_t>(i)];
      }
      p.out[t * p.out_stride + i] = static_cast<float>(sum);
    }
  }
}

}  // namespace fathom::kernels::ref
