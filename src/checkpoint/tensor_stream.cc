#include "checkpoint/tensor_stream.h"

#include <algorithm>
#include <new>

#include "base/check.h"

namespace fathom {
namespace {

constexpr std::align_val_t kAlignment{DirectFile::kAlignment};
// A buffer is used again for tensors down to this part of its size.
constexpr size_t kLargestWaste = 2;

}  // namespace

void TensorStream::Free::operator()(std::byte* data) const { ::operator delete(data, kAlignment); }

TensorStream::TensorStream(const Checkpoint& checkpoint, std::vector<std::string> names, size_t max_bytes)
    : checkpoint_(checkpoint), names_(std::move(names)), max_bytes_(max_bytes) {
  for (size_t i = 0; i < names_.size(); ++i) places_.emplace(names_[i], i);
  thread_ = std::thread([this] { read_all(); });
}

TensorStream::~TensorStream() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void TensorStream::read_all() {
  for (size_t i = 0; i < names_.size(); ++i) {
    const std::string& name = names_[i];
    const size_t bytes = DirectFile::buffer_bytes(checkpoint_.extent_of(name).size);
    Buffer buffer;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopped_ || i <= wanted_ || held_bytes_ + bytes <= max_bytes_; });
      if (stopped_) return;
      buffer = find_buffer(bytes);
    }
    Result<Tensor> tensor = read(name, std::move(buffer));
    {
      const std::lock_guard lock(mutex_);
      if (!tensor.ok()) {
        failure_ = tensor.status();
        stopped_ = true;
      } else {
        held_bytes_ += tensor->buffer.bytes;
        tensors_.emplace(name, std::move(tensor).value());
      }
    }
    changed_.notify_all();
    if (!failure_.ok()) return;
  }
}

Result<TensorStream::Tensor> TensorStream::read(const std::string& name, Buffer buffer) {
  const std::string& path = checkpoint_.file_of(name);
  const Checkpoint::Extent extent = checkpoint_.extent_of(name);
  if (buffer.memory == nullptr) {
    buffer.bytes = DirectFile::buffer_bytes(extent.size);
    buffer.memory.reset(static_cast<std::byte*>(::operator new(buffer.bytes, kAlignment, std::nothrow)));
    if (buffer.memory == nullptr) {
      return resource_exhausted("{}: no memory for the {} bytes of tensor \"{}\"", path, buffer.bytes, name);
    }
  }
  auto& file = files_[path];
  if (file == nullptr) {
    FATHOM_ASSIGN_OR_RETURN(file, DirectFile::open(path));
  }
  Tensor tensor{.buffer = std::move(buffer)};
  FATHOM_ASSIGN_OR_RETURN(tensor.data, file->read(extent.offset, extent.size, tensor.buffer.memory.get()));
  return tensor;
}

TensorStream::Buffer TensorStream::find_buffer(size_t bytes) {
  const auto fits = [bytes](const Buffer& buffer) {
    return buffer.bytes >= bytes && buffer.bytes / kLargestWaste <= bytes;
  };
  const auto found = std::find_if(free_.begin(), free_.end(), fits);
  if (found == free_.end()) {
    // A new one, in the place of those that do not fit if need be.
    size_t total = held_bytes_ + bytes;
    for (const Buffer& buffer : free_) total += buffer.bytes;
    while (!free_.empty() && total > max_bytes_) {
      total -= free_.front().bytes;
      free_.erase(free_.begin());
    }
    return {};
  }
  Buffer buffer = std::move(*found);
  free_.erase(found);
  return buffer;
}

Result<const std::byte*> TensorStream::take(const std::string& name) {
  const auto place = places_.find(name);
  FATHOM_CHECK(place != places_.end(), "{} is not streamed", name);
  std::unique_lock lock(mutex_);
  wanted_ = std::max(wanted_, place->second);
  changed_.notify_all();
  changed_.wait(lock, [&] { return tensors_.contains(name) || !failure_.ok(); });
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return failure_;
  return found->second.data;
}

void TensorStream::give_back(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = tensors_.find(name);
    FATHOM_CHECK(found != tensors_.end(), "{} is not held", name);
    held_bytes_ -= found->second.buffer.bytes;
    free_.push_back(std::move(found->second.buffer));
    tensors_.erase(found);
  }
  changed_.notify_all();
}

}  // namespace fathom
