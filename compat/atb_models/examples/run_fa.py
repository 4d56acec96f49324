#!/usr/bin/env python3
"""Dialogue test over a contiguous cache: the seed's run_fa.py, on fathom. The engine is that of run_pa.py with pages as long as
the longest sequence, so that each sequence lies in one piece."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from atb_compat import dialogue, fathom, generation, inputs, options, ranks, variables  # noqa: E402
from atb_compat.checkpoint import Checkpoint  # noqa: E402
from atb_compat.fathom import Refusal  # noqa: E402

MAX_PAGE = 4096  # tokens, fathom's limit; longer sequences take several


def make_parser():
    parser = options.Parser(description=__doc__)
    add = parser.add_argument
    add("--model_path", default="", help="weight folder")
    add("--input_texts", "--input_text", nargs="+", default=[inputs.DEFAULT_TEXT], help="texts, or one file of text")
    add("--input_ids", nargs="+", help="token ids, commas inside a request, blanks between requests")
    add("--batch_size", type=options.count, default=1, help="requests computed together")
    add("--max_input_length", type=options.count, default=1024, help="tokens of the longest prompt")
    add("--max_output_length", type=options.count, default=20, help="tokens generated at most")
    add("--max_position_embeddings", type=options.count, help="longest sequence, prompt and answer")
    add("--num_beams", type=options.count, default=1, help="1: fathom has no beam search")
    add("--do_sample", action="store_true", help="sample instead of taking the likeliest token")
    add("--temperature", type=float, default=1.0, help="of sampling")
    add("--top_k", type=int, default=0, help="of sampling; 0: all")
    add("--top_p", type=float, default=1.0, help="of sampling")
    add("--repetition_penalty", type=float, default=1.0, help="above 1 discourages")
    add("--length_penalty", type=float, default=1.0, help="accepted: a part of beam search")
    add("--seed", type=int, default=0, help="of sampling")
    add("--chat_template", default="", help="template text or file, instead of the model's own")
    add("--is_chat_model", action="store_true", help="apply the chat template")
    add("--ignore_eos", action="store_true", help="do not stop at the end token")
    add("--trust_remote_code", action="store_true", help="accepted: no code of a weight folder is ever run")
    return parser


def sampling(given):
    if not given.do_sample:
        return ["--repetition-penalty", given.repetition_penalty]
    return ["--temperature", given.temperature, "--top-k", given.top_k, "--top-p", given.top_p, "--repetition-penalty",
            given.repetition_penalty, "--seed", given.seed]


def main():
    given = make_parser().parse(sys.argv[1:])
    variables.check()
    checkpoint = Checkpoint(given.model_path)
    if given.num_beams != 1:
        raise Refusal(f"--num_beams: {given.num_beams} asks for beam search, which fathom does not have")
    longest = min(given.max_position_embeddings or given.max_input_length + given.max_output_length, checkpoint.max_positions)
    prompts = inputs.from_ids(given.input_ids) if given.input_ids else inputs.from_texts(given.input_texts)
    request = generation.Request(
        model=given.model_path, prompts=prompts, max_tokens=given.max_output_length, batch=given.batch_size, chat=given.is_chat_model,
        ignore_eos=given.ignore_eos,
        warm_up=max(min(given.max_input_length, longest - 2), 0) if variables.is_on("ATB_LLM_BENCHMARK_ENABLE") else 0,
        more=("--max-model-len", longest, "--block-size", min(longest, MAX_PAGE), *sampling(given)))
    dialogue.run(ranks.choose(variables.visible_devices() or 1), request, given.chat_template)


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))
