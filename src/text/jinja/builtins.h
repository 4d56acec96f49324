// What templates can use by name: filters, tests, functions, and the methods of strings, lists and dicts.
#pragma once

#include <string_view>

#include "base/status.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

class Evaluator;

using FilterFunction = Result<Value> (*)(Evaluator& evaluator, const Value& value,
                                         const Arguments& arguments);
using TestFunction = Result<bool> (*)(Evaluator& evaluator, const Value& value, const Arguments& arguments);
using Function = Result<Value> (*)(Evaluator& evaluator, const Arguments& arguments);
using Method = FilterFunction;  // value: what the method belongs to

// nullptr: there is none of this name.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);
Function find_function(std::string_view name);
// Methods that change their value, and all whose names begin with "_", do not exist.
Method find_method(const Value& value, std::string_view name);

// The tables find_filter() looks in, one per file.
FilterFunction find_text_filter(std::string_view name);
FilterFunction find_list_filter(std::string_view name);
FilterFunction find_select_filter(std::string_view name);
FilterFunction find_number_filter(std::string_view name);
Method find_string_method(std::string_view name);
Method find_dict_method(std::string_view name);
Method find_list_method(std::string_view name);

// As values to call.
Result<Value> make_function(Evaluator& evaluator, Function function);
Result<Value> make_method(Evaluator& evaluator, const Value& self, Method method);

}  // namespace fathom::jinja
