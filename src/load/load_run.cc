#include "load/load_run.h"

#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "load/arrivals.h"

namespace fathom {
namespace {

std::string body_of(const LoadRequest& request, const LoadOptions& options) {
  Json body = {{"model", options.model}};
  if (options.api == CompletionApi::kChat) {
    body["messages"] = Json::array({Json{{"role", "user"}, {"content", request.prompt}}});
  } else if (request.prompt_ids.empty()) {
    body["prompt"] = request.prompt;
  } else {
    body["prompt"] = request.prompt_ids;
  }
  body["max_tokens"] = request.max_tokens;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  body.update(options.extra_body);
  return dump_json(body);
}

// One request under way.
struct Flight {
  Flight(CompletionApi api, const Url& url) : stream(api, url) {}
  CompletionStream stream;
  double last_token = 0;  // since the run began; 0: none yet
};

class LoadRun {
 public:
  LoadRun(HttpClient& client, const std::vector<LoadRequest>& requests, const LoadOptions& options,
          ProgressSink* progress)
      : client_(client), requests_(requests), options_(options), progress_(progress) {}

  LoadResult run(std::vector<double> arrivals) {
    arrivals_ = std::move(arrivals);
    records_.resize(requests_.size());
    begin_ = monotonic_seconds();
    send_due();
    client_.run();
    return {now(), std::move(records_)};
  }

 private:
  double now() const { return monotonic_seconds() - begin_; }
  size_t limit() const {
    return options_.max_concurrency > 0 ? static_cast<size_t>(options_.max_concurrency) : requests_.size();
  }

  void send_due() {
    while (next_ < requests_.size() && num_open_ < limit()) {
      if (arrivals_[next_] > now()) {
        if (std::exchange(alarm_set_, true)) return;
        return client_.at(begin_ + arrivals_[next_], [this] {
          alarm_set_ = false;
          send_due();
        });
      }
      send(next_++);
    }
  }

  void send(size_t index) {
    LoadRecord& record = records_[index];
    record.arrival = arrivals_[index];
    record.start = std::max(record.arrival, freed_);
    const auto flight = std::make_shared<Flight>(options_.api, client_.url());
    ++num_open_;
    client_.start(
        {"POST", std::string(api_path(options_.api)), body_of(requests_[index], options_)},
        [this, flight, &record](std::string_view data) { take(*flight, record, data); },
        [this, flight, index](ClientReply reply) { finish(*flight, index, reply); });
  }

  void take(Flight& flight, LoadRecord& record, std::string_view data) {
    const double time = now();
    CompletionStream::Piece piece = flight.stream.take(data);
    if (!piece.is_token) return;
    if (flight.last_token == 0) {
      record.ttft = time - record.start;
    } else {
      record.itls.push_back(time - flight.last_token);
    }
    flight.last_token = time;
    record.text += piece.text;
  }

  void finish(Flight& flight, size_t index, const ClientReply& reply) {
    LoadRecord& record = records_[index];
    const double time = now();
    if (const Status status = flight.stream.finish(reply); !status.ok()) record.error = status.message();
    record.latency = (flight.last_token == 0 ? time : flight.last_token) - record.start;
    if (flight.last_token == 0) record.ttft = record.latency;  // an answer without text
    const auto num_chunks = static_cast<int64_t>(record.itls.size()) + (flight.last_token == 0 ? 0 : 1);
    record.input_len = flight.stream.prompt_tokens().value_or(requests_[index].prompt_len);
    record.output_len = flight.stream.completion_tokens().value_or(num_chunks);
    if (num_open_-- == limit()) freed_ = time;
    if (progress_ != nullptr) progress_->report("requests", ++num_done_, requests_.size());
    send_due();
  }

  HttpClient& client_;
  const std::vector<LoadRequest>& requests_;
  const LoadOptions& options_;
  ProgressSink* progress_;
  std::vector<double> arrivals_;
  std::vector<LoadRecord> records_;
  double begin_ = 0;
  double freed_ = 0;  // when a place last came free that there was none before
  size_t next_ = 0;
  size_t num_open_ = 0;
  size_t num_done_ = 0;
  bool alarm_set_ = false;
};

}  // namespace

Status warm_up(HttpClient& client, const LoadRequest& request, const LoadOptions& options) {
  const std::vector<LoadRequest> requests(static_cast<size_t>(options.num_warmups), request);
  const LoadResult result =
      LoadRun(client, requests, options, nullptr).run(std::vector<double>(requests.size(), 0));
  for (const LoadRecord& record : result.records) {
    if (!record.error.empty()) return io_error("{}", record.error);
  }
  return ok_status();
}

LoadResult run_load(HttpClient& client, const std::vector<LoadRequest>& requests, const LoadOptions& options,
                    ProgressSink* progress) {
  return LoadRun(client, requests, options, progress)
      .run(arrival_times(requests.size(), options.request_rate, options.burstiness, options.seed));
}

}  // namespace fathom
