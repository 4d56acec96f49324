"""Prompts through `fathom run`: answers, and the times of the engine's steps."""
import dataclasses
import json
import pathlib
import tempfile

from . import fathom
from .ranks import Ranks

MAX_STEP_TOKENS = 65536  # fathom's own limit on --max-num-batched-tokens


@dataclasses.dataclass
class Request:
    """What one call of `fathom run` is given."""
    model: str
    prompts: list               # objects as --file takes them: {"text"}, {"ids"} or {"messages"}
    max_tokens: int
    batch: int = 1              # requests computed together
    chat: bool = False
    ignore_eos: bool = False
    warm_up: int = 0            # tokens
    step_tokens: int = 0        # of one step; 0: fathom's default
    more: tuple = ()            # further options


@dataclasses.dataclass
class Times:
    """In milliseconds. A step that ends a prompt belongs to the prefill, with whatever else it computes."""
    prefill: list
    decode: list

    @property
    def total(self):
        return sum(self.prefill) + sum(self.decode)

    def decode_token(self, max_new_tokens):
        """The seed's decode token time: all decode steps over one token less than there are."""
        return sum(self.decode) / (max_new_tokens - 1) if max_new_tokens > 1 else 0.0


def times_of(steps):
    prefill, decode = [], []
    for step in steps:
        is_decode = step["later_tokens"] > 0 and step["first_tokens"] == 0
        (decode if is_decode else prefill).append(step["seconds"] * 1000)
    return Times(prefill, decode)


def generate(ranks, request):
    """The answers as `fathom run --json` has them, in order, and their times."""
    with tempfile.TemporaryDirectory() as folder:
        prompts, steps = pathlib.Path(folder) / "prompts.jsonl", pathlib.Path(folder) / "steps.json"
        prompts.write_text("".join(json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in request.prompts), encoding="utf-8")
        words = ["run", request.model, "--file", prompts, "--steps", steps, "--max-tokens", request.max_tokens, "--max-num-seqs",
                 request.batch, "--warm-up", request.warm_up, *request.more]
        if request.step_tokens:
            words += ["--max-num-batched-tokens", min(max(request.step_tokens, request.batch), MAX_STEP_TOKENS)]
        for option, is_given in (("--chat", request.chat), ("--ignore-eos", request.ignore_eos)):
            words += [option] if is_given else []
        if "--temperature" not in request.more:
            words.append("--greedy")
        answers = fathom.call_json(ranks, *words)
        times = times_of(json.loads(steps.read_text(encoding="utf-8")))
    return (answers if isinstance(answers, list) else [answers]), times


def token_ids(model, texts):
    """The ids of each text."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        done = fathom.call_json(Ranks(), "tokenize", model, "--file", path)
    return [one["ids"] for one in done]
