#include "parallel/leader_exchange.h"

#include "parallel/patience.h"

namespace fathom {

LeaderExchange::LeaderExchange(const NodeWindow& window, Transport& transport)
    : window_(window), transport_(transport), node_(transport.layout().node()) {
  const NodeLayout& layout = transport.layout();
  for (int node = 0; node < layout.num_nodes(); ++node) leaders_.push_back(layout.ranks_of(node).front());
}

ExchangeResult LeaderExchange::wait() {
  Patience patience(window_.crowding());
  while (true) {
    std::erase_if(transfers_, [](const auto& transfer) {
      const Result<bool> done = transfer->done();
      return done.ok() && *done;
    });
    if (transfers_.empty()) return ExchangeResult::kDone;
    if (window_.is_lost()) return ExchangeResult::kLost;
    patience.rest();
  }
}

ExchangeResult LeaderExchange::all_to_all(std::byte* area, std::span<const size_t> offsets) {
  const auto part = [&](size_t node) {
    return std::span(area + offsets[node], offsets[node + 1] - offsets[node]);
  };
  const size_t me = static_cast<size_t>(node_);
  for (size_t node = 0; node < leaders_.size(); ++node) {
    if (node == me) continue;
    transfers_.push_back(transport_.receive(leaders_[node], Channel::kData, part(node)));
    transfers_.push_back(transport_.send(leaders_[node], Channel::kData, part(me)));
  }
  return wait();
}

ExchangeResult LeaderExchange::spread(std::span<std::byte> bytes, int root_node) {
  if (node_ != root_node) {
    transfers_.push_back(transport_.receive(leaders_[static_cast<size_t>(root_node)], Channel::kData, bytes));
    return wait();
  }
  for (size_t node = 0; node < leaders_.size(); ++node)
    if (static_cast<int>(node) != node_)
      transfers_.push_back(transport_.send(leaders_[node], Channel::kData, bytes));
  return wait();
}

}  // namespace fathom
