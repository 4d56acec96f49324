#include "text/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/unicode_text.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

using ValueKind = Value::Kind;

// Python's repr of a string.
void append_repr(std::string_view text, std::string& out) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    const char32_t c = point.value;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(i, point.length);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
    i += point.length;
  }
  out += quote;
}

// Appends to a text whose growth is counted as it happens.
class Writer {
 public:
  explicit Writer(Arena& arena) : arena_(arena) {}
  std::string& out() { return out_; }
  // Counts what has been appended since the last call.
  Status count() {
    const size_t added = out_.size() - counted_;
    counted_ = out_.size();
    return arena_.charge(added);
  }

 private:
  Arena& arena_;
  std::string out_;
  size_t counted_ = 0;
};

Status write_repr(Writer& writer, const Value& value, int depth);

Status write_items(Writer& writer, const List& items, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) writer.out() += ", ";
    FATHOM_RETURN_IF_ERROR(write_repr(writer, items[i], depth));
  }
  return ok_status();
}

Status write_dict(Writer& writer, const Dict& dict, int depth) {
  writer.out() += '{';
  bool first = true;
  for (const auto& [key, value] : dict.entries()) {
    if (!first) writer.out() += ", ";
    first = false;
    FATHOM_RETURN_IF_ERROR(write_repr(writer, key, depth));
    writer.out() += ": ";
    FATHOM_RETURN_IF_ERROR(write_repr(writer, value, depth));
  }
  writer.out() += '}';
  return ok_status();
}

Status write_repr(Writer& writer, const Value& value, int depth) {
  if (depth > kMaxValueDepth) return value_too_deep();
  std::string& out = writer.out();
  switch (value.kind()) {
    case ValueKind::kUndefined:
      out += "Undefined";
      break;
    case ValueKind::kNone:
      out += "None";
      break;
    case ValueKind::kBool:
      out += value.as_bool() ? "True" : "False";
      break;
    case ValueKind::kInteger:
      out += format_integer(value.as_integer());
      break;
    case ValueKind::kFloat:
      out += format_real(value.as_real());
      break;
    case ValueKind::kString:
      append_repr(value.as_string(), out);
      break;
    case ValueKind::kList:
      out += '[';
      FATHOM_RETURN_IF_ERROR(write_items(writer, value.as_list(), depth + 1));
      out += ']';
      break;
    case ValueKind::kTuple:
      out += '(';
      FATHOM_RETURN_IF_ERROR(write_items(writer, value.as_list(), depth + 1));
      out += value.as_list().size() == 1 ? ",)" : ")";
      break;
    case ValueKind::kDict:
      FATHOM_RETURN_IF_ERROR(write_dict(writer, value.as_dict(), depth + 1));
      break;
    case ValueKind::kNamespace:
      out += "<namespace>";
      break;
    case ValueKind::kCallable:
      out += "<function>";
      break;
  }
  return writer.count();
}

void append_json_string(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    const auto c = static_cast<uint32_t>(point.value);
    constexpr std::string_view kShort = "\"\"\\\\\nn\rr\tt\ff\bb";  // character and its escape letter
    const size_t known = c < 0x80 ? kShort.find(static_cast<char>(c)) : std::string_view::npos;
    if (known != std::string_view::npos && known % 2 == 0) {
      out += '\\';
      out += kShort[known + 1];
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7F && c < 0x10000)) {
      out += fmt::format("\\u{:04x}", c);
    } else if (ensure_ascii && c >= 0x10000) {
      out +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      out += text.substr(i, point.length);
    }
    i += point.length;
  }
  out += '"';
}

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return format_real(value);
}

class JsonWriter {
 public:
  JsonWriter(Arena& arena, const JsonStyle& style) : writer_(arena), style_(style) {}

