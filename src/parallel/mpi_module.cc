// The transport over MPI: the only file that includes it, built as the module libfathom_mpi.so.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <cstring>
#include <map>

#include "parallel/mpi_transport.h"

namespace fathom {
namespace {

Status check(int code, const char* call) {
  if (code == MPI_SUCCESS) return ok_status();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return io_error("{}: {}", call, std::string_view(text, static_cast<size_t>(length)));
}

class MpiTransfer : public Transfer {
 public:
  enum class Direction { kSend, kReceive };
  MpiTransfer(MPI_Request request, int code, Direction direction)
      : request_(request), code_(code), direction_(direction) {}
  ~MpiTransfer() override {
    if (request_ == MPI_REQUEST_NULL) return;
    if (direction_ == Direction::kReceive) MPI_Cancel(&request_);
    MPI_Request_free(&request_);
  }

  Result<bool> done() override {
    FATHOM_RETURN_IF_ERROR(check(code_, "starting a message"));
    int flag = 0;
    FATHOM_RETURN_IF_ERROR(check(MPI_Test(&request_, &flag, MPI_STATUS_IGNORE), "MPI_Test"));
    return flag != 0;
  }

 private:
  MPI_Request request_;
  int code_;
  Direction direction_;
};

class MpiTransport : public Transport {
 public:
  Status open();
  const NodeLayout& layout() const override { return layout_; }
  Result<std::span<std::byte>> make_window(size_t num_bytes) override;
  std::unique_ptr<Transfer> send(int to, Channel channel, std::span<const std::byte> bytes) override {
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, to, 0,
                               communicator(channel), &request);
    return std::make_unique<MpiTransfer>(request, code, MpiTransfer::Direction::kSend);
  }
  std::unique_ptr<Transfer> receive(int from, Channel channel, std::span<std::byte> bytes) override {
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Irecv(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, from, 0,
                               communicator(channel), &request);
    return std::make_unique<MpiTransfer>(request, code, MpiTransfer::Direction::kReceive);
  }
  Status library_sum(std::span<float> values) override {
    return check(MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT,
                               MPI_SUM, MPI_COMM_WORLD),
                 "MPI_Allreduce");
  }
  void close() override;

 private:
  MPI_Comm communicator(Channel channel) const { return channel == Channel::kData ? data_ : beats_; }
  Status find_nodes();

  NodeLayout layout_;
  MPI_Comm data_ = MPI_COMM_NULL;
  MPI_Comm beats_ = MPI_COMM_NULL;
  MPI_Comm node_ = MPI_COMM_NULL;
  std::vector<MPI_Win> windows_;
};

Status MpiTransport::open() {
  int provided = 0;
  FATHOM_RETURN_IF_ERROR(
      check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread"));
  if (provided < MPI_THREAD_MULTIPLE) return unsupported("this MPI serves one thread only");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // the others inherit it
  FATHOM_RETURN_IF_ERROR(check(MPI_Comm_dup(MPI_COMM_WORLD, &data_), "MPI_Comm_dup"));
  FATHOM_RETURN_IF_ERROR(check(MPI_Comm_dup(MPI_COMM_WORLD, &beats_), "MPI_Comm_dup"));
  MPI_Comm_rank(MPI_COMM_WORLD, &layout_.rank);
  FATHOM_RETURN_IF_ERROR(
      check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, layout_.rank, MPI_INFO_NULL, &node_),
            "MPI_Comm_split_type"));
  return find_nodes();
}

Status MpiTransport::find_nodes() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int leader = layout_.rank;
  FATHOM_RETURN_IF_ERROR(check(MPI_Bcast(&leader, 1, MPI_INT, 0, node_), "MPI_Bcast"));
  std::vector<int> leaders(static_cast<size_t>(size));
  FATHOM_RETURN_IF_ERROR(
      check(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather"));
  std::map<int, int> nodes;  // by leader
  layout_.node_of.clear();
  for (int of_rank : leaders)
    layout_.node_of.push_back(nodes.try_emplace(of_rank, static_cast<int>(nodes.size())).first->second);
  return ok_status();
}

Result<std::span<std::byte>> MpiTransport::make_window(size_t num_bytes) {
  int index = 0;
  MPI_Comm_rank(node_, &index);
  void* base = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  const MPI_Aint mine = index == 0 ? static_cast<MPI_Aint>(num_bytes) : 0;
  FATHOM_RETURN_IF_ERROR(check(MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, node_, &base, &window),
                               "MPI_Win_allocate_shared"));
  windows_.push_back(window);
  MPI_Aint size = 0;
  int unit = 0;
  FATHOM_RETURN_IF_ERROR(check(MPI_Win_shared_query(window, 0, &size, &unit, &base), "MPI_Win_shared_query"));
  if (index == 0) std::memset(base, 0, num_bytes);
  FATHOM_RETURN_IF_ERROR(check(MPI_Barrier(node_), "MPI_Barrier"));
  return std::span(static_cast<std::byte*>(base), num_bytes);
}

void MpiTransport::close() {
  for (MPI_Win& window : windows_) MPI_Win_free(&window);
  for (MPI_Comm* communicator : {&data_, &beats_, &node_}) MPI_Comm_free(communicator);
  MPI_Finalize();
}

}  // namespace
}  // namespace fathom

extern "C" __attribute__((visibility("default"))) fathom::Transport* fathom_open_mpi(std::string* error) {
  auto transport = std::make_unique<fathom::MpiTransport>();
  const fathom::Status status = transport->open();
  if (status.ok()) return transport.release();
  *error = status.message();
  return nullptr;
}
