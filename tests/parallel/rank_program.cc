// What tests/end_to_end/parallel_test.py runs under mpirun, as one rank of several.
//
//   rank_program collectives ROUNDS   random operations against their definitions and MPI's own sum; rank 0
//   prints
//                                     "ranks N nodes M digest X", the same X for the same N wherever ranks
//                                     run
//   rank_program lose RANK SIGNAL     sums until one fails; RANK raises SIGNAL meanwhile; others print the
//   error rank_program disagree             rank 1 runs with other weights
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "base/random.h"
#include "parallel/agreement.h"
#include "parallel/group_communicator.h"
#include "parallel/mpi_transport.h"

namespace fathom {
namespace {

std::vector<float> values_of(int rank, size_t count, uint64_t round) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(random_uniform(round * 64 + static_cast<uint64_t>(rank), i) - 0.5);
  return values;
}

float tree_sum(const std::vector<std::vector<float>>& values, size_t element, size_t begin, size_t end) {
  if (end - begin == 1) return values[begin][element];
  size_t half = 1;
  while (half * 2 < end - begin) half *= 2;
  return tree_sum(values, element, begin, begin + half) + tree_sum(values, element, begin + half, end);
}

Status wrong(const Communicator& group, const char* what, uint64_t round) {
  return invalid_data("rank {}: {} of round {} is wrong", group.rank(), what, round);
}

Status check_sum(Communicator& group, Transport& transport, size_t count, uint64_t round, uint64_t* digest) {
  std::vector<std::vector<float>> all;
  for (int rank = 0; rank < group.size(); ++rank) all.push_back(values_of(rank, count, round));
  std::vector<float> sum = all[static_cast<size_t>(group.rank())], library = sum;
  FATHOM_RETURN_IF_ERROR(group.all_reduce_sum(sum));
  FATHOM_RETURN_IF_ERROR(transport.library_sum(library));
  // Each of the two rounds at most size - 1 times, sums of values below 1/2.
  const float size = static_cast<float>(group.size());
  const float tolerance = size * size * 0x1p-24f;
  for (size_t i = 0; i < count; ++i) {
    if (sum[i] != tree_sum(all, i, 0, all.size())) return wrong(group, "all-reduce", round);
    if (std::abs(sum[i] - library[i]) > tolerance) return wrong(group, "all-reduce against MPI", round);
    uint32_t bits;
    std::memcpy(&bits, &sum[i], sizeof bits);
    *digest = mix_bits(*digest ^ bits);
  }
  return ok_status();
}

Status check_bytes(Communicator& group, size_t count, int root, uint64_t round) {
  std::vector<float> values = values_of(group.rank(), count, round);
  const std::vector<float> mine = values;
  FATHOM_RETURN_IF_ERROR(group.broadcast(std::as_writable_bytes(std::span(values)), root));
  if (values != values_of(root, count, round)) return wrong(group, "broadcast", round);
  std::vector<float> all(count * static_cast<size_t>(group.size())), expected;
  FATHOM_RETURN_IF_ERROR(
      group.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all))));
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::vector<float> theirs = values_of(rank, count, round);
    expected.insert(expected.end(), theirs.begin(), theirs.end());
  }
  return all == expected ? ok_status() : wrong(group, "all-gather", round);
}

Status collectives(Communicator& group, Transport& transport, uint64_t rounds) {
  uint64_t digest = 0;
  for (uint64_t round = 0; round < rounds; ++round) {
    const uint64_t bits = random_bits(1, round);
    // Mostly small and odd; sometimes more than a slot.
    const size_t count = bits % 50 == 0 ? bits / 50 % 150'000 : bits / 50 % 700;
    if (random_bits(static_cast<uint64_t>(group.rank()) + 2, round) % 40 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(bits % 500));
    const int root = static_cast<int>(bits % static_cast<uint64_t>(group.size()));
    FATHOM_RETURN_IF_ERROR(check_sum(group, transport, count, round, &digest));
    FATHOM_RETURN_IF_ERROR(check_bytes(group, count, root, round));
    FATHOM_RETURN_IF_ERROR(group.barrier());
  }
  std::printf("ranks %d nodes %d digest %016llx\n", group.size(), group.layout().num_nodes(),
              static_cast<unsigned long long>(digest));
  return ok_status();
}

Status lose(Communicator& group, int rank, int signal) {
  std::vector<float> values(100);
  for (int round = 0;; ++round) {
    if (round == 100 && group.rank() == rank) ::raise(signal);
    FATHOM_RETURN_IF_ERROR(group.all_reduce_sum(values));
  }
}

Status run(int argc, char** argv) {
  FATHOM_ASSIGN_OR_RETURN(const auto transport, open_mpi_transport());
  const std::string mode = argc > 1 ? argv[1] : "";
  GroupOptions options;
  if (mode == "lose") options.silence_limit = std::chrono::milliseconds(3000);
  FATHOM_ASSIGN_OR_RETURN(auto group, make_group_communicator(*transport, options));
  if (mode == "collectives")
    FATHOM_RETURN_IF_ERROR(collectives(*group, *transport, std::strtoull(argv[2], nullptr, 10)));
  if (mode == "lose") FATHOM_RETURN_IF_ERROR(lose(*group, std::atoi(argv[2]), std::atoi(argv[3])));
  if (mode == "disagree") {
    const std::string weights = group->rank() == 1 ? "b2" : "a1";
    FATHOM_RETURN_IF_ERROR(
        check_agreement(*group, std::vector<NamedValue>{{"build", "7"}, {"weights", weights}}));
  }
  FATHOM_RETURN_IF_ERROR(group->finish());
  group.reset();
  transport->close();
  return ok_status();
}

}  // namespace
}  // namespace fathom

int main(int argc, char** argv) {
  const fathom::Status status = fathom::run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "rank_program: %s\n", status.message().c_str());
  return 1;
}
