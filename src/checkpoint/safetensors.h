// One safetensors file, mapped: its tensors by name. Opening checks the whole header; the data is not read.
// Not here: which of several files holds a tensor (checkpoint.h), writing (safetensors_writer.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/safetensors_header.h"
#include "tensor/view.h"

namespace fathom {

// Const after opening: any thread may read. Views stay valid as long as the file object.
class SafetensorsFile {
 public:
  static Result<std::unique_ptr<SafetensorsFile>> open(const std::string& path);

  // By name, ascending.
  std::span<const SafetensorsEntry> entries() const { return header_.entries; }
  // The entry of that name, or null.
  const SafetensorsEntry* find(std::string_view name) const;

  // Refused: a name that is not there, a dtype or a rank we do not use, data not aligned to its element size.
  Result<TensorView> tensor(std::string_view name) const;
  // The same for one of entries().
  Result<TensorView> view(const SafetensorsEntry& entry) const;

  const MappedFile& file() const { return *file_; }
  // The data of one of entries(), whatever its type.
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const {
    return file_->bytes().subspan(header_.data_begin + entry.begin, entry.end - entry.begin);
  }
  const std::string& path() const { return file_->path(); }
  // Of the file's bytes in front of the data.
  std::string header_checksum() const;
  uint64_t data_bytes() const { return file_->bytes().size() - header_.data_begin; }

 private:
  SafetensorsFile(std::unique_ptr<MappedFile> file, SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}
  std::unique_ptr<MappedFile> file_;
  SafetensorsHeader header_;
};

}  // namespace fathom
