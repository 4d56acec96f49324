#include "server/server.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "base/clock.h"
#include "base/log.h"

namespace fathom {
namespace {

constexpr double kLogSeconds = 10;    // between the engine's lines in the log
constexpr double kForceSeconds = 5;   // for answers under way at a forced stop
constexpr double kCancelSeconds = 3;  // for their ends after that
constexpr double kFailedSeconds = 3;  // in which those who ask learn why, before a failed server ends

// Everything on the I/O thread, but for the engine thread and the worker.
class Server {
 public:
  Server(const ServerOptions& options, const ServerCallbacks& callbacks, HttpEdge& edge)
      : options_(options),
        callbacks_(callbacks),
        edge_(edge),
        client_(options.edge.limits, options.max_num_seqs, metrics_),
        app_(
            options.app, client_, metrics_,
            [this](std::function<void()> task) { boost::asio::post(worker_, guarded(std::move(task))); },
            [this](std::function<void()> task) { edge_.post(std::move(task)); }) {}

  Status run(EngineThread::Loader loader) {
    client_.on_idle([this] {
      if (client_.phase() == EnginePhase::kDraining) end();
    });
    app_.on_stop([this](mindie::Routes::StopMode mode) { stop(mode); });
    EngineThread engine(std::move(loader),
                        {.loaded = [this](const Engine& made) { loaded(made); },
                         .report = [this](EngineReport report) { deliver(std::move(report)); },
                         .failed = [this](EngineFailure failure) { failed(std::move(failure)); }});
    client_.attach(&engine);
    edge_.run({.handle = [this](HttpRequest request,
                                ResponseWriter& writer) { return app_.handle(std::move(request), writer); },
               .reply_headers = [this](const HttpRequest& request) { return app_.cors_headers(request); },
               .refusal = [this](const HttpRequest& request,
                                 const ApiError& error) { return app_.refusal(request, error); },
               .record = [this](const RequestRecord& record) { app_.record(record); },
               .sent = [this](double seconds) { metrics_.first_byte_sent(seconds); },
               .tick = [this] { tick(); },
               .signal = [this] { shut_down(); }});
    client_.attach(nullptr);
    worker_.join();
    return status_;
  }

 private:
  // On the engine thread: what takes time is done here.
  void loaded(const Engine& engine) {
    auto model =
        ServedModel::create(engine, options_.model_dir, options_.model_names, options_.sampling_defaults);
    if (!model.ok()) return failed({model.status()});
    struct Loaded {
      std::unique_ptr<ServedModel> model;
      std::unique_ptr<ConstraintCache> constraints;
    };
    const auto shared = std::make_shared<Loaded>();
    shared->model = std::move(model).value();
    if (options_.fingerprint) shared->model->set_fingerprint(options_.fingerprint(engine));
    // Made here, where it holds up no stream.
    if (const auto trie = engine.token_trie()) shared->constraints = std::make_unique<ConstraintCache>(trie);
    edge_.post([this, shared] {
      metrics_.set_model(shared->model->name(), shared->model->max_model_len(), options_.block_size);
      app_.set_model(std::move(shared->model), std::move(shared->constraints));
      client_.set_phase(EnginePhase::kReady);
      callbacks_.ready(edge_.url());
    });
  }

  void deliver(EngineReport report) {
    const auto shared = std::make_shared<EngineReport>(std::move(report));
    edge_.post([this, shared] {
      observe_step(shared->statistics);
      client_.deliver(*shared);
    });
  }

  void observe_step(const EngineStatistics& statistics) {
    if (statistics.num_steps == num_steps_) return;
    num_steps_ = statistics.num_steps;
    metrics_.step(statistics.last_step, options_.step_roof ? options_.step_roof(statistics.last_step) : 0);
  }

  void failed(EngineFailure failure) {
    edge_.post([this, failure = std::move(failure)] {
      log_warning("the engine has failed: {}", failure.status.message());
      status_ = failure.status;
      const bool was_loading = client_.phase() == EnginePhase::kLoading;
      client_.set_failed(failure.rank_lost ? rank_lost_error(failure.status)
                                           : unavailable("the engine has failed"));
      if (was_loading) return edge_.stop();  // nobody could ask for anything yet
      stop_at_ = monotonic_seconds() + kFailedSeconds;
    });
  }

