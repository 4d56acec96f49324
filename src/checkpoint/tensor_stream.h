// Reads a checkpoint's tensors one after the other ahead of their use, by a thread of its own and past the
// system's cache (base/direct_file.h).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/direct_file.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"

namespace fathom {

// One thread takes and gives back. The checkpoint must outlive it.
class TensorStream {
 public:
  // names: tensors of the checkpoint, each once, about in the order in which they will be taken. At most
  // max_bytes of them are held, or what the taker needs at once. Reading begins here.
  TensorStream(const Checkpoint& checkpoint, std::vector<std::string> names, size_t max_bytes);
  ~TensorStream();
  TensorStream(const TensorStream&) = delete;
  TensorStream& operator=(const TensorStream&) = delete;

  // Waits until the tensor's data has been read; it stays until it is given back. Precondition: one of names,
  // not given back.
  Result<const std::byte*> take(const std::string& name);
  void give_back(const std::string& name);

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  struct Buffer {
    std::unique_ptr<std::byte, Free> memory;
    size_t bytes = 0;
  };
  struct Tensor {
    Buffer buffer;
    const std::byte* data = nullptr;
  };

  void read_all();
  Result<Tensor> read(const std::string& name, Buffer buffer);
  // A free buffer of about that size; without memory where a new one has to be made.
  Buffer find_buffer(size_t bytes);

  const Checkpoint& checkpoint_;
  const std::vector<std::string> names_;
  const size_t max_bytes_;
  std::unordered_map<std::string, size_t> places_;                      // of names_
  std::unordered_map<std::string, std::unique_ptr<DirectFile>> files_;  // by path; of the reading thread

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::unordered_map<std::string, Tensor> tensors_;  // read and not given back
  std::vector<Buffer> free_;
  size_t held_bytes_ = 0;  // of the buffers of tensors_
  size_t wanted_ = 0;      // names up to this place are read whatever is held
  Status failure_;
  bool stopped_ = false;

  std::thread thread_;  // the last member, for it uses all others
};

}  // namespace fathom
