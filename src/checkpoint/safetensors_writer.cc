#include "checkpoint/safetensors_writer.h"

#include <cstring>
#include <unordered_set>

#include "base/check.h"
#include "base/json.h"
#include "checkpoint/safetensors_header.h"

namespace fathom {
namespace {

constexpr size_t kDataAlignment = 64;

// The eight length bytes, the JSON and its padding. Written by hand: an ordered JSON object searches all its
// keys at each insertion.
std::string header_text(std::span<const TensorDeclaration> tensors, std::string_view belongs_to) {
  std::string text(sizeof(uint64_t), '\0');
  text += R"({"__metadata__":{"format":"pt")";
  if (!belongs_to.empty()) text += fmt::format(R"(,"belongs_to":"{}")", belongs_to);
  text += '}';
  uint64_t begin = 0;
  for (const TensorDeclaration& tensor : tensors) {
    const uint64_t end = begin + tensor.num_bytes();
    text +=
        fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", dump_json(Json(tensor.name)),
                    safetensors_name(tensor.dtype), to_string(tensor.shape), begin, end);
    begin = end;
  }
  text += '}';
  while (text.size() % kDataAlignment != 0) text += ' ';
  const uint64_t length = text.size() - sizeof(uint64_t);
  std::memcpy(text.data(), &length, sizeof(length));
  return text;
}

Status check_declarations(const std::string& path, std::span<const TensorDeclaration> tensors) {
  std::unordered_set<std::string_view> names;
  uint64_t begin = 0;
  for (const TensorDeclaration& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return invalid_argument("{}: tensor {} is declared twice", path, show_name(tensor.name));
    }
    if (begin % dtype_bytes(tensor.dtype) != 0) {
      return invalid_argument("{}: tensor {} would begin at byte {}, not a multiple of its element size {}",
                              path, show_name(tensor.name), begin, dtype_bytes(tensor.dtype));
    }
    begin += tensor.num_bytes();
  }
  return ok_status();
}

uint64_t sum_bytes(std::span<const TensorDeclaration> tensors) {
  uint64_t sum = 0;
  for (const TensorDeclaration& tensor : tensors) sum += tensor.num_bytes();
  return sum;
}

}  // namespace

Result<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::create(
    const std::string& path, std::span<const TensorDeclaration> tensors, std::string_view belongs_to) {
  FATHOM_RETURN_IF_ERROR(check_declarations(path, tensors));
  std::string header = header_text(tensors, belongs_to);
  if (header.size() > kMaxSafetensorsHeaderBytes) {
    return invalid_argument("{}: header of {} bytes is over the limit of {}: write several files", path,
                            header.size(), kMaxSafetensorsHeaderBytes);
  }
  FATHOM_ASSIGN_OR_RETURN(auto file, FileWriter::create(path));
  FATHOM_RETURN_IF_ERROR(file->write(header));
  std::vector<Extent> extents;
  uint64_t begin = header.size();
  for (const TensorDeclaration& tensor : tensors) {
    extents.push_back({begin, begin + tensor.num_bytes()});
    begin = extents.back().end;
  }
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(std::move(file), std::move(header), std::move(extents)));
}

uint64_t SafetensorsWriter::file_bytes(std::span<const TensorDeclaration> tensors,
                                       std::string_view belongs_to) {
  return header_text(tensors, belongs_to).size() + sum_bytes(tensors);
}

Status SafetensorsWriter::write(size_t tensor_index, uint64_t offset, std::span<const std::byte> bytes) {
  FATHOM_CHECK(tensor_index < extents_.size(), "tensor {} of {}", tensor_index, extents_.size());
  const auto [begin, end] = extents_[tensor_index];
  FATHOM_CHECK(offset <= end - begin && bytes.size() <= end - begin - offset,
               "writing {} bytes from byte {} of a tensor of {}", bytes.size(), offset, end - begin);
  written_ += bytes.size();
  return file_->write_at(begin + offset, bytes);
}

Status SafetensorsWriter::commit() {
  uint64_t declared = 0;
  for (const Extent& extent : extents_) declared += extent.end - extent.begin;
  FATHOM_CHECK(written_ == declared, "{} of {} bytes written", written_, declared);
  return file_->commit();
}

}  // namespace fathom
