// Work away from the I/O thread, whose result comes back to it.
#pragma once

#include <functional>
#include <memory>

#include "server/http_message.h"

namespace fathom {

// Runs a task elsewhere, later.
using Post = std::function<void(std::function<void()>)>;
// Returns what is to be done with its result, on the I/O thread.
using Work = std::function<std::function<void()>()>;

// The task; what it throws is logged and goes no further.
std::function<void()> guarded(std::function<void()> task);

class WorkQueue {
 public:
  // worker runs tasks on another thread, io on the I/O thread.
  WorkQueue(Post worker, Post io) : worker_(std::move(worker)), io_(std::move(io)) {}

  // Work on the other thread, then its result on this one, either only while the exchange lives. What they
  // throw breaks the exchange off.
  void run(std::weak_ptr<Exchange> exchange, Work work);
  // The same at once where little JSON is read or written, whose bytes are given.
  void run_sized(size_t bytes, std::weak_ptr<Exchange> exchange, Work work);

 private:
  Post worker_;
  Post io_;
};

}  // namespace fathom
