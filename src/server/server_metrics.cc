#include "server/server_metrics.h"

#include <algorithm>

namespace fathom {
namespace {

// vLLM's buckets, so that its dashboards fit.
const std::vector<double> kFirstTokenSeconds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                                0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                                20,    40,    80,   160,  640,  2560};
const std::vector<double> kTokenSeconds = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                           0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
const std::vector<double> kRequestSeconds = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                             30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};

// Our own: what the server adds is far below what a step takes.
const std::vector<double> kSendSeconds = {0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1};
const std::vector<double> kShares = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};

}  // namespace

ServerMetrics::ServerMetrics()
    : first_byte_delay_(kSendSeconds),
      step_roof_share_(kShares),
      time_to_first_token_(kFirstTokenSeconds),
      inter_token_latency_(kTokenSeconds),
      end_to_end_(kRequestSeconds),
      queue_time_(kRequestSeconds),
      prefill_time_(kRequestSeconds),
      decode_time_(kRequestSeconds),
      inference_time_(kRequestSeconds),
      prompt_size_(one_two_five(1)),
      answer_size_(one_two_five(1)),
      most_tokens_(one_two_five(1)),
      max_tokens_(one_two_five(1)),
      step_tokens_(one_two_five(10'000)),
      choices_({1, 2, 5, 10, 20}) {
  for (const char* reason : {"stop", "length", "abort", "error"}) finished_[reason] = 0;
}

void ServerMetrics::set_model(std::string name, int64_t max_model_len, int64_t block_size) {
  model_name_ = std::move(name);
  block_size_ = block_size;
  const std::vector<double> bounds = one_two_five(static_cast<double>(max_model_len));
  prompt_size_ = Histogram(bounds);
  answer_size_ = Histogram(bounds);
  most_tokens_ = Histogram(bounds);
  max_tokens_ = Histogram(bounds);
}

void ServerMetrics::request_submitted(const GenerationRequest& request) {
  choices_.observe(request.n);
  if (request.sampling.max_tokens) max_tokens_.observe(static_cast<double>(*request.sampling.max_tokens));
}

void ServerMetrics::sequence_started(const SequenceTimes& times) {
  queue_time_.observe(times.started - times.submitted);
}

void ServerMetrics::token(SequenceTimes& times, int64_t cached_tokens, double now) {
  if (times.output_tokens++ == 0) {
    times.first_token = now;
    time_to_first_token_.observe(now - times.submitted);
    recent_first_token_.observe(now - times.submitted);
    prompt_tokens_ += times.prompt_tokens - cached_tokens;
    cache_queries_ += times.prompt_tokens;
    cache_hits_ += cached_tokens;
  } else {
    inter_token_latency_.observe(now - times.last_token);
    recent_between_tokens_.observe(now - times.last_token);
  }
  times.last_token = now;
  ++generation_tokens_;
}

void ServerMetrics::step(const StepWork& work, double least) {
  step_seconds_ += work.seconds;
  step_tokens_.observe(static_cast<double>(work.num_tokens));
  if (work.seconds > 0 && least > 0) step_roof_share_.observe(least / work.seconds);
}

void ServerMetrics::sequence_ended(const SequenceTimes& times, const GenerationEvent& event) {
  const bool cancelled = event.finish_reason == FinishReason::kCancelled;
  ++finished_[cancelled ? "abort" : std::string(finish_reason_name(event.finish_reason))];
  if (event.finish_reason != FinishReason::kStop && event.finish_reason != FinishReason::kLength) return;
  end_to_end_.observe(event.time - times.submitted);
  prompt_size_.observe(static_cast<double>(times.prompt_tokens));
  answer_size_.observe(static_cast<double>(times.output_tokens));
  if (times.output_tokens == 0) return;
  prefill_time_.observe(times.first_token - times.started);
  decode_time_.observe(times.last_token - times.first_token);
  inference_time_.observe(times.last_token - times.started);
}

void ServerMetrics::http_request(const std::string& handler, const std::string& method, int status,
                                 double seconds) {
  ++http_requests_[{handler, method, status}];
  http_seconds_.try_emplace(handler, kFirstTokenSeconds).first->second.observe(seconds);
}

std::string ServerMetrics::render(const std::string& prefix, const EngineStatistics& statistics,
                                  int64_t num_pending) const {
  MetricsText text(prefix + ":", {{"model_name", model_name_}});
  const auto gauge = [&text](std::string_view name, std::string_view help, double value) {
    text.family(name, "gauge", help);
    text.sample(value);
  };
  const auto counter = [&text](std::string_view name, std::string_view help, int64_t value) {
    text.family(name, "counter", help);
    text.sample(static_cast<double>(value));
  };
  const double pages = static_cast<double>(std::max<int64_t>(1, statistics.pages_total));
  gauge("num_requests_running", "Sequences computed at once.", static_cast<double>(statistics.num_running));
  gauge("num_requests_waiting", "Sequences in the queue.", static_cast<double>(num_pending));
  gauge("kv_cache_usage_perc", "Share of the latent cache in use, 0 to 1.",
        static_cast<double>(statistics.pages_used) / pages);
  text.family("cache_config_info", "gauge", "Sizes of the latent cache.");
  text.sample(1, {{"block_size", std::to_string(block_size_)},
                  {"num_gpu_blocks", std::to_string(statistics.pages_total)}});
  counter("num_preemptions_total", "Sequences taken off the cache and computed again.",
          statistics.num_preemptions);
  counter("prompt_tokens_total", "Prompt tokens computed.", prompt_tokens_);
  counter("generation_tokens_total", "Tokens generated.", generation_tokens_);
  counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", cache_queries_);
  counter("prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", cache_hits_);
  const SpeculationStatistics& speculation = statistics.speculation;
  counter("spec_decode_num_drafts_total", "Steps of a sequence that carried drafts.", speculation.num_steps);
  counter("spec_decode_num_draft_tokens_total", "Tokens drafted.", speculation.num_drafts);
  counter("spec_decode_num_accepted_tokens_total", "Drafted tokens that held.", speculation.num_accepted);
  counter("spec_decode_num_draft_model_tokens_total", "Tokens that the draft model computed.",
          speculation.num_draft_model_tokens);
  counter("engine_steps_total", "Batches computed.", statistics.num_steps);
  text.family("engine_step_seconds_total", "counter", "Time that computing them took.");
  text.sample(step_seconds_);
  counter("clients_left_total", "Requests whose client went away.", clients_left_);
  text.family("request_success_total", "counter", "Sequences by how they ended.");
  for (const auto& [reason, count] : finished_)
    text.sample(static_cast<double>(count), {{"finished_reason", reason}});
  render_histograms(text);
  render_http(text);
  return text.take();
}

void ServerMetrics::render_histograms(MetricsText& text) const {
  text.histogram("time_to_first_token_seconds", "From submission to the first token.", time_to_first_token_);
  text.histogram("first_byte_delay_seconds", "From the engine's first token to its first byte in the socket.",
                 first_byte_delay_);
  text.histogram("step_roof_share",
                 "Of a step's time, the least it could have taken by the ceilings measured at the start.",
                 step_roof_share_);
  text.histogram("inter_token_latency_seconds", "Between tokens of a sequence.", inter_token_latency_);
  text.histogram("time_per_output_token_seconds", "The same under its older name.", inter_token_latency_);
  text.histogram("e2e_request_latency_seconds", "From submission to the last token.", end_to_end_);
  text.histogram("request_queue_time_seconds", "From submission to the first step.", queue_time_);
  text.histogram("request_prefill_time_seconds", "From the first step to the first token.", prefill_time_);
  text.histogram("request_decode_time_seconds", "From the first token to the last.", decode_time_);
  text.histogram("request_inference_time_seconds", "From the first step to the last token.", inference_time_);
  text.histogram("request_prompt_tokens", "Prompt tokens of a sequence.", prompt_size_);
  text.histogram("request_generation_tokens", "Tokens generated for a sequence.", answer_size_);
  text.histogram("request_max_num_generation_tokens", "Tokens of the longest of a request's answers.",
                 most_tokens_);
  text.histogram("iteration_tokens_total", "Tokens computed in a step.", step_tokens_);
  text.histogram("request_params_max_tokens", "max_tokens of a request.", max_tokens_);
  text.histogram("request_params_n", "n of a request.", choices_);
}

void ServerMetrics::render_http(MetricsText& text) const {
  text.family("http_requests_total", "counter", "HTTP requests by route and status.");
  for (const auto& [route, count] : http_requests_) {
    text.sample(
        static_cast<double>(count),
        {{"handler", route.handler}, {"method", route.method}, {"status", std::to_string(route.status)}});
  }
  text.family("http_request_duration_seconds", "histogram", "From a request's last byte to its reply's.");
  for (const auto& [handler, histogram] : http_seconds_)
    text.histogram_samples(histogram, {{"handler", handler}});
}

}  // namespace fathom
