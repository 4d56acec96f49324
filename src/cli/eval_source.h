// Who answers the questions of `eval`: an engine of our own or a server.
#pragma once

#include <memory>

#include "cli/engine_options.h"
#include "cli/url_flags.h"
#include "evaluate/scorer.h"

namespace fathom {

struct EvalSource {
  std::unique_ptr<HttpClient> client;  // of a server
  std::unique_ptr<Tokenizer> tokenizer_of_folder;
  const Tokenizer* tokenizer = nullptr;
  int64_t max_model_len = 0;
  std::unique_ptr<Scorer> scorer;
  Json setup;  // what decides the answers, for results and for --resume
};

// batch: questions answered together. The engine, borrowed, is that of the flags.
Result<EvalSource> eval_by_engine(Engine& engine, const EngineFlags& flags, std::optional<int64_t> batch);
// Of the folder that flags name, only the tokenizer is read. max_model_len is of use where the server
// does not say it.
Result<EvalSource> eval_by_server(const EngineFlags& flags, const UrlFlags& url,
                                  std::optional<int64_t> batch);

}  // namespace fathom
