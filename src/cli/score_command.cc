#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <numbers>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/id_list.h"
#include "cli/npy_writer.h"
#include "cli/with_ranks.h"
#include "sample/log_softmax.h"

namespace fathom {
namespace {

constexpr const char* kScoreExamples = R"(Examples:
  fathom score models/demo --text "It was a bright cold day"
  fathom score models/demo --text-file chapter.txt --json
  fathom score models/demo --ids 0,17,4 --out logits.npy

Feeds the tokens in and measures how well each is predicted from those before it. --out writes the logits of every
position, float32 [T, vocab].)";

struct ScoreFlags {
  EngineFlags engine;
  bool has_ids = false;
  std::string ids;
  std::string ids_file;
  std::string text;
  std::string text_file;
  std::string out;
  bool json = false;
};

struct Input {
  std::vector<int32_t> ids;
  std::optional<size_t> text_bytes;  // of a text
};

Result<Input> read_input(const ScoreFlags& options, const Engine& engine) {
  constexpr size_t kMaxBytes = size_t{512} << 20;
  Input input;
  if (options.has_ids) {
    FATHOM_ASSIGN_OR_RETURN(input.ids, parse_id_list(options.ids, "--ids"));
    return input;
  }
  if (!options.ids_file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(options.ids_file, kMaxBytes));
    FATHOM_ASSIGN_OR_RETURN(input.ids, parse_id_list(content, options.ids_file));
    return input;
  }
  std::string text = options.text;
  if (!options.text_file.empty()) {
    FATHOM_ASSIGN_OR_RETURN(text, read_file(options.text_file, kMaxBytes));
  }
  if (engine.tokenizer() == nullptr) {
    return invalid_argument("{}: no tokenizer.json, so only ids can be scored", options.engine.model);
  }
  FATHOM_ASSIGN_OR_RETURN(input.ids, engine.tokenizer()->encode(text, {.special = SpecialInText::kAsText}));
  input.text_bytes = text.size();
  return input;
}

Json summary(const Input& input, double nll) {
  const auto predicted = static_cast<double>(input.ids.size() - 1);
  Json json = {{"tokens", input.ids.size()},
               {"nll", nll},
               {"perplexity", predicted > 0 ? Json(std::exp(nll / predicted)) : Json(nullptr)}};
  if (input.text_bytes && *input.text_bytes > 0) {
    json["bits_per_byte"] = nll / std::numbers::ln2 / static_cast<double>(*input.text_bytes);
  }
  return json;
}

// The negative log-likelihood of all tokens but the first; writes the logits where there is a writer.
Result<double> score_ids(Engine& engine, const std::vector<int32_t>& ids, NpyWriter* writer) {
  const auto width = static_cast<size_t>(engine.config().vocab_size);
  double nll = 0;
  ProgressBar progress;
  FATHOM_RETURN_IF_ERROR(engine.score(ids, [&](int64_t first, std::span<const float> logits) -> Status {
    for (size_t row = 0; row * width < logits.size(); ++row) {
      const size_t next = static_cast<size_t>(first) + row + 1;
      const auto one = logits.subspan(row * width, width);
      if (!all_finite(one)) return invalid_data("the logits at position {} are not finite", next - 1);
      if (next < ids.size()) nll -= LogSoftmax(one).of(one[static_cast<size_t>(ids[next])]);
    }
    const size_t done = static_cast<size_t>(first) + logits.size() / width;
    progress.report("scoring", done * width * sizeof(float), ids.size() * width * sizeof(float));
    return writer != nullptr ? writer->append(logits) : ok_status();
  }));
  return nll;
}

Status score(const ScoreFlags& options, Engine& engine) {
  FATHOM_ASSIGN_OR_RETURN(const Input input, read_input(options, engine));
  std::unique_ptr<NpyWriter> writer;
  if (!options.out.empty()) {
    FATHOM_ASSIGN_OR_RETURN(writer, NpyWriter::create(options.out, static_cast<int64_t>(input.ids.size()),
                                                      engine.config().vocab_size));
  }
  FATHOM_ASSIGN_OR_RETURN(const double nll, score_ids(engine, input.ids, writer.get()));
  if (writer) FATHOM_RETURN_IF_ERROR(writer->commit());
  const Json result = summary(input, nll);
  if (options.json) {
    print_json(result);
    return ok_status();
  }
  for (const auto& [key, value] : result.items()) {
    print_text(fmt::format("{:<14} {}\n", key, dump_json(value)));
  }
  return ok_status();
}

}  // namespace

void add_score_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<ScoreFlags>();
  CLI::App* command = app.add_subcommand("score", "teacher-forced logits and likelihood of a text");
  command->footer(kScoreExamples);
  add_engine_flags(*command, options->engine);
  CLI::Option_group* source = command->add_option_group("Source", "what is scored: one of");
  CLI::Option* ids = source->add_option("--ids", options->ids, "token ids: 1,2,3");
  source->add_option("--ids-file", options->ids_file, "a file of token ids");
  source->add_option("--text", options->text, "a text");
  source->add_option("--text-file", options->text_file, "a file of text");
  source->require_option(1);
  command->add_option("--out", options->out, "write the logits of every position as .npy");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, ids, &exit_status] {
    options->has_ids = ids->count() > 0;
    const Status status =
        with_engine(options->engine, [&](Engine& engine) { return score(*options, engine); });
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
