// fathom_manifest.json: what a folder that we have made consists of and what its bytes sum up to (XXH3-128),
// itself included.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/shard_writer.h"

namespace fathom {

inline constexpr const char* kManifestName = "fathom_manifest.json";

struct ManifestTensor {
  std::string name;
  uint64_t bytes = 0;
  std::string checksum;
  bool operator==(const ManifestTensor&) const = default;
};

// A file of weights: the checksum is that of the header, the tensors follow behind it in this order. Any
// other file: the checksum is that of the whole file.
struct ManifestFile {
  std::string name;
  uint64_t bytes = 0;
  uint64_t header_bytes = 0;  // 0: not a file of weights
  std::string checksum;
  std::vector<ManifestTensor> tensors;
  bool operator==(const ManifestFile&) const = default;
};

struct Manifest {
  Json options;
  std::vector<ManifestFile> files;
};

// Of a file of weights with those tensors.
ManifestFile manifest_file(std::string name, std::span<const TensorDeclaration> tensors,
                           const WrittenShard& written);

// Of all bytes of a file of weights: the checksum of its checksums, those of the header and of each tensor.
std::string content_digest(const ManifestFile& file);

Json to_json(const ManifestFile& file);
// where starts every message. Refused: anything that to_json() does not write, a name that is a path, tensors
// that do not fill the file.
Result<ManifestFile> manifest_file_from_json(const Json& json, const std::string& where);

// The file's text, and back. Refused: a text whose own checksum is another; what manifest_file_from_json()
// refuses.
std::string write_manifest(const Manifest& manifest);
Result<Manifest> parse_manifest(const std::string& text, const std::string& path);

}  // namespace fathom
