#include <algorithm>

#include "base/check.h"
#include "parallel/communicator.h"

namespace fathom {
namespace {

class SoloCommunicator : public Communicator {
 public:
  SoloCommunicator() : Communicator(NodeLayout()) {}

  Status barrier() override { return ok_status(); }
  Status broadcast(std::span<std::byte>, int root) override {
    FATHOM_CHECK(root == 0, "root {} of 1 rank", root);
    return ok_status();
  }
  Status all_reduce_sum(std::span<float>) override { return ok_status(); }
  Status all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    FATHOM_CHECK(all.size() == mine.size(), "{} bytes for {}", all.size(), mine.size());
    std::copy(mine.begin(), mine.end(), all.begin());
    return ok_status();
  }
  Status all_gather_parts(std::span<std::byte>, std::span<const size_t>) override { return ok_status(); }
  Status health() const override { return ok_status(); }
  std::optional<int> lost_rank() const override { return std::nullopt; }
  void fail(const std::string&) override {}
  Status finish() override { return ok_status(); }
};

}  // namespace

int NodeLayout::num_nodes() const { return *std::max_element(node_of.begin(), node_of.end()) + 1; }

std::vector<int> NodeLayout::ranks_of(int node) const {
  std::vector<int> ranks;
  for (int i = 0; i < size(); ++i)
    if (node_of[static_cast<size_t>(i)] == node) ranks.push_back(i);
  return ranks;
}

int NodeLayout::local_rank() const {
  const auto own = node_of.begin() + rank;
  return static_cast<int>(std::count(node_of.begin(), own, *own));
}

std::unique_ptr<Communicator> make_solo_communicator() { return std::make_unique<SoloCommunicator>(); }

}  // namespace fathom
