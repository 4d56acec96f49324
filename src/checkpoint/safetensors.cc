#include "checkpoint/safetensors.h"

#include <algorithm>

#include "base/checksum.h"

namespace fathom {

Result<std::unique_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(auto file, MappedFile::open(path));
  FATHOM_ASSIGN_OR_RETURN(auto header, parse_safetensors_header(file->bytes(), path));
  return std::unique_ptr<SafetensorsFile>(new SafetensorsFile(std::move(file), std::move(header)));
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto& entries = header_.entries;
  const auto found =
      std::lower_bound(entries.begin(), entries.end(), name,
                       [](const SafetensorsEntry& entry, std::string_view key) { return entry.name < key; });
  return found == entries.end() || found->name != name ? nullptr : &*found;
}

Result<TensorView> SafetensorsFile::tensor(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) return not_found("{}: has no tensor {}", path(), show_name(name));
  return view(*entry);
}

Result<TensorView> SafetensorsFile::view(const SafetensorsEntry& entry) const {
  if (!entry.dtype) {
    return unsupported("{}: tensor {} has dtype {}, which is not supported", path(), show_name(entry.name),
                       show_name(entry.dtype_name));
  }
  if (entry.rank > Shape::kMaxRank) {
    return unsupported("{}: tensor {} has {} dimensions, over the limit of {}", path(), show_name(entry.name),
                       entry.rank, Shape::kMaxRank);
  }
  // The mapping begins on a page, so the offset in the file decides. Files of older writers may have a header
  // that is not padded; a copy of their data would cost as much memory as the tensors.
  const uint64_t offset = header_.data_begin + entry.begin;
  if (offset % dtype_bytes(*entry.dtype) != 0) {
    return unsupported(
        "{}: tensor {} lies at byte {}, not a multiple of its element size {}: save the file again with a "
        "current safetensors library",
        path(), show_name(entry.name), offset, dtype_bytes(*entry.dtype));
  }
  const Shape shape(std::span(entry.dimensions.data(), static_cast<size_t>(entry.rank)));
  return TensorView{file_->bytes().data() + offset, *entry.dtype, shape};
}

std::string SafetensorsFile::header_checksum() const {
  Checksum checksum;
  checksum.update(file_->bytes().first(header_.data_begin));
  return checksum.hex();
}

}  // namespace fathom
