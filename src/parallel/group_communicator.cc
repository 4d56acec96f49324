#include "parallel/group_communicator.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "parallel/leader_exchange.h"
#include "parallel/liveness.h"
#include "parallel/node_window.h"
#include "parallel/purpose.h"
#include "parallel/reduction_plan.h"

namespace fathom {
namespace {

// Up to here every rank adds whole vectors itself: one meeting instead of two.
constexpr size_t kSmallFloats = (size_t{64} << 10) / sizeof(float);
constexpr size_t kSlotFloats = NodeWindow::kSlotBytes / sizeof(float);
constexpr size_t kLineFloats = 64 / sizeof(float);

struct LocalPlace {
  explicit LocalPlace(const NodeLayout& layout)
      : ranks(layout.ranks_of(layout.node())), index(layout.local_rank()) {}
  std::vector<int> ranks;  // of this node
  int index;               // of this rank among them
};

// [begin, end) of a vector of count floats: the share of one of num_shares ranks, in whole cache lines.
struct Share {
  Share(size_t count, int index, int num_shares) {
    const size_t lines = (count + kLineFloats - 1) / kLineFloats;
    const size_t shares = static_cast<size_t>(num_shares);
    begin = std::min(count, lines * static_cast<size_t>(index) / shares * kLineFloats);
    end = std::min(count, lines * static_cast<size_t>(index + 1) / shares * kLineFloats);
  }
  size_t size() const { return end - begin; }
  size_t begin;
  size_t end;
};

size_t as_index(int number) { return static_cast<size_t>(number); }

float* floats(std::byte* bytes) { return reinterpret_cast<float*>(bytes); }
const float* floats(const std::byte* bytes) { return reinterpret_cast<const float*>(bytes); }

class GroupCommunicator : public Communicator {
 public:
  GroupCommunicator(Transport& transport, std::span<std::byte> memory,
                    std::chrono::milliseconds silence_limit)
      : Communicator(transport.layout()),
        silence_limit_(silence_limit),
        place_(layout()),
        window_(memory, place_.index, static_cast<int>(place_.ranks.size())),
        leaders_(window_, transport),
        plan_(layout()),
        fewest_ranks_(fewest_ranks(layout())),
        liveness_(window_, transport, silence_limit) {}
  ~GroupCommunicator() override {
    if (!finished_) window_.report({.reason = LossReason::kLeft, .rank = rank()});
  }

  Status start() {
    if (window_.share_affinity() != NodeWindow::MeetResult::kMet) return lost();
    return barrier();
  }
  Status barrier() override;
  Status broadcast(std::span<std::byte> bytes, int root) override;
  Status all_reduce_sum(std::span<float> values) override;
  Status all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  Status all_gather_parts(std::span<std::byte> all, std::span<const size_t> starts) override;
  Status health() const override { return window_.is_lost() ? lost() : ok_status(); }
  std::optional<int> lost_rank() const override {
    const std::optional<Loss> loss = window_.loss();
    return loss ? std::optional<int>(loss->rank) : std::nullopt;
  }
  void fail(const std::string& reason) override;
  Status finish() override;

 private:
  static size_t fewest_ranks(const NodeLayout& layout) {
    size_t fewest = static_cast<size_t>(layout.size());
    for (int node = 0; node < layout.num_nodes(); ++node)
      fewest = std::min(fewest, layout.ranks_of(node).size());
    return fewest;
  }
  bool is_leader() const { return place_.index == 0; }
  int num_local() const { return window_.num_ranks(); }
  bool one_node() const { return layout().num_nodes() == 1; }
  // What one rank may write for a meeting, on every node: all decide by this how to cut long messages.
  size_t area_bytes() const { return fewest_ranks_ * NodeWindow::kSlotBytes; }

