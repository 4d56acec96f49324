#include "parallel/group_communicator.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "base/function_ref.h"
#include "parallel/agreement.h"
#include "parallel/memory_transport.h"

namespace fathom {
namespace {

const std::vector<std::vector<int>> kLayouts = {
    {0, 0},                    // one node
    {0, 0, 0},                 //
    {0, 0, 0, 0},              //
    {0, 0, 0, 0, 0, 0, 0, 0},  //
    {0, 1},                    // leaders only
    {0, 0, 0, 1, 1, 1},        // the tree's branches cross the nodes
    {0, 0, 0, 0, 1, 1, 1, 1},  //
    {0, 1, 0, 1},              // as a scheduler may spread them
    {0, 0, 1, 2, 2},           // nodes of unlike size
};

std::string text_of(const std::vector<int>& layout) {
  std::string text = "nodes";
  for (int node : layout) text += fmt::format(" {}", node);
  return text;
}

// Ranks as threads; body's expectations hold in each.
void run_ranks(const std::vector<int>& node_of, FunctionRef<void(Communicator&)> body,
               std::chrono::milliseconds silence_limit = GroupOptions().silence_limit) {
  MemoryWorld world(node_of);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < node_of.size(); ++rank) {
    threads.emplace_back([&, rank] {
      MemoryTransport transport(world, static_cast<int>(rank));
      auto group = make_group_communicator(transport, {.silence_limit = silence_limit});
      ASSERT_TRUE(group.ok()) << group.status().message();
      body(**group);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void expect_ok(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

std::vector<float> values_of(int rank, size_t count, uint64_t round) {
  std::mt19937_64 random(round * 100 + static_cast<uint64_t>(rank));
  std::vector<float> values(count);
  for (float& value : values)
    value = std::ldexp(static_cast<float>(static_cast<int64_t>(random())), -static_cast<int>(random() % 80));
  return values;
}

float reference_sum(const std::vector<std::vector<float>>& values, size_t element, size_t begin, size_t end) {
  if (end - begin == 1) return values[begin][element];
  size_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  return reference_sum(values, element, begin, begin + half) +
         reference_sum(values, element, begin + half, end);
}

std::vector<float> expected_sum(int num_ranks, size_t count, uint64_t round) {
  std::vector<std::vector<float>> values;
  for (int rank = 0; rank < num_ranks; ++rank) values.push_back(values_of(rank, count, round));
  std::vector<float> sum(count);
  for (size_t i = 0; i < count; ++i) sum[i] = reference_sum(values, i, 0, values.size());
  return sum;
}

TEST(GroupCommunicator, SumsAlongTheTreeBitForBit) {
  for (const auto& layout : kLayouts) {
    const int num_ranks = static_cast<int>(layout.size());
    // Up to and beyond the small size (16384 floats) and a slot (65536).
    for (size_t count : {0, 1, 3, 17, 1000, 16384, 16385, 65536, 70001, 200003}) {
      const std::vector<float> expected = expected_sum(num_ranks, count, count);
      run_ranks(layout, [&](Communicator& group) {
        std::vector<float> values = values_of(group.rank(), count, count);
        expect_ok(group.all_reduce_sum(values));
        EXPECT_TRUE(values == expected) << text_of(layout) << ", rank " << group.rank() << ", " << count;
        expect_ok(group.finish());
      });
    }
  }
}

TEST(GroupCommunicator, MixedOperationsInAnyRhythm) {
  constexpr int kRounds = 150;
  for (const auto& layout : kLayouts) {
    const size_t num_ranks = layout.size();
    run_ranks(layout, [&](Communicator& group) {
      std::mt19937 common(7);  // the same on every rank
      std::mt19937 delays(static_cast<unsigned>(group.rank()));
      for (int round = 0; round < kRounds; ++round) {
        if (delays() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays() % 300));
        const size_t count = common() % 2000;
        const int root = static_cast<int>(common() % num_ranks);
        std::vector<float> values = values_of(group.rank(), count, static_cast<uint64_t>(round));
        const std::vector<float> mine = values;
        switch (common() % 4) {
          case 0:
            expect_ok(group.barrier());
            break;
          case 1:
            expect_ok(group.broadcast(std::as_writable_bytes(std::span(values)), root));
            EXPECT_TRUE(values == values_of(root, count, static_cast<uint64_t>(round))) << text_of(layout);
            break;
          case 2:
            expect_ok(group.all_reduce_sum(values));
            EXPECT_TRUE(values == expected_sum(group.size(), count, static_cast<uint64_t>(round)))
                << text_of(layout);
            break;
          default: {
            std::vector<float> all(count * num_ranks);
            expect_ok(
                group.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all))));
            for (size_t rank = 0; rank < num_ranks; ++rank) {
              const std::vector<float> theirs(all.begin() + static_cast<int64_t>(rank * count),
                                              all.begin() + static_cast<int64_t>((rank + 1) * count));
              EXPECT_TRUE(theirs == values_of(static_cast<int>(rank), count, static_cast<uint64_t>(round)))
                  << text_of(layout);
            }
          }
        }
      }
      expect_ok(group.finish());
    });
  }
}

TEST(GroupCommunicator, LongBroadcastAndGather) {
  constexpr size_t kBytes = 2'500'001;
  for (const auto& layout : kLayouts) {
    run_ranks(layout, [&](Communicator& group) {
      const auto fill = [](int rank) {
        std::vector<std::byte> bytes(kBytes);
        for (size_t i = 0; i < kBytes; ++i)
          bytes[i] = static_cast<std::byte>(i * 31 + i / 1000 + static_cast<size_t>(rank));
        return bytes;
      };
      const int root = group.size() - 1;
      std::vector<std::byte> bytes = fill(group.rank());
      expect_ok(group.broadcast(bytes, root));
      EXPECT_TRUE(bytes == fill(root)) << text_of(layout);
      std::vector<std::byte> all(kBytes * static_cast<size_t>(group.size()));
      expect_ok(group.all_gather(fill(group.rank()), all));
      for (int rank = 0; rank < group.size(); ++rank) {
        const std::vector<std::byte> theirs = fill(rank);
        EXPECT_TRUE(
            std::equal(theirs.begin(), theirs.end(), all.begin() + static_cast<int64_t>(kBytes) * rank))
            << text_of(layout) << " rank " << rank;
      }
      expect_ok(group.finish());
    });
  }
}

// Of unlike sizes, none at all, beyond a slot; what lies around the parts stays.
TEST(GroupCommunicator, GathersPartsWhereTheyLie) {
  const auto byte_of = [](int rank, size_t i) {
    return static_cast<std::byte>(i * 37 + i / 1000 + static_cast<size_t>(rank) * 11);
  };
  for (const auto& layout : kLayouts) {
    for (size_t round = 0; round < 6; ++round) {
      std::vector<size_t> starts{5};
      for (size_t rank = 0; rank < layout.size(); ++rank) {
        const size_t turn = (rank + round) % 4;
        starts.push_back(starts.back() + (turn == 0 ? 0 : turn == 1 ? 13 : turn == 2 ? 300'001 : 4'000));
      }
      run_ranks(layout, [&](Communicator& group) {
        std::vector<std::byte> all(starts.back() + 3), expected(all.size());
        for (size_t rank = 0; rank < layout.size(); ++rank) {
          for (size_t i = starts[rank]; i < starts[rank + 1]; ++i) {
            expected[i] = byte_of(static_cast<int>(rank), i);
            if (static_cast<int>(rank) == group.rank()) all[i] = expected[i];
          }
        }
        expect_ok(group.all_gather_parts(all, starts));
        EXPECT_TRUE(all == expected) << text_of(layout) << ", rank " << group.rank() << ", round " << round;
        expect_ok(group.all_gather_parts(all, std::vector<size_t>(layout.size() + 1, 0)));
        expect_ok(group.finish());
      });
    }
  }
}

TEST(GroupCommunicator, ManySmallSumsBackToBack) {
  constexpr int kRounds = 10'000;
  for (const std::vector<int>& layout : {std::vector<int>{0, 0}, {0, 0, 0, 0}}) {
    run_ranks(layout, [&](Communicator& group) {
      std::mt19937 delays(static_cast<unsigned>(group.rank()));
      for (int round = 0; round < kRounds; ++round) {
        if (delays() % 512 == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays() % 100));
        std::vector<float> values(static_cast<size_t>(round % 7), static_cast<float>(round + group.rank()));
        expect_ok(group.all_reduce_sum(values));
        const int ranks = group.size();
        const float expected = static_cast<float>(ranks * round + ranks * (ranks - 1) / 2);
        for (float value : values) ASSERT_EQ(value, expected) << "round " << round;
      }
      expect_ok(group.finish());
    });
  }
}

TEST(GroupCommunicator, NamesTheRankThatFails) {
  const auto expect_named = [](const std::vector<int>& layout) {
    const int culprit = static_cast<int>(layout.size()) - 1;
    const std::string expected =
        fmt::format("rank {} on node {} failed: its disk is full", culprit, layout.back());
    const auto body = [&](Communicator& group) {
      if (group.rank() == culprit) return group.fail("its disk is full");
      EXPECT_EQ(group.barrier().message(), expected) << text_of(layout);
    };
    run_ranks(layout, body, std::chrono::seconds(3));
  };
  expect_named({0, 0, 0});
  expect_named({0, 0, 1, 2, 2});
}

TEST(GroupCommunicator, NamesTheRankThatLeaves) {
  run_ranks({0, 0, 0}, [](Communicator& group) {
    if (group.rank() == 1) return;
    std::vector<float> values(10);
    EXPECT_EQ(group.all_reduce_sum(values).message(), "rank 1 on node 0 has left before the end");
  });
}

TEST(GroupCommunicator, NamesARankAtAnotherOperation) {
  run_ranks({0, 0, 0}, [](Communicator& group) {
    std::vector<float> values(group.rank() == 2 ? 5 : 4);
    const std::string message = group.all_reduce_sum(values).message();
    // Whoever notices first reports the other.
    EXPECT_NE(message.find(" on node 0 failed: it came for all-reduce of "), std::string::npos) << message;
    EXPECT_NE(message.find("20 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("16 bytes"), std::string::npos) << message;
  });
}

TEST(Agreement, NamesTheFirstDifference) {
  run_ranks({0, 0, 1}, [](Communicator& group) {
    expect_ok(check_agreement(group, std::vector<NamedValue>{{"build", "1a"}, {"weights", "ff"}}));
    expect_ok(check_agreement(group, {}));
    const std::string build = group.rank() == 2 ? "2b" : "1a";
    const std::string weights = group.rank() == 0 ? "ee" : "ff";
    EXPECT_EQ(check_agreement(group, std::vector<NamedValue>{{"build", build}, {"weights", "ff"}}).message(),
              "ranks 0 and 2 differ in build: 1a on rank 0, 2b on rank 2");
    EXPECT_EQ(
        check_agreement(group, std::vector<NamedValue>{{"build", build}, {"weights", weights}}).message(),
        "ranks 0 and 1 differ in weights: ee on rank 0, ff on rank 1");
    std::vector<NamedValue> values{{"build", "1a"}};
    if (group.rank() == 1) values.push_back({"cache", ""});
    EXPECT_EQ(check_agreement(group, values).message(),
              "ranks 0 and 1 do not run the same: nothing more on rank 0, cache on rank 1");
    values = {{"text", std::string(group.rank() == 1 ? 70'000 : 10, 'x')}};
    EXPECT_EQ(check_agreement(group, values).message(),
              "rank 1 has 65537 bytes or more to agree on; 65536 at most");
    expect_ok(group.finish());
  });
}

TEST(SoloCommunicator, IsAGroupOfOne) {
  const auto group = make_solo_communicator();
  EXPECT_EQ(group->size(), 1);
  EXPECT_EQ(group->layout().num_nodes(), 1);
  std::vector<float> values{1, 2}, all(2);
  expect_ok(group->all_reduce_sum(values));
  EXPECT_EQ(values, (std::vector<float>{1, 2}));
  expect_ok(group->all_gather(std::as_bytes(std::span(values)), std::as_writable_bytes(std::span(all))));
  EXPECT_EQ(all, values);
  expect_ok(group->all_gather_parts(std::as_writable_bytes(std::span(all)), std::vector<size_t>{0, 8}));
  EXPECT_EQ(all, values);
  expect_ok(group->broadcast({}, 0));
  expect_ok(group->barrier());
  expect_ok(group->finish());
}

}  // namespace
}  // namespace fathom
