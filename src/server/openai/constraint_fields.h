// The fields by which clients of OpenAI, vLLM, SGLang and llama.cpp say what an answer has to look like.
#pragma once

#include <optional>
#include <string>

#include "constrain/constraint.h"
#include "server/request_fields.h"

namespace fathom {

struct RequestedConstraint {
  ConstraintSpec spec;
  std::string param;  // the field it comes from
};

// response_format, structured_outputs, guided_json|regex|choice|grammar, json_schema, regex, ebnf, grammar;
// at most one may be given. Errors stay with fields. Whether it can be compiled shows later.
std::optional<RequestedConstraint> read_constraint(RequestFields& fields);

}  // namespace fathom
