#include <vector>

#include "kernels/ref/kernels.h"
#include "kernels/ref/numbers.h"

namespace fathom::kernels::ref {
namespace {

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
  const int64_t rope_dim = p.cache.rope_dim;
  const auto element = [&](int64_t position, int64_t i) {
    const int64_t row = cache_row(p.cache, p.page_table, position);
    return static_cast<double>(load_element(p.cache.data, p.cache.dtype, row * (latent_dim + rope_dim) + i));
  };
  std::vector<double> scores(static_cast<size_t>(p.num_keys));
  for (int64_t h = p.begin; h < p.end; ++h) {
    for (int64_t s = 0; s < p.num_keys; ++s) {
      double dot = 0;
      for (int64_t i = 0; i < latent_dim; ++i) dot += p.q_latent[h * latent_dim + i] * element(s, i);
      for (int64_t i = 0; i < rope_dim; ++i) {
        dot += p.q_rope[h * p.q_rope_stride + i] * element(s, latent_dim + i);
      }
      scores[static_cast<size_t>(s)] = dot * p.scale;
    }
    softmax(scores);
    for (int64_t i = 0; i < latent_dim; ++i) {
      double sum = 0;
      for (int64_t s = 0; s < p.num_keys; ++s) sum += scores[static_cast<size_t>(s)] * element(s, i);
      p.out[h * latent_dim + i] = static_cast<float>(sum);
    }
  }
}

void expanded_attention(const ExpandedAttentionParams& p) {
  const int64_t latent_dim = p.cache.latent_dim;
  const int64_t rope_dim = p.cache.rope_dim;
  const int64_t num_keys = p.first_position + p.num_tokens;
  const int64_t key_dim = p.nope_dim + rope_dim;
  std::vector<double> keys(static_cast<size_t>(num_keys * key_dim));
  std::vector<double> values(static_cast<size_t>(num_keys * p.v_dim));
  for (int64_t s = 0; s < num_keys; ++s) {
    const int64_t row = cache_row(p.cache, p.page_table, s) * (latent_dim + rope_dim);
    for (int64_t j = 0; j < p.nope_dim + p.v_dim; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < latent_dim; ++i) {
        sum += static_cast<double>(load_element(p.cache.data, p.cache.dtype, row + i)) *
               load_element(p.kv_b, p.kv_b_dtype, j * latent_dim + i);
      }
      (j < p.nope_dim ? keys[static_cast<size_t>(s * key_dim + j)]
                      : values[static_cast<size_t>(s * p.v_dim + j - p.nope_dim)]) = sum;
    }
    for (int64_t i = 0; i < rope_dim; ++i) {
      keys[static_cast<size_t>(s * key_dim + p.nope_dim + i)] =
          load_element(p.cache.data, p.cache.dtype, row + latent_dim + i);
    }
  }
  for (int64_t t = 0; t < p.num_tokens; ++t) {
    std::vector<double> scores(static_cast<size_t>(p.first_position + t + 1));
    for (size_t s = 0; s < scores.size(); ++s) {
      double dot = 0;
      for (int64_t i = 0; i < key_dim; ++i) {
        dot += p.q[t * p.q_stride + i] * keys[s * static_cast<size_t>(key_dim) + static_cast<size_t>(i)];
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
