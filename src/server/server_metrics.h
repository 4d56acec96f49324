// What the server counts, under vLLM's names. One thread.
#pragma once

#include <map>
#include <string>

#include "server/generation.h"
#include "server/metrics.h"

namespace fathom {

// The life of one sequence, in monotonic seconds; 0 where it has not happened.
struct SequenceTimes {
  double submitted = 0;
  double started = 0;
  double first_token = 0;
  double last_token = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  bool has_ended = false;
};

class ServerMetrics {
 public:
  ServerMetrics();
  // Known once the model is: model_name's label and the range of the token histograms.
  void set_model(std::string name, int64_t max_model_len, int64_t block_size);

  void request_submitted(const GenerationRequest& request);
  void token(SequenceTimes& times, int64_t cached_tokens, double now);
  void sequence_started(const SequenceTimes& times);
  void sequence_ended(const SequenceTimes& times, const GenerationEvent& event);
  void http_request(const std::string& handler, const std::string& method, int status, double seconds);
  void request_ended(int64_t longest_answer) { most_tokens_.observe(static_cast<double>(longest_answer)); }
  void client_left() { ++clients_left_; }
  // On this machine the step could not have taken less than `least` seconds; 0: not known.
  void step(const StepWork& work, double least);
  // From the engine's first token of a stream to its first byte of text in the socket.
  void first_byte_sent(double seconds) { first_byte_delay_.observe(seconds); }

  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t generation_tokens() const { return generation_tokens_; }
  // Seconds, of the last 1000: to a first token, and between tokens.
  double recent_time_to_first_token() const { return recent_first_token_.mean(); }
  double recent_time_between_tokens() const { return recent_between_tokens_.mean(); }

  // prefix without ":".
  std::string render(const std::string& prefix, const EngineStatistics& statistics,
                     int64_t num_pending) const;

 private:
  void render_histograms(MetricsText& text) const;
  void render_http(MetricsText& text) const;

  std::string model_name_;
  int64_t block_size_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t generation_tokens_ = 0;
  double step_seconds_ = 0;
  int64_t clients_left_ = 0;
  int64_t cache_queries_ = 0;  // prompt tokens looked up in the prefix cache, and found
  int64_t cache_hits_ = 0;
  std::map<std::string, int64_t> finished_;  // by reason
  struct Route {
    std::string handler, method;
    int status = 0;
    auto operator<=>(const Route&) const = default;
  };
  std::map<Route, int64_t> http_requests_;
  std::map<std::string, Histogram> http_seconds_;  // by handler
  MovingMean recent_first_token_{1000};
  MovingMean recent_between_tokens_{1000};
  Histogram first_byte_delay_;
  Histogram step_roof_share_;
  Histogram time_to_first_token_;
  Histogram inter_token_latency_;
  Histogram end_to_end_;
  Histogram queue_time_;
  Histogram prefill_time_;
  Histogram decode_time_;
  Histogram inference_time_;
  Histogram prompt_size_;
  Histogram answer_size_;
  Histogram most_tokens_;  // of a request's sequences
  Histogram max_tokens_;
  Histogram step_tokens_;
  Histogram choices_;
};

}  // namespace fathom
