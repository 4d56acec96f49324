#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/text_input.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr const char* kTokenizeExamples = R"(Examples:
  fathom tokenize models/demo "It was a bright cold day"
  fathom tokenize models/demo --no-bos --json < chapter.txt
  fathom tokenize models/demo --file texts.jsonl --json    one {"text": ".."} a line

Without TEXT and --file, standard input is the text. Prints one line a token: id, then its text as JSON. --json
prints {"ids": [..], "tokens": [..]}, or an array of {"ids": [..]} for a .jsonl file.)";

struct TokenizeFlags {
  std::string model;
  TextInputOptions input;
  bool no_bos = false;
  bool no_special = false;
  bool json = false;
};

// A token's own text; bytes that are no whole character show as U+FFFD.
std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return replace_invalid_utf8(tokenizer.token_bytes(id));
}

void print_one(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool json) {
  if (json) {
    Json tokens = Json::array();
    for (const int32_t id : ids) tokens.push_back(token_text(tokenizer, id));
    print_text(dump_json(Json{{"ids", ids}, {"tokens", std::move(tokens)}}) + "\n");
    return;
  }
  std::string lines;
  for (const int32_t id : ids)
    lines += fmt::format("{:>7} {}\n", id, dump_json(Json(token_text(tokenizer, id))));
  print_text(lines);
}

void print_many(const std::vector<std::vector<int32_t>>& all, bool json) {
  std::string out = json ? "[" : "";
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string ids =
        json ? dump_json(Json{{"ids", all[i]}}) : fmt::format("{}", fmt::join(all[i], " "));
    out += (json && i > 0 ? ",\n" : "") + ids + (json ? "" : "\n");
  }
  print_text(out + (json ? "]\n" : ""));
}

Status tokenize(const TokenizeFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(options.model));
  FATHOM_ASSIGN_OR_RETURN(const TextInput input, read_text_input(options.input));
  const EncodeOptions encode_options = {
      .add_bos = options.no_bos ? AddBos::kNever : AddBos::kAsConfigured,
      .special = options.no_special ? SpecialInText::kAsText : SpecialInText::kParse,
  };
  std::vector<std::vector<int32_t>> all;
  for (const std::string& text : input.texts) {
    FATHOM_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer->encode(text, encode_options));
    all.push_back(std::move(ids));
  }
  if (input.source == TextSource::kOneText) {
    print_one(*tokenizer, all.front(), options.json);
  } else {
    print_many(all, options.json);
  }
  return ok_status();
}

}  // namespace

void add_tokenize_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<TokenizeFlags>();
  CLI::App* command = app.add_subcommand("tokenize", "text to token ids");
  command->footer(kTokenizeExamples);
  command->add_option("MODEL", options->model, "checkpoint folder")->required();
  CLI::Option* text = command->add_option("TEXT", options->input.text, "the text");
  command->add_option("--file", options->input.file, "a text file, or .jsonl with one {\"text\": ..} a line");
  command->add_flag("--no-bos", options->no_bos, "do not put BOS first");
  command->add_flag("--no-special", options->no_special, "special tokens written in the text stay text");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, text, &exit_status] {
    options->input.has_text = text->count() > 0;
    const Status status = tokenize(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom
