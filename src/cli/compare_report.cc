#include "cli/compare_report.h"

#include <cmath>
#include <numbers>

namespace fathom {
namespace {

Json side_json(const EngineFlags& side, double nll, double perplexity, uint64_t num_bytes) {
  return {{"model", side.model},
          {"dtype", side.dtype},
          {"kv_cache_dtype", side.kv_cache_dtype},
          {"nll", nll},
          {"perplexity", perplexity},
          {"bits_per_byte", nll / std::numbers::ln2 / static_cast<double>(num_bytes)}};
}

std::string side_name(const EngineFlags& side) {
  return fmt::format("{}, dtype {}, kv-cache-dtype {}", side.model, side.dtype, side.kv_cache_dtype);
}

}  // namespace

Json comparison_json(const ComparedSides& sides, const TextWindows& windows,
                     const DivergenceSummary& summary) {
  const uint64_t num_bytes = windows.num_bytes();
  const TokenPlace place = windows.place(summary.kl_max_index);
  const double ratio = std::exp(summary.log_ratio);
  return {
      {"a", side_json(sides.a, summary.nll_a, summary.perplexity_a(), num_bytes)},
      {"b", side_json(sides.b, summary.nll_b, summary.perplexity_b(), num_bytes)},
      {"context", windows.context()},
      {"windows", windows.windows().size()},
      {"tokens", summary.num_tokens},
      {"bytes", num_bytes},
      {"kl",
       {{"mean", summary.kl_mean},
        {"median", summary.kl_median},
        {"p99", summary.kl_p99},
        {"max", summary.kl_max},
        {"above_1e-4", summary.kl_above_limit},
        {"max_at",
         {{"file", place.path},
          {"token", place.token},
          {"byte", place.byte},
          {"before", place.before},
          {"text", place.text}}}}},
      {"top1_agreement", summary.top1_agreement},
      {"perplexity_ratio", ratio},
      {"perplexity_difference_percent", (ratio - 1) * 100},
      {"log_ratio", summary.log_ratio},
      {"log_ratio_standard_error", summary.log_ratio_error ? Json(*summary.log_ratio_error) : Json(nullptr)}};
}

std::string comparison_table(const ComparedSides& sides, const TextWindows& windows,
                             const DivergenceSummary& summary) {
  const Json json = comparison_json(sides, windows, summary);
  const Json &a = json["a"], &b = json["b"], &at = json["kl"]["max_at"];
  const double ratio = json["perplexity_ratio"];
  const std::string error =
      summary.log_ratio_error ? fmt::format(" ± {:.4f} %", *summary.log_ratio_error * ratio * 100) : "";
  std::string table = fmt::format("A  {}\nB  {}\n", side_name(sides.a), side_name(sides.b));
  table += fmt::format("{} tokens, {} bytes, in {} windows of at most {}\n\n", summary.num_tokens,
                       windows.num_bytes(), windows.windows().size(), windows.context());
  table += fmt::format("{:<18}{:>12}{:>12}{:>12}\n", "", "A", "B", "B / A");
  table += fmt::format("{:<18}{:>12.4f}{:>12.4f}{:>12.6f}   {:+.4f} %{}\n", "perplexity",
                       a["perplexity"].get<double>(), b["perplexity"].get<double>(), ratio, (ratio - 1) * 100,
                       error);
  table += fmt::format("{:<18}{:>12.5f}{:>12.5f}\n\n", "bits per byte", a["bits_per_byte"].get<double>(),
                       b["bits_per_byte"].get<double>());
  table += fmt::format("{:<18}{:>12}{:>12}{:>12}{:>12}\n", "", "mean", "median", "99 %", "maximum");
  table += fmt::format("{:<18}{:>12.4g}{:>12.4g}{:>12.4g}{:>12.4g}\n", "KL(A || B), nats", summary.kl_mean,
                       summary.kl_median, summary.kl_p99, summary.kl_max);
  table += fmt::format("{:<18}{:>11.3f}%\n\n", "top-1 agreement", summary.top1_agreement * 100);
  table += fmt::format("maximum at token {} (byte {}) of {}: {} -> {}\n", dump_json(at["token"]),
                       dump_json(at["byte"]), at["file"].get<std::string>(), dump_json(at["before"]),
                       dump_json(at["text"]));
  return table;
}

}  // namespace fathom
