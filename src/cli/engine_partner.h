// An engine of this process in a conversation.
#pragma once

#include "cli/chat_partner.h"
#include "cli/prompt_reader.h"
#include "engine/engine.h"

namespace fathom {

enum class PromptForm { kMessages, kRaw };  // kRaw: the last message as it is, without template and history

class EnginePartner : public ChatPartner {
 public:
  // Both outlive the partner; the engine has no other work.
  EnginePartner(Engine& engine, PromptReader& reader, SamplingParams sampling, PromptForm form)
      : engine_(engine), reader_(reader), sampling_(std::move(sampling)), form_(form) {}

  Result<ChatAnswer> answer(const Json& messages, const TextSink& sink) override;

 private:
  Engine& engine_;
  PromptReader& reader_;
  SamplingParams sampling_;
  PromptForm form_;
};

}  // namespace fathom
