// The prompt of a chat: messages of OpenAI's interface, with tools and calls, as the model reads them.
#pragma once

#include <string>
#include <variant>

#include "server/api_error.h"
#include "server/chat/tool_use.h"
#include "server/request_fields.h"
#include "server/served_model.h"

namespace fathom {

// messages, chat_template_kwargs, add_generation_prompt and continue_final_message of the body through the
// model's template, with the tools of use. Marks them as known to fields.
std::variant<ServedModel::Rendered, ApiError> render_chat(const Json& body, RequestFields& fields,
                                                          const ToolUse& use, const ServedModel& model);

// Messages as the template of a model takes them: tools, calls and their results as text where it has no
// place for them. messages is what parse_messages returns.
Json messages_for_template(const Json& messages, const ToolUse& use, const ToolFormat& format);

// What the model is told about tools where its template has no place for them (docs/serving.md).
std::string tools_text(const ToolUse& use);

}  // namespace fathom
