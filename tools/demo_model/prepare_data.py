"""Encodes the corpus into flat uint16 token files: train.bin, and the held-out texts as UTF-8.

usage: prepare_data.py --corpus DIR --tokenizer tokenizer.json --out DIR
"""

import argparse
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from corpus import read_corpus
from train_tokenizer import EOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    parts = read_corpus(args.corpus)
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    eos = tokenizer.token_to_id(EOS)
    pieces = []
    for name, text in parts["train"].items():
        ids = tokenizer.encode(text).ids + [eos]
        pieces.append(np.array(ids, dtype=np.uint16))
        print(f"{name}: {len(text.encode())} bytes, {len(ids)} tokens")
    stream = np.concatenate(pieces)
    stream.tofile(args.out / "train.bin")
    print(f"train: {stream.size} tokens")
    for part in ("held_out_en", "held_out_zh"):
        (args.out / part).mkdir(exist_ok=True)
        for name, text in parts[part].items():
            (args.out / part / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
