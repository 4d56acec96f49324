#include "engine/step_order.h"

#include <array>
#include <cstring>

namespace fathom {
namespace {

constexpr size_t kNumArrays = 10;
using Header = std::array<int64_t, 1 + kNumArrays>;  // kind, sizes in elements

template <typename Order, typename Function>
void for_each_array(Order& order, const Function& function) {
  function(order.copies);
  function(order.token_ids);
  function(order.positions);
  function(order.slots);
  function(order.starts);
  function(order.forms);
  function(order.page_tables);
  function(order.page_table_starts);
  function(order.logits_rows);
  function(order.home_starts);
}

std::span<std::byte> bytes_of(Header& header) { return std::as_writable_bytes(std::span(header)); }

}  // namespace

Batch StepOrder::batch() const {
  return {.token_ids = token_ids,
          .positions = positions,
          .slots = slots,
          .starts = starts,
          .forms = forms,
          .page_tables = page_tables,
          .page_table_starts = page_table_starts,
          .logits_rows = logits_rows,
          .home_starts = home_starts};
}

Status send_order(Communicator& communicator, const StepOrder& order) {
  Header header{static_cast<int64_t>(order.kind)};
  size_t place = 1;
  std::vector<std::byte> bytes;
  for_each_array(order, [&](const auto& array) {
    header[place++] = static_cast<int64_t>(array.size());
    const auto part = std::as_bytes(std::span(array));
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  FATHOM_RETURN_IF_ERROR(communicator.broadcast(bytes_of(header), 0));
  return communicator.broadcast(bytes, 0);
}

Status receive_order(Communicator& communicator, StepOrder& order) {
  Header header{};
  FATHOM_RETURN_IF_ERROR(communicator.broadcast(bytes_of(header), 0));
  order.kind = static_cast<StepOrder::Kind>(header[0]);
  size_t place = 1;
  size_t num_bytes = 0;
  for_each_array(order, [&](auto& array) {
    array.resize(static_cast<size_t>(header[place++]));
    num_bytes += std::span(array).size_bytes();
  });
  std::vector<std::byte> bytes(num_bytes);
  FATHOM_RETURN_IF_ERROR(communicator.broadcast(bytes, 0));
  const std::byte* from = bytes.data();
  for_each_array(order, [&](auto& array) {
    const auto part = std::as_writable_bytes(std::span(array));
    if (!part.empty()) std::memcpy(part.data(), from, part.size());
    from += part.size();
  });
  return ok_status();
}

}  // namespace fathom
