"""Excerpts of the held-out texts for models/demo: what `fathom compare` and `fathom score` can be tried on.

usage: make_held_out.py --corpus DIR --out DIR

Whole paragraphs from the middle of each held-out text, so that no title page is among them.
"""

import argparse
from pathlib import Path

from corpus import read_corpus

BYTES_PER_TEXT = {"held_out_en": 20_000, "held_out_zh": 10_000}


def excerpt(text: str, size: int) -> str:
    """Paragraphs from the middle on, at most size bytes."""
    paragraphs = text[text.index("\n", len(text) // 2) + 1 :].splitlines(keepends=True)
    kept = 0
    for count, paragraph in enumerate(paragraphs):
        kept += len(paragraph.encode())
        if kept > size:
            return "".join(paragraphs[:count])
    return "".join(paragraphs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    parts = read_corpus(args.corpus)
    for part, size in BYTES_PER_TEXT.items():
        text = "".join(excerpt(whole, size) for _, whole in sorted(parts[part].items()))
        (args.out / f"{part}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
