#include "checkpoint/digests.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>

#include "base/checksum.h"
#include "base/file.h"

namespace fathom {

std::string shape_digest(const Checkpoint& checkpoint) {
  std::string text;
  for (std::string_view name : checkpoint.names()) {
    const auto view = checkpoint.tensor(name);
    if (view.ok()) text += fmt::format("{} {} {}\n", name, to_string(view->shape), dtype_name(view->dtype));
  }
  return checksum_of(text);
}

std::string sample_digest(const Checkpoint& checkpoint) {
  constexpr size_t kMostTensors = 1024;
  constexpr size_t kSampleBytes = 64;
  Checksum sum;
  const size_t step = checkpoint.names().size() / kMostTensors + 1;
  for (size_t i = 0; i < checkpoint.names().size(); i += step) {
    const std::string_view name = checkpoint.names()[i];
    const auto view = checkpoint.tensor(name);
    if (!view.ok()) continue;
    const std::span bytes(static_cast<const std::byte*>(view->data), view->num_bytes());
    const size_t size = std::min(kSampleBytes, bytes.size());
    sum.update(bytes.first(size));
    sum.update(bytes.subspan((bytes.size() - size) / 2, size));
    checkpoint.release(name);  // the system may have mapped much around the samples
  }
  return sum.hex();
}

std::string weights_digest(const Checkpoint& checkpoint) {
  if (const Checkpoint::RankPart* part = checkpoint.rank_part()) return part->folder.checksum;
  return checksum_of(shape_digest(checkpoint) + sample_digest(checkpoint));
}

Result<std::string> settings_digest(const std::string& directory) {
  constexpr std::string_view kSettings[] = {"chat_template.jinja", "config.json", "generation_config.json",
                                            "tokenizer.json", "tokenizer_config.json"};
  constexpr size_t kMaxBytes = size_t{1} << 30;
  std::set<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    const bool counts = std::find(std::begin(kSettings), std::end(kSettings), name) != std::end(kSettings);
    if (counts || name.starts_with("quant_model_description")) names.insert(std::move(name));
  }
  if (error) return io_error("{}: cannot list: {}", directory, error.message());
  std::string text;
  for (const std::string& name : names) {
    FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(join_path(directory, name), kMaxBytes));
    text += fmt::format("{} {}\n", name, checksum_of(content));
  }
  return checksum_of(text);
}

}  // namespace fathom
