// Runs a fuzz target over the files named on the command line.
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const auto content = fathom::read_file(argv[i], size_t{1} << 30);
    if (!content.ok()) {
      std::fprintf(stderr, "%s\n", content.status().message().c_str());
      return 1;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(content->data()), content->size());
  }
  return 0;
}
