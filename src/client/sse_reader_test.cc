#include "client/sse_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace fathom {
namespace {

std::vector<std::string> events_of(const std::vector<std::string>& pieces) {
  SseReader reader;
  std::vector<std::string> events;
  for (const std::string& piece : pieces) {
    EXPECT_TRUE(reader.feed(piece).ok());
    while (auto event = reader.next()) events.push_back(*event);
  }
  return events;
}

const std::string kStream =
    "\xef\xbb\xbf"
    "data: {\"a\": 1}\n\n: ping\n\nevent: x\ndata:two\ndata:  lines\nid: 4\n\nretry: 10\n\ndata\n\n"
    "data: crlf\r\n\r\ndata: cr\r\rdatax: no\n\ndata: [DONE]\n\ndata: cut off";
const std::vector<std::string> kEvents = {"{\"a\": 1}", "two\n lines", "", "crlf", "cr", "[DONE]"};

TEST(SseReader, WholeStream) { EXPECT_EQ(events_of({kStream}), kEvents); }

TEST(SseReader, CutAtEveryTwoPlaces) {
  for (size_t i = 0; i <= kStream.size(); ++i) {
    for (size_t j = i; j <= kStream.size(); ++j) {
      ASSERT_EQ(events_of({kStream.substr(0, i), kStream.substr(i, j - i), kStream.substr(j)}), kEvents)
          << i << " " << j;
    }
  }
}

TEST(SseReader, ByteByByte) {
  std::vector<std::string> bytes;
  for (char byte : kStream) bytes.emplace_back(1, byte);
  EXPECT_EQ(events_of(bytes), kEvents);
}

TEST(SseReader, AnEndlessEventIsRefused) {
  constexpr size_t kLimit = 100;
  SseReader one_line(kLimit);
  EXPECT_TRUE(one_line.feed("data: " + std::string(kLimit - 6, 'x')).ok());
  EXPECT_FALSE(one_line.next());
  EXPECT_TRUE(one_line.feed("\n\n").ok());
  EXPECT_EQ(one_line.next()->size(), kLimit - 6);

  SseReader lines(kLimit);
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = lines.feed("data: 12345678\n");
    EXPECT_FALSE(lines.next());
  }
  EXPECT_NE(status.message().find("limit of 100 bytes"), std::string::npos);
}

}  // namespace
}  // namespace fathom
