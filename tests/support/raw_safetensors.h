// safetensors files made byte by byte, so that tests can make wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace fathom::testing {

// The length bytes, a header as given and num_data_bytes of data.
inline std::string raw_safetensors(const std::string& header, size_t num_data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  file += header;
  for (size_t i = 0; i < num_data_bytes; ++i) file += static_cast<char>(i % 251);
  return file;
}

// One header entry: "name":{...}
inline std::string raw_entry(const std::string& name, const std::string& dtype, const std::string& shape,
                             const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}";
}

}  // namespace fathom::testing
