// A folder of its own for one test, removed with everything in it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/file.h"

namespace fathom::testing {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fathom_test_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "cannot make " << pattern;
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return join_path(path_, name); }
  // Writes a file into the folder and returns its path.
  std::string write(std::string_view name, std::string_view text) const {
    const Status status = write_file(file(name), text);
    EXPECT_TRUE(status.ok()) << status.message();
    return file(name);
  }
  // A message without the folder's path.
  std::string cut(std::string message) const {
    for (size_t at; (at = message.find(path_)) != std::string::npos;) message.erase(at, path_.size());
    return message;
  }

 private:
  std::string path_;
};

// The files of a folder by their names, without those of its folders.
inline std::map<std::string, std::string> contents(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file())
      files[entry.path().filename().string()] = *read_file(entry.path().string(), 1 << 24);
  }
  return files;
}

}  // namespace fathom::testing
