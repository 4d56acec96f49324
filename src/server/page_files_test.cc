#include "server/page_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace fathom::server {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(FATHOM_SOURCE_DIR) / "src/server/page";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::map<std::string, PageFile> by_path() {
  std::map<std::string, PageFile> files;
  for (const PageFile& file : page_files()) files.emplace(file.path, file);
  return files;
}

TEST(PageFiles, AreTheFolderByteForByte) {
  const auto files = by_path();
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename();
    const auto file = files.find(name == "index.html" ? "/" : "/" + name);
    ASSERT_NE(file, files.end()) << name;
    EXPECT_EQ(file->second.content, read(entry.path())) << name;
    ++count;
  }
  EXPECT_EQ(page_files().size(), count);
  EXPECT_EQ(files.size(), count);
}

TEST(PageFiles, HaveTypesAndTagsOfTheirOwn) {
  const auto files = by_path();
  EXPECT_EQ(files.at("/").content_type, "text/html; charset=utf-8");
  EXPECT_EQ(files.at("/app.js").content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(files.at("/style.css").content_type, "text/css; charset=utf-8");
  EXPECT_EQ(files.at("/icon.svg").content_type, "image/svg+xml");
  std::set<std::string_view> tags;
  for (const PageFile& file : page_files()) {
    EXPECT_TRUE(std::regex_match(std::string(file.etag), std::regex("\"[0-9a-f]{32}\""))) << file.etag;
    tags.insert(file.etag);
  }
  EXPECT_EQ(tags.size(), page_files().size());
}

// Every file that one of them loads is there.
TEST(PageFiles, LoadOnlyEachOther) {
  const auto files = by_path();
  const std::regex loads(R"re((?:src=|href=|from |src: |import )"(?!#)(?:\./)?([^"]*)")re");
  size_t count = 0;
  for (const PageFile& file : page_files()) {
    if (file.path.ends_with(".svg")) continue;
    // Modules that are named up front load at once instead of one import after the other.
    if (file.path.ends_with(".js")) {
      EXPECT_NE(files.at("/").content.find('"' + std::string(file.path.substr(1)) + '"'),
                std::string_view::npos)
          << file.path;
    }
    const std::string text(file.content);
    for (std::sregex_iterator it(text.begin(), text.end(), loads), end; it != end; ++it, ++count) {
      EXPECT_TRUE(files.contains("/" + (*it)[1].str())) << file.path << " loads " << (*it)[1];
    }
  }
  EXPECT_GT(count, 30u);
}

// What the content policy would refuse, and what would open the page to a model's text.
TEST(PageFiles, HoldNoInlineCodeAndNoParsingOfHtml) {
  const std::string index(by_path().at("/").content);
  EXPECT_FALSE(std::regex_search(index, std::regex(R"(<style|\sstyle=|\son[a-z]+=|<script>|javascript:)")));
  const std::regex parsing(
      R"(innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|setAttribute\("style")");
  for (const PageFile& file : page_files()) {
    const std::string text(file.content);
    EXPECT_FALSE(std::regex_search(text, parsing)) << file.path;
    EXPECT_EQ(text.find('\0'), std::string::npos) << file.path;
  }
}

}  // namespace
}  // namespace fathom::server
