#include "text/jinja/template.h"

#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"
#include "text/utf8.h"

namespace fathom::jinja {
namespace {

Status check_text(std::string_view text, std::string_view what) {
  const size_t bad = find_invalid_utf8(text);
  if (bad == std::string_view::npos) return ok_status();
  return invalid_argument("{} is not valid UTF-8 at byte offset {}", what, bad);
}

Result<Value> value_of(const Json& json, Arena& arena, int depth) {
  if (depth > kMaxValueDepth) {
    return invalid_argument("the template's input is nested deeper than the limit of {} levels",
                            kMaxValueDepth);
  }
  switch (json.type()) {
    case Json::value_t::null:
      return Value::none();
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      return Value::integer(json.get<uint64_t>());
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      FATHOM_RETURN_IF_ERROR(check_text(text, "a text of the template's input"));
      return Value::string(text);
    }
    case Json::value_t::array: {
      List items;
      for (const Json& element : json) {
        FATHOM_ASSIGN_OR_RETURN(const Value item, value_of(element, arena, depth + 1));
        items.push_back(item);
      }
      return arena.make_list(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, member] : json.items()) {
        FATHOM_RETURN_IF_ERROR(check_text(key, "a key of the template's input"));
        FATHOM_ASSIGN_OR_RETURN(const Value value, value_of(member, arena, depth + 1));
        dict.set(Value::string(key), value);
      }
      return arena.make_dict(std::move(dict));
    }
    default:
      return invalid_argument("the template's input has a value that JSON does not know");
  }
}

}  // namespace

Result<Template> Template::parse(std::string_view source) {
  constexpr size_t kMaxBytes = Limits().max_source_bytes;
  if (source.size() > kMaxBytes) {
    return invalid_data("the template of {} bytes is over the limit of {} bytes", source.size(), kMaxBytes);
  }
  const size_t bad = find_invalid_utf8(source);
  if (bad != std::string_view::npos)
    return invalid_data("the template is not valid UTF-8 at byte offset {}", bad);
  FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<Program> program, jinja::parse(source));
  return Template(std::move(program));
}

Result<std::string> Template::render(const Json& variables, const RenderOptions& options) const {
  if (!variables.is_object()) return invalid_argument("the template's variables are not an object");
  Evaluator evaluator(*program_, options.limits, options.now);
  FATHOM_ASSIGN_OR_RETURN(const Value values, value_of(variables, evaluator.arena(), 0));
  return evaluator.render(values.as_dict());
}

}  // namespace fathom::jinja
