#!/usr/bin/env python3
"""Dialogue test over the paged latent cache: the seed's run_pa.py, on fathom."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from atb_compat import dialogue, fathom, generation, inputs, options, ranks, variables  # noqa: E402
from atb_compat.checkpoint import Checkpoint  # noqa: E402
from atb_compat.fathom import Refusal  # noqa: E402

WIDE_BLOCK = 576
MAX_KW_ARGS = 4096


def make_parser():
    parser = options.Parser(description=__doc__)
    add = parser.add_argument
    add("--model_path", default="", help="weight folder")
    add("--input_texts", nargs="+", default=[inputs.DEFAULT_TEXT], help="texts, or one file of text")
    add("--input_ids", nargs="+", help="token ids, commas inside a request, blanks between requests")
    add("--input_file", help="jsonl, a list of {role, content} a line; with --is_chat_model")
    add("--input_dict", help="texts with LoRA adapters: refused")
    add("--max_prefill_batch_size", type=options.count, help="accepted: prompts share steps by tokens, see --max_prefill_tokens")
    add("--max_batch_size", type=options.count, default=1, help="requests computed together")
    add("--max_input_length", type=options.count, default=1024, help="tokens of the warm-up, where times are measured")
    add("--max_output_length", type=options.count, default=20, help="tokens generated at most")
    add("--max_position_embeddings", type=options.count, help="longest sequence, prompt and answer")
    add("--max_prefill_tokens", type=int, default=-1, help="tokens of one step; -1: fathom's default")
    add("--block_size", type=options.count, default=128, help="tokens of a cache block")
    add("--chat_template", default="", help="template text or file, instead of the model's own")
    add("--ignore_eos", action="store_true", help="do not stop at the end token")
    add("--is_chat_model", action="store_true", help="apply the chat template")
    add("--is_embedding_model", action="store_true", help="refused")
    add("--load_tokenizer", type=options.boolean, default=True, help="false: ids in and ids out")
    add("--enable_atb_torch", action="store_true", help="accepted: there is one graph")
    add("--trust_remote_code", action="store_true", help="accepted: no code of a weight folder is ever run")
    for degree in ranks.DEGREES:
        add(f"--{degree}", type=int, default=-1, help="parallel degree")
    add("--kw_args", default="", help="JSON of further settings; fathom knows none")
    add("--lora_modules", help="refused")
    add("--max_loras", type=int, default=0, help="refused")
    add("--max_lora_rank", type=int, default=0, help="refused")
    add("--distributed_enable", action="store_true", help="refused")
    return parser


def check(given):
    no_lora = "fathom has no LoRA adapters"
    options.refuse_given(given, {
        "input_dict": no_lora, "lora_modules": no_lora, "max_loras": no_lora, "max_lora_rank": no_lora,
        "is_embedding_model": "DeepSeek-V2 is no embedding model", "distributed_enable": "fathom has no data parallel attention"})
    if len(given.kw_args) > MAX_KW_ARGS:
        raise Refusal(f"--kw_args: {len(given.kw_args)} characters are more than {MAX_KW_ARGS}")
    try:
        keys = sorted(json.loads(given.kw_args or "{}"))
    except (ValueError, TypeError) as error:
        raise Refusal(f"--kw_args: no JSON object: {error}") from error
    if keys:
        raise Refusal(f"--kw_args: fathom does not know \"{keys[0]}\"")
    if given.input_file and not given.is_chat_model:
        raise Refusal("--input_file: conversations need --is_chat_model")
    if not given.load_tokenizer and not given.input_ids:
        raise Refusal("--load_tokenizer: without a tokenizer --input_ids are needed")
    if given.max_prefill_tokens != -1 and not 1 <= given.max_prefill_tokens <= generation.MAX_STEP_TOKENS:
        raise Refusal(f"--max_prefill_tokens: {given.max_prefill_tokens} is neither -1 nor in [1, {generation.MAX_STEP_TOKENS}]")
    if given.block_size > WIDE_BLOCK:
        print(f"--block_size: {given.block_size} is above {WIDE_BLOCK}; parts of blocks stay empty", file=sys.stderr)


def prompts_of(given):
    """Ids before conversations before texts, as in the seed."""
    if given.input_ids:
        return inputs.from_ids(given.input_ids)
    if given.input_file:
        return inputs.from_conversations(given.input_file)
    return inputs.from_texts(given.input_texts)


def main():
    given = make_parser().parse(sys.argv[1:])
    variables.check()
    check(given)
    checkpoint = Checkpoint(given.model_path)
    devices = variables.visible_devices() or int(os.environ.get("WORLD_SIZE") or 1)
    group = ranks.choose(devices, {name: getattr(given, name) for name in ranks.DEGREES})
    longest = given.max_position_embeddings or checkpoint.max_positions
    more = ["--block-size", given.block_size]
    if given.max_position_embeddings:
        more += ["--max-model-len", longest]
    times_wanted = variables.is_on("ATB_LLM_BENCHMARK_ENABLE")
    request = generation.Request(
        model=given.model_path, prompts=prompts_of(given), max_tokens=given.max_output_length, batch=given.max_batch_size,
        chat=given.is_chat_model, ignore_eos=given.ignore_eos, step_tokens=max(given.max_prefill_tokens, 0), more=tuple(more),
        warm_up=max(min(given.max_input_length, longest - 2), 0) if times_wanted else 0)
    dialogue.run(group, request, given.chat_template, given.load_tokenizer)


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))
