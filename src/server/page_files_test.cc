#include "server/page_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
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
    ASSERT_EQ(file.etag.size(), 34u) << file.etag;
    EXPECT_EQ(file.etag.find_first_not_of("0123456789abcdef", 1), 33u) << file.etag;
    EXPECT_TRUE(file.etag.starts_with('"') && file.etag.ends_with('"')) << file.etag;
    tags.insert(file.etag);
  }
  EXPECT_EQ(tags.size(), page_files().size());
}

// The quoted names that follow a word which loads, without "./"; links to places of the page itself are left
// out.
std::set<std::string> loaded(std::string_view text) {
  std::set<std::string> names;
  for (const std::string_view word : {"src=\"", "href=\"", "from \"", "src: \"", "import \""}) {
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
      std::string_view name = text.substr(at + word.size());
      name = name.substr(0, name.find('"'));
      if (name.starts_with("./")) name.remove_prefix(2);
      if (!name.starts_with('#')) names.emplace(name);
    }
  }
  return names;
}

TEST(PageFiles, LoadOnlyEachOther) {
  const auto files = by_path();
  size_t count = 0;
  for (const PageFile& file : page_files()) {
    if (file.path.ends_with(".svg")) continue;
    for (const std::string& name : loaded(file.content)) {
      EXPECT_TRUE(files.contains("/" + name)) << file.path << " loads " << name;
      ++count;
    }
  }
  EXPECT_GT(count, 2 * files.size());
}

// Modules that index.html names load at once instead of one import after the other.
TEST(PageFiles, AreAllNamedByTheIndex) {
  const auto named = loaded(by_path().at("/").content);
  for (const PageFile& file : page_files()) {
    if (file.path == "/") continue;
    EXPECT_TRUE(named.contains(std::string(file.path.substr(1)))) << file.path;
  }
}

// What the content policy would refuse, and what would open the page to a model's text.
TEST(PageFiles, HoldNoInlineCodeAndNoParsingOfHtml) {
  const auto files = by_path();
  for (const std::string_view inlined :
       {"<style", " style=", " onload=", " onclick=", " onerror=", "<script>", "javascript:"}) {
    EXPECT_EQ(files.at("/").content.find(inlined), std::string_view::npos) << inlined;
  }
  const std::string_view parsing[] = {"innerHTML",
                                      "outerHTML",
                                      "insertAdjacentHTML",
                                      "setHTMLUnsafe",
                                      "createContextualFragment",
                                      "document.write",
                                      "DOMParser",
                                      "eval(",
                                      "new Function",
                                      "srcdoc",
                                      "setAttribute(\"style"};
  for (const PageFile& file : page_files()) {
    for (const std::string_view call : parsing)
      EXPECT_EQ(file.content.find(call), std::string_view::npos) << file.path << ": " << call;
    EXPECT_EQ(file.content.find('\0'), std::string_view::npos) << file.path;
  }
}

}  // namespace
}  // namespace fathom::server
