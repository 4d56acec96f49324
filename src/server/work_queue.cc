#include "server/work_queue.h"

#include <exception>

#include "base/log.h"
#include "server/limits.h"

namespace fathom {

std::function<void()> guarded(std::function<void()> task) {
  return [task = std::move(task)] {
    try {
      task();
    } catch (const std::exception& error) {
      log_warning("a task has failed: {}", error.what());
    }
  };
}

void WorkQueue::run(std::weak_ptr<Exchange> exchange, Work work) {
  worker_([this, exchange = std::move(exchange), work = std::move(work)] {
    if (exchange.expired()) return;
    std::function<void()> then;
    std::string failure;
    try {
      then = work();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    io_([exchange, then = std::move(then), failure] {
      const auto held = exchange.lock();
      if (!held) return;
      if (!then) return held->break_off(failure);
      try {
        then();
      } catch (const std::exception& error) {
        held->break_off(error.what());
      }
    });
  });
}

void WorkQueue::run_sized(size_t bytes, std::weak_ptr<Exchange> exchange, Work work) {
  if (bytes <= kInlineBodyBytes) return work()();
  run(std::move(exchange), std::move(work));
}

}  // namespace fathom