  Status write(const Value& value, int depth) {
    if (depth > kMaxValueDepth) return value_too_deep();
    std::string& out = writer_.out();
    switch (value.kind()) {
      case ValueKind::kNone:
        out += "null";
        break;
      case ValueKind::kBool:
        out += value.as_bool() ? "true" : "false";
        break;
      case ValueKind::kInteger:
        out += format_integer(value.as_integer());
        break;
      case ValueKind::kFloat:
        out += json_real(value.as_real());
        break;
      case ValueKind::kString:
        append_json_string(value.as_string(), style_.ensure_ascii, out);
        break;
      case ValueKind::kList:
      case ValueKind::kTuple:
        FATHOM_RETURN_IF_ERROR(write_list(value.as_list(), depth));
        break;
      case ValueKind::kDict:
        FATHOM_RETURN_IF_ERROR(write_dict(value.as_dict(), depth));
        break;
      default:
        return invalid_argument("{} cannot be written as JSON", type_name(value));
    }
    return writer_.count();
  }

  std::string take() { return std::move(writer_.out()); }

 private:
  void new_line(int depth) {
    if (!style_.indent) return;
    writer_.out() += '\n';
    for (int i = 0; i < depth; ++i) writer_.out() += *style_.indent;
  }

  Status write_list(const List& items, int depth) {
    if (items.empty()) {
      writer_.out() += "[]";
      return ok_status();
    }
    writer_.out() += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) writer_.out() += style_.item_separator;
      new_line(depth + 1);
      FATHOM_RETURN_IF_ERROR(write(items[i], depth + 1));
    }
    new_line(depth);
    writer_.out() += ']';
    return ok_status();
  }

  Status write_dict(const Dict& dict, int depth) {
    if (dict.entries().empty()) {
      writer_.out() += "{}";
      return ok_status();
    }
    FATHOM_ASSIGN_OR_RETURN(const std::vector<const Dict::Entry*> entries, order(dict));
    writer_.out() += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) writer_.out() += style_.item_separator;
      new_line(depth + 1);
      append_json_string(key_text(entries[i]->first), style_.ensure_ascii, writer_.out());
      writer_.out() += style_.key_separator;
      FATHOM_RETURN_IF_ERROR(write(entries[i]->second, depth + 1));
    }
    new_line(depth);
    writer_.out() += '}';
    return ok_status();
  }

  Result<std::vector<const Dict::Entry*>> order(const Dict& dict) const {
    std::vector<const Dict::Entry*> entries;
    bool strings = true;
    for (const Dict::Entry& entry : dict.entries()) {
      entries.push_back(&entry);
      strings = strings && entry.first.is_string();
    }
    if (!style_.sort_keys) return entries;
    if (!strings) return invalid_argument("keys that are not all strings cannot be sorted");
    std::sort(entries.begin(), entries.end(), [](const Dict::Entry* a, const Dict::Entry* b) {
      return a->first.as_string() < b->first.as_string();
    });
    return entries;
  }

  static std::string key_text(const Value& key) {
    if (key.is_string()) return std::string(key.as_string());
    if (key.is_none()) return "null";
    if (key.kind() == ValueKind::kBool) return key.as_bool() ? "true" : "false";
    return key.is_integral() ? format_integer(key.as_integer()) : json_real(key.as_real());
  }

  Writer writer_;
  const JsonStyle& style_;
};

}  // namespace

std::string format_integer(Integer value) { return fmt::format("{}", value); }

std::string format_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  // Digits as d.ddde+XX, then laid out as Python does: an exponent below -4 or from 16 on stays one.
  const auto written = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string text(buffer, written.ptr);
  const int exponent = std::stoi(text.substr(text.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  std::string result(buffer, fixed.ptr);
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

Result<std::string> to_text(Arena& arena, const Value& value) {
  if (value.is_undefined()) return std::string();
  if (value.is_string()) {
    FATHOM_RETURN_IF_ERROR(arena.charge(value.as_string().size()));
    return std::string(value.as_string());
  }
  Writer writer(arena);
  FATHOM_RETURN_IF_ERROR(write_repr(writer, value, 0));
  return std::move(writer.out());
}

Result<Value> to_string_value(Arena& arena, const Value& value) {
  if (value.is_string()) return value;
  FATHOM_ASSIGN_OR_RETURN(std::string text, to_text(arena, value));
  return arena.keep_charged(std::move(text));
}

Result<std::string> to_json(Arena& arena, const Value& value, const JsonStyle& style) {
  JsonWriter writer(arena, style);
  FATHOM_RETURN_IF_ERROR(writer.write(value, 0));
  return writer.take();
}

}  // namespace fathom::jinja
