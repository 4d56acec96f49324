#include "kernels/probes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <set>
#include <string>

namespace fathom::kernels {
namespace {

TEST(Probes, EveryOneOfThisCpuCountsItsOperations) {
  const CpuFeatures features = detect_cpu_features();
  std::set<std::string> names;
  for (const ComputeProbe& probe : compute_probes()) {
    EXPECT_TRUE(names.insert(probe.name).second) << probe.name;
    if (!probe.available(features)) continue;
    const double one = probe.run(1);
    EXPECT_GT(one, 0) << probe.name;
    EXPECT_EQ(probe.run(7), 7 * one) << probe.name;
    EXPECT_EQ(probe.run(0), 0) << probe.name;
  }
}

TEST(Probes, ACpuWithoutAnythingStillReads) {
  for (const ComputeProbe& probe : compute_probes())
    EXPECT_FALSE(probe.available(CpuFeatures{})) << probe.name;
  EXPECT_STREQ(widest_read_probe(CpuFeatures{}).name, "words");
}

// Memory just outside the range belongs to nobody: the address sanitizer reports a reader that goes beyond.
TEST(Probes, ReadersStayInside) {
  const CpuFeatures features = detect_cpu_features();
  std::set<const ReadProbe*> readers = {&widest_read_probe(CpuFeatures{}), &widest_read_probe(features)};
  CpuFeatures narrow;
  narrow.avx2 = features.avx2;
  readers.insert(&widest_read_probe(narrow));
  constexpr int64_t kBytes = 4 * kReadStepBytes;
  const auto deleter = [](char* p) { ::operator delete (p, std::align_val_t{64}); };
  const std::unique_ptr<char, decltype(deleter)> data(
      static_cast<char*>(::operator new (kBytes, std::align_val_t{64})), deleter);
  std::fill_n(data.get(), kBytes, 1);
  for (const ReadProbe* reader : readers) {
    for (int num_streams : {1, 2, 4}) {
      for (bool fetches_ahead : {false, true}) {
        reader->run({.data = data.get(),
                     .bytes = kBytes,
                     .num_streams = num_streams,
                     .fetches_ahead = fetches_ahead});
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kernels
