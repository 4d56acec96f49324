#include "checkpoint/side_files.h"

#include <algorithm>
#include <filesystem>

#include "base/checksum.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr std::string_view kWeightEndings[] = {".safetensors", ".index.json", ".bin",  ".pt",     ".pth",
                                               ".gguf",        ".h5",         ".onnx", ".msgpack"};

bool is_side_file(std::string_view name) {
  if (name.starts_with('.') || name == "config.json" || name == kManifestName) return false;
  if (name.starts_with("quant_model_description") || name.starts_with("quantization_report.")) return false;
  return std::none_of(std::begin(kWeightEndings), std::end(kWeightEndings),
                      [name](std::string_view ending) { return name.ends_with(ending); });
}

}  // namespace

Result<std::vector<std::string>> side_files(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (is_side_file(name) && file_exists(it->path().string())) names.push_back(name);
  }
  if (error) return io_error("{}: cannot list: {}", directory, error.message());
  std::sort(names.begin(), names.end());
  return names;
}

Result<ManifestFile> copy_side_file(const std::string& from, const std::string& to, const std::string& name) {
  FATHOM_ASSIGN_OR_RETURN(const auto source, InputFile::open(join_path(from, name)));
  FATHOM_ASSIGN_OR_RETURN(const auto copy, FileWriter::create(join_path(to, name)));
  Checksum checksum;
  std::vector<std::byte> piece;
  for (uint64_t done = 0; done < source->size(); done += piece.size()) {
    piece.resize(std::min<uint64_t>(kPieceBytes, source->size() - done));
    FATHOM_RETURN_IF_ERROR(source->read_at(done, piece));
    checksum.update(piece);
    FATHOM_RETURN_IF_ERROR(copy->write(piece));
  }
  FATHOM_RETURN_IF_ERROR(copy->commit());
  return ManifestFile{name, source->size(), 0, checksum.hex(), {}};
}

Result<ManifestFile> write_side_file(const std::string& directory, const std::string& name,
                                     std::string_view text) {
  FATHOM_RETURN_IF_ERROR(write_file(join_path(directory, name), text));
  return ManifestFile{name, text.size(), 0, checksum_of(text), {}};
}

}  // namespace fathom
