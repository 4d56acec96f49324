#include "base/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fathom {

Result<std::unique_ptr<DirectFile>> DirectFile::open(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  int descriptor = ::open(path.c_str(), kFlags | O_DIRECT);
  if (descriptor < 0 && errno == EINVAL) descriptor = ::open(path.c_str(), kFlags);
  if (descriptor < 0) return io_error("{}: cannot open: {}", path, std::strerror(errno));
  std::unique_ptr<DirectFile> file(new DirectFile(path, descriptor));
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    return invalid_data("{}: not a regular file", path);
  }
  return file;
}

DirectFile::~DirectFile() { ::close(descriptor_); }

Result<const std::byte*> DirectFile::read(uint64_t offset, size_t size, std::byte* buffer) const {
  const uint64_t begin = offset / kAlignment * kAlignment;
  const size_t lead = static_cast<size_t>(offset - begin);
  // Whole blocks, as the last one need not be whole where the file ends in it.
  const size_t wanted = (lead + size + kAlignment - 1) / kAlignment * kAlignment;
  size_t done = 0;
  while (done < lead + size) {
    const ssize_t got = ::pread(descriptor_, buffer + done, wanted - done, static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    // Taken at opening, but not for this range.
    if (got < 0 && errno == EINVAL && (::fcntl(descriptor_, F_GETFL) & O_DIRECT) != 0) {
      ::fcntl(descriptor_, F_SETFL, 0);
      continue;
    }
    if (got < 0) return io_error("{}: cannot read at byte {}: {}", path_, begin + done, std::strerror(errno));
    if (got == 0) return io_error("{}: ended at byte {} while it was read", path_, begin + done);
    done += static_cast<size_t>(got);
  }
  return buffer + lead;
}

}  // namespace fathom
