// Writes safetensors files one after another while the caller makes their data: a thread of its own writes
// and sums up checksums, another flushes a full file to disk while the next one fills. Memory is bounded by a
// fixed number of buffers.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "checkpoint/safetensors_writer.h"

namespace fathom {

// A file that is whole and on disk.
struct WrittenShard {
  uint64_t file_bytes = 0;
  uint64_t header_bytes = 0;
  std::string header_checksum;                // of the file's bytes in front of the data
  std::vector<std::string> tensor_checksums;  // in the order of the declarations
};

// One calling thread. Without finish() a file that is not whole leaves nothing behind.
class ShardWriter {
 public:
  explicit ShardWriter(int num_buffers);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // Begins a file; belongs_to as SafetensorsWriter::create's. Precondition: the one before has ended.
  Status begin(const std::string& path, std::span<const TensorDeclaration> tensors,
               std::string_view belongs_to = {});
  // A buffer of any size and content, to be given to write(); waits until one is free.
  std::vector<std::byte> take_buffer();
  // Writes the bytes to the tensor of the file that was begun, each tensor from its first byte to its last.
  // Takes the buffer back. An error is that of any earlier piece.
  Status write(size_t tensor_index, std::vector<std::byte> bytes);
  // All of the file's tensors are written. on_whole is called once when the file is on disk under its name,
  // on a thread of the writer; files come in their order, and an error of it counts as one of writing.
  Status end(std::function<Status(const WrittenShard&)> on_whole);
  // Waits until everything is on disk.
  Status finish();

 private:
  struct File {
    std::unique_ptr<SafetensorsWriter> writer;
    std::vector<uint64_t> written;
    std::vector<Checksum> checksums;
    WrittenShard shard;
  };
  struct Task {
    std::shared_ptr<File> file;
    size_t tensor_index = 0;
    std::vector<std::byte> bytes;
    std::function<Status(const WrittenShard&)> on_whole;  // the file's last task, without bytes
  };

  void put(Task task);
  void write_loop();
  Status write_piece(const Task& task);
  Status flush_behind(Task task);
  Status error();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::vector<std::vector<std::byte>> free_buffers_;
  bool working_ = false;  // the thread has taken a task and is not done with it
  bool stopping_ = false;
  Status error_;  // the first

  std::shared_ptr<File> file_;   // of the caller's thread
  std::future<Status> flushed_;  // of the writing thread
  std::thread thread_;
};

}  // namespace fathom