  Status lost() const;
  Status meet(uint64_t purpose);
  Status lost_unless(ExchangeResult result) { return result == ExchangeResult::kDone ? ok_status() : lost(); }
  // Sums this node's pieces of [share.begin, share.end) of the slots met; pieces one after another at out.
  void add_local(const Share& share, float* out) const;
  Status reduce_by_shares(std::span<float> values, uint64_t purpose);
  Status reduce_across(std::span<float> values, uint64_t purpose);
  Status add_all_pieces(size_t count);

  std::chrono::milliseconds silence_limit_;
  LocalPlace place_;
  NodeWindow window_;
  LeaderExchange leaders_;
  ReductionPlan plan_;
  size_t fewest_ranks_;
  bool finished_ = false;
  Liveness liveness_;  // last: ends before what it watches
};

Status GroupCommunicator::lost() const {
  const std::optional<Loss> loss = window_.loss();
  FATHOM_CHECK(loss.has_value(), "nothing is lost");
  const int node = layout().node_of[static_cast<size_t>(loss->rank)];
  const std::string name = fmt::format("rank {} on node {}", loss->rank, node);
  switch (loss->reason) {
    case LossReason::kSilent:
      return io_error("{} is lost: no sign of life for {:g} s", name,
                      std::chrono::duration<double>(silence_limit_).count());
    case LossReason::kEnded:
      return io_error("{} is lost: its process has ended", name);
    case LossReason::kLeft:
      return io_error("{} has left before the end", name);
    default:
      return io_error("{} failed: {}", name, loss->text);
  }
}

Status GroupCommunicator::meet(uint64_t purpose) {
  const NodeWindow::Meeting meeting = window_.meet(purpose);
  if (meeting.result == NodeWindow::MeetResult::kMet) return ok_status();
  if (meeting.result == NodeWindow::MeetResult::kDisagree) {
    Loss loss{.reason = LossReason::kReported, .rank = place_.ranks[static_cast<size_t>(meeting.index)]};
    loss.set_text(fmt::format("it came for {}, rank {} for {}", describe_purpose(meeting.its_purpose), rank(),
                              describe_purpose(purpose)));
    window_.report(loss);
  }
  return lost();
}

Status GroupCommunicator::barrier() {
  const uint64_t purpose = purpose_of(Operation::kBarrier, 0);
  FATHOM_RETURN_IF_ERROR(meet(purpose));
  if (one_node()) return ok_status();
  if (is_leader()) {
    std::vector<size_t> offsets;  // one byte a node
    for (int node = 0; node <= layout().num_nodes(); ++node) offsets.push_back(static_cast<size_t>(node));
    FATHOM_RETURN_IF_ERROR(lost_unless(leaders_.all_to_all(window_.slot_to_write(0), offsets)));
  }
  return meet(purpose);
}

Status GroupCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  FATHOM_CHECK(root >= 0 && root < size(), "root {} of {} ranks", root, size());
  const uint64_t purpose = purpose_of(Operation::kBroadcast, bytes.size(), root);
  const int root_node = layout().node_of[static_cast<size_t>(root)];
  const bool root_is_here = root_node == layout().node();
  for (size_t begin = 0; begin < bytes.size(); begin += area_bytes()) {
    const std::span<std::byte> chunk = bytes.subspan(begin, std::min(area_bytes(), bytes.size() - begin));
    std::byte* target = window_.slot_to_write(0);
    if (rank() == root) std::memcpy(target, chunk.data(), chunk.size());
    if (is_leader() && !root_is_here)
      FATHOM_RETURN_IF_ERROR(lost_unless(leaders_.spread({target, chunk.size()}, root_node)));
    FATHOM_RETURN_IF_ERROR(meet(purpose));
    if (rank() != root) std::memcpy(chunk.data(), target, chunk.size());
    if (is_leader() && root_is_here)
      FATHOM_RETURN_IF_ERROR(lost_unless(leaders_.spread({target, chunk.size()}, root_node)));
  }
  return ok_status();
}

Status GroupCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  FATHOM_CHECK(all.size() == mine.size() * static_cast<size_t>(size()), "{} bytes for {} ranks' {}",
               all.size(), size(), mine.size());
  std::vector<size_t> starts;
  for (int of_rank = 0; of_rank <= size(); ++of_rank)
    starts.push_back(static_cast<size_t>(of_rank) * mine.size());
  std::copy(mine.begin(), mine.end(), all.begin() + static_cast<std::ptrdiff_t>(starts[as_index(rank())]));
  return all_gather_parts(all, starts);
}

