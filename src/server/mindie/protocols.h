// The protocols of MindIE Service: what a body asks for, and how the answer is to be written. Pure functions,
// any thread.
#pragma once

#include "server/mindie/answer.h"

namespace fathom::mindie {

enum class TgiPath {
  kRoot,      // "/": the whole answer is a list of one
  kGenerate,  // "/generate"
  kStream,    // "/generate_stream": a stream always
};
Parsed parse_tgi(TgiPath path, const Json& body, const Context& context);

// The simple server of old vLLM: "/generate" with a prompt.
Parsed parse_vllm(const Json& body, const Context& context);

enum class TritonPath { kGenerate, kStream };
Parsed parse_triton_text(TritonPath path, const Json& body, const Context& context);
// Token ids in and out.
Parsed parse_triton_tokens(const Json& body, const Context& context);

// MindIE's own, "/infer" and "/infer_token": a text or token ids.
Parsed parse_native(const Json& body, const Context& context);

}  // namespace fathom::mindie
