#include "text/utf8.h"

namespace fathom {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

unsigned byte_at(std::string_view bytes, size_t index) { return static_cast<unsigned char>(bytes[index]); }

bool in_range(unsigned value, unsigned low, unsigned high) { return value >= low && value <= high; }

// How many bytes the lead byte asks for, and the range of the second byte (Unicode, table 3-7).
struct LeadByte {
  size_t length;  // 0: never a lead byte
  unsigned second_low;
  unsigned second_high;
};

LeadByte classify_lead(unsigned lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (in_range(lead, 0xC2, 0xDF)) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (in_range(lead, 0xE1, 0xEF)) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (in_range(lead, 0xF1, 0xF3)) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Scan scan_utf8(std::string_view bytes) {
  using Kind = Utf8Scan::Kind;
  const LeadByte lead = classify_lead(byte_at(bytes, 0));
  if (lead.length == 0) return {Kind::kInvalid, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Kind::kTruncated, i};
    const unsigned low = i == 1 ? lead.second_low : 0x80;
    const unsigned high = i == 1 ? lead.second_high : 0xBF;
    if (!in_range(byte_at(bytes, i), low, high)) return {Kind::kInvalid, i};
  }
  return {Kind::kComplete, lead.length};
}

size_t find_invalid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (byte_at(text, i) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Scan scan = scan_utf8(text.substr(i));
    if (scan.kind != Utf8Scan::Kind::kComplete) return i;
    i += scan.length;
  }
  return std::string_view::npos;
}

CodePoint decode_utf8(std::string_view text, size_t offset) {
  const unsigned lead = byte_at(text, offset);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t value = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) value = (value << 6) | (byte_at(text, offset + i) & 0x3F);
  return {value, length};
}

void append_utf8(char32_t value, std::string& out) {
  if (value < 0x80) {
    out += static_cast<char>(value);
  } else if (value < 0x800) {
    out += static_cast<char>(0xC0 | (value >> 6));
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    out += static_cast<char>(0xE0 | (value >> 12));
    out += static_cast<char>(0x80 | ((value >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (value >> 18));
    out += static_cast<char>(0x80 | ((value >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((value >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  }
}

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_ + std::string(bytes);
    bytes = joined;
    pending_.clear();
  }
  size_t i = 0;
  while (i < bytes.size()) {
    const Utf8Scan scan = scan_utf8(bytes.substr(i));
    if (scan.kind == Utf8Scan::Kind::kTruncated) {
      pending_ = std::string(bytes.substr(i));
      return;
    }
    out += scan.kind == Utf8Scan::Kind::kComplete ? bytes.substr(i, scan.length) : kReplacement;
    i += scan.length;
  }
}

void Utf8Stream::flush(std::string& out) {
  if (!pending_.empty()) out += kReplacement;
  pending_.clear();
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  Utf8Stream stream;
  stream.push(bytes, out);
  stream.flush(out);
  return out;
}

}  // namespace fathom
