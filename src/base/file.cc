#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace fathom {
namespace {

struct OpenFile {
  int descriptor;
  size_t size;
};

// O_NONBLOCK: opening a pipe must not hang; the type check then refuses it.
Result<OpenFile> open_regular(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    if (errno == ENOENT) return not_found("{}: no such file", path);
    return io_error("{}: cannot open: {}", path, std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return invalid_data("{}: not a regular file", path);
  }
  return OpenFile{descriptor, static_cast<size_t>(info.st_size)};
}

Status write_all_at(int descriptor, const std::string& name, uint64_t offset,
                    std::span<const std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put =
        ::pwrite(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error("{}: cannot write: {}", name, std::strerror(errno));
    done += static_cast<size_t>(put);
  }
  return ok_status();
}

std::string partial_name(const std::string& path) { return path + ".partial"; }

}  // namespace

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  FATHOM_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  if (file.size > max_bytes) {
    ::close(file.descriptor);
    return invalid_data("{}: file of {} bytes is over the limit of {} bytes", path, file.size, max_bytes);
  }
  std::string text(file.size, '\0');
  size_t done = 0;
  while (done < file.size) {
    const ssize_t got = ::read(file.descriptor, text.data() + done, file.size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      const std::string reason = got == 0 ? "file ended early" : std::strerror(errno);
      ::close(file.descriptor);
      return io_error("{}: cannot read: {}", path, reason);
    }
    done += static_cast<size_t>(got);
  }
  ::close(file.descriptor);
  return text;
}

std::string read_system_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool directory_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

bool path_exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::not_found;
}

Status make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!directory_exists(path)) return io_error("{}: cannot make directory: {}", path, error.message());
  return ok_status();
}

std::string join_path(const std::string& directory, std::string_view name) {
  return (std::filesystem::path(directory) / name).string();
}

void sync_directory(const std::string& path) {
  const int descriptor = ::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

Status check_disk_space(const std::string& path, uint64_t needed_bytes) {
  constexpr uint64_t kSpareBytes = uint64_t{64} << 20;  // the file system's own needs, small files
  std::filesystem::path existing = std::filesystem::absolute(path);
  std::error_code error;
  while (existing.has_relative_path() && !std::filesystem::exists(existing, error))
    existing = existing.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(existing, error);
  if (error) return io_error("{}: cannot read the free disk space: {}", path, error.message());
  if (space.available >= needed_bytes + kSpareBytes) return ok_status();
  return resource_exhausted("{}: the model needs {} MB of disk space, {} MB are free", path,
                            (needed_bytes + kSpareBytes) / 1000000, space.available / 1000000);
}

Result<std::unique_ptr<InputFile>> InputFile::open(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  ::posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<InputFile>(new InputFile(path, file.descriptor, file.size));
}

InputFile::~InputFile() { ::close(descriptor_); }

Status InputFile::read_at(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(descriptor_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return io_error("{}: cannot read at byte {}: {}", path_, offset + done,
                      got == 0 ? "file ended early" : std::strerror(errno));
    }
    done += static_cast<size_t>(got);
  }
  return ok_status();
}

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  if (file.size == 0) {
    ::close(file.descriptor);
    return invalid_data("{}: file is empty", path);
  }
  void* address = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
  if (address == MAP_FAILED) {
    const int map_error = errno;
    ::close(file.descriptor);
    return io_error("{}: cannot map {} bytes: {}", path, file.size, std::strerror(map_error));
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, file.descriptor, static_cast<const std::byte*>(address), file.size));
}

MappedFile::~MappedFile() {
  ::munmap(const_cast<std::byte*>(data_), size_);
  ::close(descriptor_);
}

void MappedFile::prefetch(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<std::unique_ptr<FileWriter>> FileWriter::create(const std::string& path) {
  const int descriptor =
      ::open(partial_name(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) return io_error("{}: cannot create: {}", partial_name(path), std::strerror(errno));
  return std::unique_ptr<FileWriter>(new FileWriter(path, descriptor));
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_name(path_).c_str());
}

Status FileWriter::write(std::span<const std::byte> bytes) {
  FATHOM_RETURN_IF_ERROR(write_at(size_, bytes));
  size_ += bytes.size();
  return ok_status();
}

Status FileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  return write_all_at(descriptor_, partial_name(path_), offset, bytes);
}

Status FileWriter::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status FileWriter::commit() {
  if (::fsync(descriptor_) != 0)
    return io_error("{}: cannot flush: {}", partial_name(path_), std::strerror(errno));
  if (::rename(partial_name(path_).c_str(), path_.c_str()) != 0) {
    return io_error("{}: cannot rename into place: {}", path_, std::strerror(errno));
  }
  ::close(descriptor_);
  descriptor_ = -1;
  sync_directory(std::filesystem::path(path_).parent_path().string());
  return ok_status();
}

Result<std::unique_ptr<ScratchFile>> ScratchFile::create(const std::string& directory, uint64_t num_bytes) {
  std::error_code error;
  const uint64_t free = std::filesystem::space(directory, error).available;
  if (error) return io_error("{}: cannot make a temporary file: {}", directory, error.message());
  if (free < num_bytes) {
    return resource_exhausted("{}: a temporary file of {} bytes is over the {} bytes free there", directory,
                              num_bytes, free);
  }
  std::string path = join_path(directory, "fathom_XXXXXX");
  const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0) {
    return io_error("{}: cannot make a temporary file: {}", directory, std::strerror(errno));
  }
  ::unlink(path.c_str());
  return std::unique_ptr<ScratchFile>(new ScratchFile(directory, descriptor));
}

ScratchFile::~ScratchFile() { ::close(descriptor_); }

Status ScratchFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  return write_all_at(descriptor_, directory_ + ": temporary file", offset, bytes);
}

Status ScratchFile::read_at(uint64_t offset, std::span<std::byte> bytes) const {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return io_error("{}: temporary file: cannot read: {}", directory_,
                      got == 0 ? "file ended early" : std::strerror(errno));
    }
    done += static_cast<size_t>(got);
  }
  return ok_status();
}

Status write_file(const std::string& path, std::string_view text) {
  FATHOM_ASSIGN_OR_RETURN(const auto writer, FileWriter::create(path));
  FATHOM_RETURN_IF_ERROR(writer->write(text));
  return writer->commit();
}

}  // namespace fathom
