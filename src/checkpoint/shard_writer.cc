#include "checkpoint/shard_writer.h"

#include "base/check.h"

namespace fathom {

ShardWriter::ShardWriter(int num_buffers)
    : free_buffers_(static_cast<size_t>(num_buffers)), thread_([this] { write_loop(); }) {}

ShardWriter::~ShardWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    tasks_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

Status ShardWriter::error() {
  const std::lock_guard lock(mutex_);
  return error_;
}

Status ShardWriter::begin(const std::string& path, std::span<const TensorDeclaration> tensors,
                          std::string_view belongs_to) {
  FATHOM_CHECK(file_ == nullptr, "{} begins before the file in front of it ends", path);
  FATHOM_RETURN_IF_ERROR(error());
  file_ = std::make_shared<File>();
  FATHOM_ASSIGN_OR_RETURN(file_->writer, SafetensorsWriter::create(path, tensors, belongs_to));
  const std::string_view header = file_->writer->header();
  file_->shard.header_bytes = header.size();
  file_->shard.header_checksum = checksum_of(header);
  file_->shard.file_bytes = SafetensorsWriter::file_bytes(tensors, belongs_to);
  file_->written.resize(tensors.size());
  file_->checksums.resize(tensors.size());
  return ok_status();
}

std::vector<std::byte> ShardWriter::take_buffer() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !free_buffers_.empty(); });
  std::vector<std::byte> buffer = std::move(free_buffers_.back());
  free_buffers_.pop_back();
  return buffer;
}

void ShardWriter::put(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

Status ShardWriter::write(size_t tensor_index, std::vector<std::byte> bytes) {
  put({.file = file_, .tensor_index = tensor_index, .bytes = std::move(bytes), .on_whole = nullptr});
  return error();
}

Status ShardWriter::end(std::function<Status(const WrittenShard&)> on_whole) {
  put({.file = std::move(file_), .tensor_index = 0, .bytes = {}, .on_whole = std::move(on_whole)});
  file_ = nullptr;
  return error();
}

Status ShardWriter::finish() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty() && !working_; });
  }
  // The thread is idle and leaves the future alone now.
  if (flushed_.valid()) {
    const Status flushed = flushed_.get();
    const std::lock_guard lock(mutex_);
    if (error_.ok()) error_ = flushed;
  }
  return error();
}

void ShardWriter::write_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    working_ = true;
    const bool failed = !error_.ok();
    lock.unlock();
    const bool is_piece = task.on_whole == nullptr;
    std::vector<std::byte> buffer;
    Status status;
    if (is_piece) {
      if (!failed) status = write_piece(task);
      buffer = std::move(task.bytes);
    } else if (!failed) {
      status = flush_behind(std::move(task));
    }
    task = {};
    lock.lock();
    if (is_piece) free_buffers_.push_back(std::move(buffer));
    if (error_.ok()) error_ = status;
    working_ = false;
    changed_.notify_all();
  }
}

Status ShardWriter::write_piece(const Task& task) {
  File& file = *task.file;
  const size_t i = task.tensor_index;
  FATHOM_RETURN_IF_ERROR(file.writer->write(i, file.written[i], task.bytes));
  file.written[i] += task.bytes.size();
  file.checksums[i].update(task.bytes);
  return ok_status();
}

// One flush at a time: the disk writes in the order of the files.
Status ShardWriter::flush_behind(Task task) {
  if (flushed_.valid()) FATHOM_RETURN_IF_ERROR(flushed_.get());
  for (const Checksum& checksum : task.file->checksums)
    task.file->shard.tensor_checksums.push_back(checksum.hex());
  task.file->checksums.clear();
  flushed_ = std::async(std::launch::async, [task = std::move(task)]() -> Status {
    FATHOM_RETURN_IF_ERROR(task.file->writer->commit());
    return task.on_whole(task.file->shard);
  });
  return ok_status();
}

}  // namespace fathom