  void shut_down() {
    if (client_.phase() != EnginePhase::kReady) {
      return callbacks_.end_now(client_.phase() == EnginePhase::kLoading ? 0 : 1);
    }
    drain(options_.shutdown_timeout);
  }

  // A client at the management port asks for it.
  void stop(mindie::Routes::StopMode mode) {
    if (mode == mindie::Routes::StopMode::kDrain) return drain(options_.shutdown_timeout);
    end_at_ = monotonic_seconds() + kForceSeconds + kCancelSeconds;
    drain(kForceSeconds);
  }

  void drain(double seconds) {
    log_info("shutting down: {} sequences are under way", client_.num_sequences());
    client_.set_phase(EnginePhase::kDraining);
    drain_until_ = monotonic_seconds() + seconds;
    if (client_.num_sequences() == 0) end();
  }

  void end() {
    app_.idle();
    edge_.stop();
  }

  void tick() {
    const double now = monotonic_seconds();
    app_.tick(now);
    if (now > end_at_) callbacks_.end_now(1);
    if (now > stop_at_) return edge_.stop();
    if (client_.phase() == EnginePhase::kDraining && now > drain_until_) {
      log_warning("shutting down: {} sequences were not done in time", client_.num_sequences());
      client_.cancel_all();
      drain_until_ = now + options_.shutdown_timeout + kLogSeconds;
    }
    if (now - logged_at_ >= kLogSeconds) log_engine(now);
  }

  void log_engine(double now) {
    const int64_t prompt = metrics_.prompt_tokens() - logged_prompt_tokens_;
    const int64_t answer = metrics_.generation_tokens() - logged_generation_tokens_;
    const double seconds = now - logged_at_;
    logged_at_ = now;
    logged_prompt_tokens_ += prompt;
    logged_generation_tokens_ += answer;
    if (prompt + answer + client_.num_sequences() == 0) return;
    const EngineStatistics& statistics = client_.statistics();
    log_info(
        "engine: {} running, {} waiting, cache {:.0f} %, prompt {:.1f} tokens/s, generation {:.1f} tokens/s, "
        "{:.0f} % of prompts found in the cache",
        client_.num_sequences() - client_.num_waiting(), client_.num_waiting(),
        100.0 * static_cast<double>(statistics.pages_used) /
            static_cast<double>(std::max<int64_t>(1, statistics.pages_total)),
        static_cast<double>(prompt) / seconds, static_cast<double>(answer) / seconds,
        100.0 * static_cast<double>(statistics.num_cached_tokens) /
            static_cast<double>(std::max<int64_t>(1, statistics.num_prompt_tokens)));
  }

  const ServerOptions& options_;
  const ServerCallbacks& callbacks_;
  HttpEdge& edge_;
  ServerMetrics metrics_;
  EngineClient client_;
  boost::asio::thread_pool worker_{1};
  App app_;
  Status status_;
  double drain_until_ = 0;
  double stop_at_ = 1e300;  // after a failure
  double end_at_ = 1e300;   // of the process, whatever is under way
  double logged_at_ = monotonic_seconds();
  int64_t num_steps_ = 0;
  int64_t logged_prompt_tokens_ = 0;
  int64_t logged_generation_tokens_ = 0;
};

}  // namespace

Status run_server(const ServerOptions& options, EngineThread::Loader loader,
                  const ServerCallbacks& callbacks) {
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<HttpEdge> edge, HttpEdge::create(options.edge));
  ServerOptions settled = options;
  if (edge->loopback() && options.edge.listen.unix_path.empty() && settled.app.access.allowed_hosts.empty()) {
    settled.app.access.allowed_hosts = {"localhost", "127.0.0.1", "::1", options.edge.listen.host};
    for (const ListenOptions& admin : options.edge.admin_listen)
      settled.app.access.allowed_hosts.push_back(admin.host);
  }
  settled.app.facts.max_num_seqs = options.max_num_seqs;
  settled.app.facts.block_size = options.block_size;
  settled.app.facts.admin_address = edge->admin_address().empty() ? edge->address() : edge->admin_address();
  if (!edge->loopback() && options.app.access.api_keys.empty()) {
    log_warning("{} can be reached from other machines and asks for no --api-key", edge->url());
  }
  if (!edge->admin_address().empty()) log_info("management at {}", edge->admin_address());
  Server server(settled, callbacks, *edge);
  return server.run(std::move(loader));
}

}  // namespace fathom
