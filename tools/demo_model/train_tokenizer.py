"""Trains the byte-level BPE tokenizer of the demo model and writes its files.

usage: train_tokenizer.py --corpus DIR --reference tokenizer.json --vocab 8192 --out DIR

The pre-tokenizer list is taken from the reference file, so the demo tokenizer splits text
exactly as the DeepSeek-V2 one does; vocabulary and merges are learned here.
"""

import argparse
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from corpus import read_corpus

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"

CHAT_TEMPLATE = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def build_pre_tokenizer(description: dict) -> pre_tokenizers.PreTokenizer:
    """Rebuilds the Sequence of Split, Digits and ByteLevel steps from its JSON form."""
    steps = []
    for step in description["pretokenizers"]:
        if step["type"] == "Split":
            steps.append(
                pre_tokenizers.Split(
                    Regex(step["pattern"]["Regex"]), step["behavior"].lower(), step["invert"]
                )
            )
        elif step["type"] == "Digits":
            steps.append(pre_tokenizers.Digits(step["individual_digits"]))
        elif step["type"] == "ByteLevel":
            steps.append(pre_tokenizers.ByteLevel(step["add_prefix_space"], use_regex=step["use_regex"]))
        else:
            raise ValueError(f"unexpected pre-tokenizer {step['type']}")
    return pre_tokenizers.Sequence(steps)


def added_token(token_id: int, content: str) -> dict:
    return {
        "id": token_id, "content": content, "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": True, "special": True,
    }


def tokenizer_config() -> dict:
    def token(content: str) -> dict:
        return {
            "__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
            "rstrip": False, "single_word": False,
        }

    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": token(BOS),
        "clean_up_tokenization_spaces": False,
        "eos_token": token(EOS),
        "legacy": True,
        "model_max_length": 4096,
        "pad_token": token(EOS),
        "sp_model_kwargs": {},
        "unk_token": None,
        "tokenizer_class": "LlamaTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--vocab", type=int, default=8192, help="size including bos and eos")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    reference = json.loads(args.reference.read_text(encoding="utf-8"))
    texts = read_corpus(args.corpus)["train"]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = build_pre_tokenizer(reference["pre_tokenizer"])
    trainer = trainers.BpeTrainer(
        vocab_size=args.vocab - 2,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (line for text in texts.values() for line in text.splitlines(keepends=True))
    tokenizer.train_from_iterator(lines, trainer)

    learned = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in learned["merges"]]
    size = len(learned["vocab"])
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(size, BOS), added_token(size + 1, EOS)],
        "normalizer": reference["normalizer"],
        "pre_tokenizer": reference["pre_tokenizer"],
        "post_processor": reference["post_processor"],
        "decoder": reference["decoder"],
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "vocab": dict(sorted(learned["vocab"].items(), key=lambda item: item[1])),
            "merges": merges,
        },
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", description), ("tokenizer_config.json", tokenizer_config())):
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (args.out / name).write_text(text + "\n", encoding="utf-8")
    print(f"vocabulary {size} + 2, merges {len(merges)}")


if __name__ == "__main__":
    main()
