#include "evaluate/readings.h"

#include <algorithm>

#include "evaluate/pair_encoding.h"

namespace fathom {
namespace {

// The last measured token needs no place in the prompt.
void add_measured(MeasuredTokens tokens, size_t target, std::vector<Reading>& readings) {
  const int32_t last = tokens.ids.back();
  tokens.ids.pop_back();
  PromptScoring scoring;
  if (tokens.first < tokens.ids.size()) scoring.first = static_cast<int64_t>(tokens.first);
  const auto same = std::find_if(readings.begin(), readings.end(), [&](const Reading& reading) {
    return reading.ids == tokens.ids && reading.scoring.first == scoring.first;
  });
  if (same != readings.end()) {
    same->scoring.next_ids.push_back(last);
    same->targets.push_back(target);
    return;
  }
  scoring.next_ids = {last};
  readings.push_back({.ids = std::move(tokens.ids), .scoring = std::move(scoring), .targets = {target}});
}

class ReadingMaker {
 public:
  ReadingMaker(const Tokenizer& tokenizer, int64_t max_model_len)
      : tokenizer_(tokenizer), max_model_len_(max_model_len) {}

  Result<std::vector<Reading>> make(const Query& query) const {
    switch (query.kind) {
      case QueryKind::kContinuations:
        return continuations(query);
      case QueryKind::kNextToken:
        return next_token(query);
      case QueryKind::kWholeText:
        return whole_text(query);
      case QueryKind::kGenerate:
        break;
    }
    return generate(query);
  }

 private:
  Result<std::vector<Reading>> continuations(const Query& query) const {
    std::vector<Reading> readings;
    for (size_t i = 0; i < query.choices.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(MeasuredTokens tokens, encode_pair(tokenizer_, query.prompt, query.choices[i],
                                                                 static_cast<size_t>(max_model_len_)));
      add_measured(std::move(tokens), i, readings);
    }
    return readings;
  }

  Result<std::vector<Reading>> next_token(const Query& query) const {
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, encode_prompt(tokenizer_, query.prompt));
    keep_end(prompt, 1);
    Reading reading{.ids = std::move(prompt)};
    for (size_t i = 0; i < query.choices.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                              tokenizer_.encode(query.choices[i], {.add_bos = AddBos::kNever}));
      if (ids.empty()) return invalid_argument("the choice \"{}\" has no token", query.choices[i]);
      reading.scoring.next_ids.push_back(ids.back());
      reading.targets.push_back(i);
    }
    return std::vector<Reading>{std::move(reading)};
  }

  Result<std::vector<Reading>> whole_text(const Query& query) const {
    FATHOM_ASSIGN_OR_RETURN(
        std::vector<MeasuredTokens> windows,
        encode_windows(tokenizer_, query.prompt, static_cast<size_t>(max_model_len_ - 1)));
    std::vector<Reading> readings;
    for (MeasuredTokens& window : windows) add_measured(std::move(window), 0, readings);
    return readings;
  }

  Result<std::vector<Reading>> generate(const Query& query) const {
    if (query.max_tokens >= max_model_len_) {
      return invalid_argument("an answer of up to {} tokens leaves no room for a prompt in the model's {}",
                              query.max_tokens, max_model_len_);
    }
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, encode_prompt(tokenizer_, query.prompt));
    keep_end(prompt, query.max_tokens);
    return std::vector<Reading>{
        {.ids = std::move(prompt), .max_tokens = query.max_tokens, .until = query.until}};
  }

  // What is too long loses its beginning, as in the harness.
  void keep_end(std::vector<int32_t>& prompt, int64_t num_new_tokens) const {
    const auto most = static_cast<size_t>(max_model_len_ - num_new_tokens);
    if (prompt.size() > most) prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(most));
  }

  const Tokenizer& tokenizer_;
  int64_t max_model_len_;
};

}  // namespace

Result<std::vector<Reading>> make_readings(const Tokenizer& tokenizer, int64_t max_model_len,
                                           const Query& query) {
  return ReadingMaker(tokenizer, max_model_len).make(query);
}

Result<std::shared_ptr<PendingQuery>> begin_query(const Tokenizer& tokenizer, int64_t max_model_len,
                                                  const Query& query, size_t query_index) {
  auto pending = std::make_shared<PendingQuery>();
  FATHOM_ASSIGN_OR_RETURN(pending->readings, make_readings(tokenizer, max_model_len, query));
  if (pending->readings.empty()) return invalid_argument("nothing to read");
  pending->query_index = query_index;
  pending->num_open = pending->readings.size();
  pending->scores.resize(pending->readings.size());
  pending->answer.prompt_ids = pending->readings[0].ids;
  if (query.kind != QueryKind::kGenerate) {
    pending->answer.logprobs.assign(query.kind == QueryKind::kWholeText ? 1 : query.choices.size(), 0);
  }
  return pending;
}

void add_scores(PendingQuery& pending) {
  for (size_t i = 0; i < pending.scores.size(); ++i) {
    const PromptScores& scores = pending.scores[i];
    const std::vector<size_t>& targets = pending.readings[i].targets;
    double before_last = 0;
    for (double logprob : scores.logprobs) before_last += logprob;
    for (size_t j = 0; j < targets.size(); ++j) {
      pending.answer.logprobs[targets[j]] += before_last + scores.next_logprobs[j];
    }
  }
}

}  // namespace fathom
