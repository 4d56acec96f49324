#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/id_list.h"
#include "cli/text_input.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

constexpr const char* kDetokenizeExamples = R"(Examples:
  fathom detokenize models/demo --ids 17,4,250
  fathom tokenize models/demo --json "some text" | fathom detokenize models/demo

Without --ids, standard input holds ids between any of spaces, commas and brackets, or the JSON of tokenize.
Prints the text as it is, without a line end of its own; --json prints {"text": ".."}.)";

constexpr size_t kMaxIdBytes = size_t{512} << 20;

struct DetokenizeFlags {
  std::string model;
  std::string ids;
  bool no_special = false;
  bool json = false;
};

Status check_ids(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      return invalid_argument("token id {} is outside [0, {})", id, tokenizer.vocab_size());
    }
  }
  return ok_status();
}

// {"ids": [..], ..}, as tokenize --json prints it, reduced to the list.
Result<std::string> ids_of_json(const std::string& text) {
  FATHOM_ASSIGN_OR_RETURN(const Json value, parse_json(text, "standard input", {.max_bytes = kMaxIdBytes}));
  if (!value.contains("ids") || !value["ids"].is_array()) {
    return invalid_data("standard input: no list \"ids\" in the JSON object");
  }
  return dump_json(value["ids"]);
}

Status detokenize(const DetokenizeFlags& options, bool has_ids) {
  FATHOM_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(options.model));
  std::string text = options.ids;
  if (!has_ids) {
    FATHOM_ASSIGN_OR_RETURN(text, read_stdin(kMaxIdBytes));
    const size_t first = text.find_first_not_of(" \t\r\n");
    if (first != std::string::npos && text[first] == '{') {
      FATHOM_ASSIGN_OR_RETURN(text, ids_of_json(text));
    }
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          parse_id_list(text, has_ids ? "--ids" : "standard input"));
  FATHOM_RETURN_IF_ERROR(check_ids(ids, *tokenizer));
  const std::string decoded =
      tokenizer->decode(ids, options.no_special ? SpecialInOutput::kSkip : SpecialInOutput::kKeep);
  if (options.json) {
    print_json(Json{{"text", decoded}});
  } else {
    print_text(decoded);
  }
  return ok_status();
}

}  // namespace

void add_detokenize_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<DetokenizeFlags>();
  CLI::App* command = app.add_subcommand("detokenize", "token ids to text");
  command->footer(kDetokenizeExamples);
  command->add_option("MODEL", options->model, "checkpoint folder")->required();
  CLI::Option* ids = command->add_option("--ids", options->ids, "ids, as 17,4,250");
  command->add_flag("--no-special", options->no_special, "leave special tokens out");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, ids, &exit_status] {
    const Status status = detokenize(*options, ids->count() > 0);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
