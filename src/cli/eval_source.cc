#include "cli/eval_source.h"

#include "cli/console.h"
#include "cli/result_setup.h"
#include "client/openai_api.h"
#include "evaluate/engine_scorer.h"
#include "evaluate/server_scorer.h"

namespace fathom {

Result<EvalSource> eval_by_engine(Engine& engine, const EngineFlags& flags, std::optional<int64_t> batch) {
  EvalSource source;
  source.tokenizer = engine.tokenizer();
  if (source.tokenizer == nullptr) {
    return invalid_argument("{}: no tokenizer.json, which an evaluation needs", flags.model);
  }
  source.max_model_len = engine.max_model_len();
  source.scorer = std::make_unique<EngineScorer>(engine, batch.value_or(flags.max_num_seqs));
  FATHOM_ASSIGN_OR_RETURN(source.setup, result_setup(engine));
  return source;
}

Result<EvalSource> eval_by_server(const EngineFlags& flags, const UrlFlags& url,
                                  std::optional<int64_t> batch) {
  // Reads --max-model-len in all its spellings.
  FATHOM_ASSIGN_OR_RETURN(const EngineOptions options, to_engine_options(flags));
  EvalSource source;
  FATHOM_ASSIGN_OR_RETURN(source.tokenizer_of_folder, Tokenizer::load(flags.model));
  source.tokenizer = source.tokenizer_of_folder.get();
  FATHOM_ASSIGN_OR_RETURN(source.client, make_client(url));
  FATHOM_ASSIGN_OR_RETURN(const ServedModelInfo model, find_model(*source.client, url.model));
  const std::optional<int64_t> max_model_len =
      options.max_model_len ? options.max_model_len : model.max_model_len;
  if (!max_model_len) {
    return invalid_argument("{}: the server does not say how long a sequence may be: give --max-model-len",
                            source.client->url().text());
  }
  source.max_model_len = *max_model_len;
  const ServerScorerOptions scorer{
      .model = model.id, .max_model_len = *max_model_len, .max_at_once = batch.value_or(flags.max_num_seqs)};
  source.scorer = std::make_unique<ServerScorer>(*source.client, *source.tokenizer, scorer);
  source.setup = {{"url", source.client->url().text()}, {"served_model", model.id}};
  return source;
}

}  // namespace fathom