Status GroupCommunicator::all_gather_parts(std::span<std::byte> all, std::span<const size_t> starts) {
  FATHOM_CHECK(std::ssize(starts) == size() + 1 && starts.back() <= all.size(), "{} starts, {} of {} bytes",
               starts.size(), starts.back(), all.size());
  const uint64_t purpose = purpose_of(Operation::kAllGather, starts.back());
  const size_t chunk_bytes = area_bytes() / static_cast<size_t>(size());
  size_t longest = 0;
  for (size_t i = 0; i + 1 < starts.size(); ++i) longest = std::max(longest, starts[i + 1] - starts[i]);
  for (size_t begin = 0; begin < longest; begin += chunk_bytes) {
    const auto piece_of = [&](int of_rank) {
      const size_t end = starts[as_index(of_rank) + 1];
      const size_t first = std::min(starts[as_index(of_rank)] + begin, end);
      return all.subspan(first, std::min(chunk_bytes, end - first));
    };
    const std::span<const std::byte> own = piece_of(rank());
    std::copy(own.begin(), own.end(), window_.slot_to_write(place_.index));
    FATHOM_RETURN_IF_ERROR(meet(purpose));
    if (one_node()) {
      for (int i = 0; i < num_local(); ++i)
        std::copy_n(window_.slot_met(i), piece_of(i).size(), piece_of(i).data());
      continue;
    }
    // In the area: node by node, rank by rank.
    std::byte* area = window_.slot_to_write(0);
    std::vector<size_t> offsets{0};
    std::vector<int> order;
    size_t num_bytes = 0;
    for (int node = 0; node < layout().num_nodes(); ++node) {
      for (int of_rank : layout().ranks_of(node)) {
        order.push_back(of_rank);
        num_bytes += piece_of(of_rank).size();
      }
      offsets.push_back(num_bytes);
    }
    if (is_leader()) {
      std::byte* to = area + offsets[as_index(layout().node())];
      for (int i = 0; i < num_local(); ++i)
        to = std::copy_n(window_.slot_met(i), piece_of(place_.ranks[as_index(i)]).size(), to);
      FATHOM_RETURN_IF_ERROR(lost_unless(leaders_.all_to_all(area, offsets)));
    }
    FATHOM_RETURN_IF_ERROR(meet(purpose));
    for (int of_rank : order) {
      const std::span<std::byte> piece = piece_of(of_rank);
      std::copy_n(area, piece.size(), piece.data());
      area += piece.size();
    }
  }
  return ok_status();
}

Status GroupCommunicator::all_reduce_sum(std::span<float> values) {
  const uint64_t purpose = purpose_of(Operation::kAllReduce, values.size_bytes());
  size_t chunk_size = kSlotFloats;
  if (!one_node()) {  // the leaders' area is to hold all pieces and their sum
    chunk_size = std::min(chunk_size, area_bytes() / sizeof(float) / (plan_.num_pieces() + 1));
  }
  for (size_t begin = 0; begin < values.size(); begin += chunk_size) {
    const std::span<float> chunk = values.subspan(begin, std::min(chunk_size, values.size() - begin));
    std::memcpy(window_.slot_to_write(place_.index), chunk.data(), chunk.size_bytes());
    FATHOM_RETURN_IF_ERROR(meet(purpose));
    if (!one_node()) {
      FATHOM_RETURN_IF_ERROR(reduce_across(chunk, purpose));
    } else if (values.size() <= kSmallFloats) {
      add_local(Share(chunk.size(), 0, 1), chunk.data());
    } else {
      FATHOM_RETURN_IF_ERROR(reduce_by_shares(chunk, purpose));
    }
  }
  return ok_status();
}

