#include "cli/max_batch_report.h"

namespace fathom {
namespace {

Json time_or_null(const MaxBatchRound& round, double value) {
  return round.has_room ? Json(value) : Json(nullptr);
}

// Tokens after the first a second, of all sequences.
double decode_tps(const MaxBatchRound& round) {
  return static_cast<double>(round.batch) * 1000 / round.token_ms;
}

Json round_json(const MaxBatchRound& round) {
  return {{"batch", round.batch},
          {"tpot_ms", time_or_null(round, round.token_ms)},
          {"decode_tps", time_or_null(round, decode_tps(round))},
          {"prefill_seconds", time_or_null(round, round.prefill_seconds)},
          {"total_seconds", time_or_null(round, round.total_seconds)},
          {"prefill_steps", round.num_prefill_steps},
          {"within", round.is_within}};
}

std::string_view verdict(const MaxBatchRound& round) {
  if (!round.has_room) return "no room in the cache";
  return round.is_within ? "within" : "too slow";
}

}  // namespace

Json to_json(const std::vector<MaxBatchResult>& results, double limit_ms) {
  Json cases = Json::array();
  for (const MaxBatchResult& result : results) {
    Json rounds = Json::array();
    for (const MaxBatchRound& round : result.rounds) rounds.push_back(round_json(round));
    cases.push_back({{"input", result.wanted.lengths.input},
                     {"output", result.wanted.lengths.output},
                     {"low", result.wanted.low},
                     {"high", result.wanted.high},
                     {"batch", result.best ? Json(result.rounds[*result.best].batch) : Json(nullptr)},
                     {"rounds", std::move(rounds)}});
  }
  return {{"limit_ms", limit_ms}, {"cases", std::move(cases)}};
}

std::string to_text(const std::vector<MaxBatchResult>& results, double limit_ms) {
  std::string text;
  for (const MaxBatchResult& result : results) {
    const auto& [lengths, low, high] = result.wanted;
    text += fmt::format("{} tokens in, {} out, batches {} to {}, at most {} ms a token: ", lengths.input,
                        lengths.output, low, high, limit_ms);
    text += result.best ? fmt::format("{}\n", result.rounds[*result.best].batch) : "none\n";
    for (const MaxBatchRound& round : result.rounds) {
      const std::string figures = round.has_room ? fmt::format("{:>10.3f} ms a token {:>10.1f} tokens/s",
                                                               round.token_ms, decode_tps(round))
                                                 : fmt::format("{:>10} ms a token {:>10} tokens/s", "-", "-");
      text += fmt::format("  batch {:>4} {}  {}\n", round.batch, figures, verdict(round));
    }
  }
  return text;
}

std::string to_csv(const std::vector<MaxBatchResult>& results) {
  std::string text = "input,output,batch,tpot_ms,prefill_seconds,total_seconds,within,best,decode_tps\n";
  for (const MaxBatchResult& result : results) {
    for (size_t i = 0; i < result.rounds.size(); ++i) {
      const MaxBatchRound& round = result.rounds[i];
      const std::string times = round.has_room ? fmt::format("{:.3f},{:.6f},{:.6f}", round.token_ms,
                                                             round.prefill_seconds, round.total_seconds)
                                               : ",,";
      text += fmt::format("{},{},{},{},{},{},{}\n", result.wanted.lengths.input, result.wanted.lengths.output,
                          round.batch, times, round.is_within, result.best == i,
                          round.has_room ? fmt::format("{:.3f}", decode_tps(round)) : "");
    }
  }
  return text;
}

}  // namespace fathom
