// Work in a process of its own that ends without notice as soon as all data is handed over, when little but
// the last files' flush is left.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string_view>
#include <thread>

#include "base/progress.h"

namespace fathom {

// work(progress) reports its progress there.
template <typename Work>
void interrupt_at_end(const Work& work) {
  struct Sink : ProgressSink {
    void report(std::string_view, uint64_t done, uint64_t total) override {
      if (done < total) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      ::_exit(7);
    }
  };
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Sink sink;
    work(&sink);
    ::_exit(8);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
}

}  // namespace fathom