void GroupCommunicator::add_local(const Share& share, float* out) const {
  const float* leaves[kMaxRanks];
  for (const ReductionPlan::LocalSum& piece : plan_.local) {
    const size_t num_leaves = piece.inputs.size();
    for (size_t i = 0; i < num_leaves; ++i)
      leaves[i] = floats(window_.slot_met(piece.inputs[i])) + share.begin;
    piece.tree.sum({leaves, num_leaves}, static_cast<int64_t>(share.size()), out);
    out += share.size();
  }
}

Status GroupCommunicator::reduce_by_shares(std::span<float> values, uint64_t purpose) {
  const auto share_of = [&](int index) { return Share(values.size(), index, num_local()); };
  add_local(share_of(place_.index), floats(window_.slot_to_write(place_.index)));
  FATHOM_RETURN_IF_ERROR(meet(purpose));
  for (int i = 0; i < num_local(); ++i) {
    const Share share = share_of(i);
    std::memcpy(values.data() + share.begin, window_.slot_met(i), share.size() * sizeof(float));
  }
  return ok_status();
}

Status GroupCommunicator::reduce_across(std::span<float> values, uint64_t purpose) {
  add_local(Share(values.size(), place_.index, num_local()), floats(window_.slot_to_write(place_.index)));
  FATHOM_RETURN_IF_ERROR(meet(purpose));
  const float* sum = floats(window_.slot_to_write(0)) + plan_.num_pieces() * values.size();
  if (is_leader()) FATHOM_RETURN_IF_ERROR(add_all_pieces(values.size()));
  FATHOM_RETURN_IF_ERROR(meet(purpose));
  std::memcpy(values.data(), sum, values.size_bytes());
  return ok_status();
}

// Into the area of the next meeting: all pieces of count floats, then their sum.
Status GroupCommunicator::add_all_pieces(size_t count) {
  float* area = floats(window_.slot_to_write(0));
  const size_t first = plan_.first_of_node[static_cast<size_t>(layout().node())];
  for (int i = 0; i < num_local(); ++i) {
    const Share share(count, i, num_local());
    for (size_t piece = 0; piece < plan_.local.size(); ++piece)
      std::memcpy(area + (first + piece) * count + share.begin,
                  floats(window_.slot_met(i)) + piece * share.size(), share.size() * sizeof(float));
  }
  std::vector<size_t> offsets;
  for (size_t place : plan_.first_of_node) offsets.push_back(place * count * sizeof(float));
  FATHOM_RETURN_IF_ERROR(lost_unless(leaders_.all_to_all(reinterpret_cast<std::byte*>(area), offsets)));
  std::vector<const float*> leaves;
  for (size_t place : plan_.places) leaves.push_back(area + place * count);
  plan_.top.sum(leaves, static_cast<int64_t>(count), area + plan_.num_pieces() * count);
  return ok_status();
}

void GroupCommunicator::fail(const std::string& reason) {
  Loss loss{.reason = LossReason::kReported, .rank = rank()};
  loss.set_text(reason);
  window_.report(loss);
}

Status GroupCommunicator::finish() {
  FATHOM_RETURN_IF_ERROR(barrier());
  finished_ = true;
  liveness_.stop();  // the others may end from now on
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<Communicator>> make_group_communicator(Transport& transport,
                                                              const GroupOptions& options) {
  const NodeLayout& layout = transport.layout();
  if (layout.size() > kMaxRanks) return unsupported("{} ranks; {} at most", layout.size(), kMaxRanks);
  const size_t num_local = layout.ranks_of(layout.node()).size();
  FATHOM_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                          transport.make_window(NodeWindow::bytes_needed(static_cast<int>(num_local))));
  auto group = std::make_unique<GroupCommunicator>(transport, memory, options.silence_limit);
  FATHOM_RETURN_IF_ERROR(group->start());
  return std::unique_ptr<Communicator>(std::move(group));
}

}  // namespace fathom
