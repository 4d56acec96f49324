// Files: whole reads with a limit, read-only mappings, writes that appear under their final name only when
// they are complete, and scratch files without a name. Only regular files are opened, never pipes or devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {

// The whole file; a file larger than max_bytes is an error that names both sizes.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

// A file of /proc or /sys, which says it has no size; empty where it cannot be read. Not for files of users.
std::string read_system_file(const std::string& path);

bool file_exists(const std::string& path);
bool directory_exists(const std::string& path);
// Something of that name is there, whatever it is, a broken link included.
bool path_exists(const std::string& path);
// Makes the directory and its parents; an existing one is fine.
Status make_directories(const std::string& path);
std::string join_path(const std::string& directory, std::string_view name);
// Names in a folder are on disk after this; a file's own content is not meant. Best effort: some file systems
// refuse it.
void sync_directory(const std::string& path);
// Whether the file system that path is on, or will be, has room for a model of that size.
Status check_disk_space(const std::string& path, uint64_t needed_bytes);

// A regular file read at offsets, by any threads. Unlike a mapping, it reports what the disk cannot read.
class InputFile {
 public:
  static Result<std::unique_ptr<InputFile>> open(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  // Fills out with the bytes from offset on; an error where the file has fewer.
  Status read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  InputFile(std::string path, int descriptor, uint64_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}
  std::string path_;
  int descriptor_;
  uint64_t size_;
};

// A read-only private mapping of a regular file. The address stays valid until destruction. A file that
// somebody truncates meanwhile cannot be guarded against here: sizes are checked when it is opened.
class MappedFile {
 public:
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Hints for a part of bytes(), which cost speed at most where the system does not follow them.
  // Will be needed soon: the system starts to read. Returns at once.
  void prefetch(std::span<const std::byte> part) const;
  // Not needed any more: its whole pages leave this process' memory, and stay in the system's cache of files.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(std::string path, int descriptor, const std::byte* data, size_t size)
      : path_(std::move(path)), descriptor_(descriptor), data_(data), size_(size) {}
  std::string path_;
  int descriptor_;
  const std::byte* data_;
  size_t size_;
};

// Writes path through "path.partial" in the same directory: commit() flushes to disk and renames; without
// commit() the destructor removes the partial file. One thread.
class FileWriter {
 public:
  static Result<std::unique_ptr<FileWriter>> create(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  // Appends. On failure (disk full, for one) the message names the path.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  // Writes at a byte offset from the file's start, which may lie beyond its end; write() goes on where it
  // was. Bytes that nothing writes are 0.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  Status commit();
  // What write() has written.
  uint64_t size() const { return size_; }

 private:
  FileWriter(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
  uint64_t size_ = 0;
};

// Bytes for later, on disk where they would not fit into memory: a file without a name, gone with this object
// and with the process, however that ends. One thread.
class ScratchFile {
 public:
  // Refuses, naming both sizes, where the directory's file system has less than num_bytes free.
  static Result<std::unique_ptr<ScratchFile>> create(const std::string& directory, uint64_t num_bytes);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  // Both at a byte offset from the file's start; reading beyond what was written is an error.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  Status read_at(uint64_t offset, std::span<std::byte> bytes) const;

 private:
  ScratchFile(std::string directory, int descriptor)
      : directory_(std::move(directory)), descriptor_(descriptor) {}
  std::string directory_;
  int descriptor_;
};

// The whole text under its final name, or nothing.
Status write_file(const std::string& path, std::string_view text);

}  // namespace fathom
