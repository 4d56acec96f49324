// Ranks as processes that are killed and stopped.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "parallel/group_communicator.h"
#include "parallel/memory_transport.h"

namespace fathom {
namespace {

using std::chrono::milliseconds;

constexpr const char* kEnded = "its process has ended";
constexpr const char* kSilent = "no sign of life for 1 s";

// Sums in a loop until something fails, raising a signal against itself where it is the culprit. Writes the
// error, one line, to output.
void work(MemoryWorld& world, int rank, int culprit, int signal, int output) {
  MemoryTransport transport(world, rank);
  auto group = make_group_communicator(transport, {.silence_limit = milliseconds(1000)});
  if (!group.ok()) ::_exit(2);
  Status status;
  for (int round = 0; status.ok(); ++round) {
    if (rank == culprit && round == 50) ::raise(signal);
    std::vector<float> values(100);
    status = (*group)->all_reduce_sum(values);
  }
  const std::string line = fmt::format("{}: {}\n", rank, status.message());
  if (::write(output, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(3);
}

// The lines of all ranks but the culprit, as they come.
std::vector<std::string> messages_after(const std::vector<int>& layout, int culprit, int signal) {
  MemoryWorld world(layout);
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  std::vector<pid_t> ranks;
  for (size_t rank = 0; rank < layout.size(); ++rank) {
    ranks.push_back(::fork());
    if (ranks.back() != 0) continue;
    work(world, static_cast<int>(rank), culprit, signal, ends[1]);
    ::_exit(0);
  }
  ::close(ends[1]);
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    if (static_cast<int>(rank) != culprit) ::waitpid(ranks[rank], nullptr, 0);
  ::kill(ranks[static_cast<size_t>(culprit)], SIGKILL);
  ::waitpid(ranks[static_cast<size_t>(culprit)], nullptr, 0);
  std::vector<std::string> lines;
  std::string text(4096, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, ::read(ends[0], text.data(), text.size()))));
  ::close(ends[0]);
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  std::sort(lines.begin(), lines.end());
  return lines;
}

void expect_named(const std::vector<int>& layout, int culprit, int signal, const char* how) {
  std::vector<std::string> expected;
  for (int rank = 0; rank < static_cast<int>(layout.size()); ++rank)
    if (rank != culprit)
      expected.push_back(fmt::format("{}: rank {} on node {} is lost: {}", rank, culprit,
                                     layout[static_cast<size_t>(culprit)], how));
  EXPECT_EQ(messages_after(layout, culprit, signal), expected);
}

TEST(LostRank, KilledOnTheOnlyNode) { expect_named({0, 0, 0}, 1, SIGKILL, kEnded); }
TEST(LostRank, StoppedOnTheOnlyNode) { expect_named({0, 0}, 0, SIGSTOP, kSilent); }
TEST(LostRank, KilledOnAnotherNode) { expect_named({0, 0, 1, 1}, 3, SIGKILL, kEnded); }
TEST(LostRank, LeaderStoppedOnAnotherNode) { expect_named({0, 0, 1, 1}, 2, SIGSTOP, kSilent); }

TEST(LostRank, LossIsNoticedWithoutAnOperation) {
  MemoryWorld world({0, 0});
  const pid_t other = ::fork();
  if (other == 0) {
    MemoryTransport transport(world, 1);
    auto group = make_group_communicator(transport);
    if (group.ok()) ::raise(SIGKILL);
    ::_exit(2);
  }
  MemoryTransport transport(world, 0);
  auto group = make_group_communicator(transport, {.silence_limit = milliseconds(1000)});
  ASSERT_TRUE(group.ok());
  while ((*group)->health().ok()) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ((*group)->health().message(), "rank 1 on node 0 is lost: its process has ended");
  EXPECT_EQ((*group)->lost_rank(), 1);
  ::waitpid(other, nullptr, 0);
}

// Long work is no loss: the other waits several times the limit.
TEST(LostRank, SlowRankIsNotLost) {
  MemoryWorld world({0, 1});
  std::thread other([&world] {
    MemoryTransport transport(world, 1);
    auto group = make_group_communicator(transport, {.silence_limit = milliseconds(300)});
    ASSERT_TRUE(group.ok());
    EXPECT_TRUE((*group)->finish().ok());
  });
  MemoryTransport transport(world, 0);
  auto group = make_group_communicator(transport, {.silence_limit = milliseconds(300)});
  ASSERT_TRUE(group.ok());
  std::this_thread::sleep_for(milliseconds(1200));
  EXPECT_TRUE((*group)->finish().ok());
  other.join();
}

}  // namespace
}  // namespace fathom
