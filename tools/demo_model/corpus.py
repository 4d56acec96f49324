"""Corpus reading: which texts are used, how they are cleaned and what is held out."""

import re
from pathlib import Path

# Complete novels that neither the tokenizer nor the model ever sees.
HELD_OUT_ENGLISH = (
    "Burnett_Princess_1905",
    "Chesterton_Thursday_1908",
    "Doyle_Lost_1912",
    "Trollope_Warden_1855",
)
# Share at the end of each Chinese novel that is held out.
HELD_OUT_CHINESE_SHARE = 0.1

HARD_WRAP_LIMIT = 110  # a file whose long lines all end below this was wrapped by hand


def decode(raw: bytes) -> str:
    """UTF-8 without byte order mark, line ends as LF."""
    text = raw.decode("utf-8-sig", errors="replace").replace("\ufeff", "")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def percentile(values: list[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def join_wrapped_lines(lines: list[str]) -> list[str]:
    """Turns hard-wrapped lines into one line per paragraph.

    A paragraph ends at a blank line, before an indented line, or at a line so short
    that the first word of the next line would still have fitted on it.
    """
    width = percentile([len(line) for line in lines if line.strip()], 0.9) - 6
    paragraphs: list[str] = []
    current: list[str] = []
    previous = ""
    for line in lines:
        stripped = line.strip()
        if current:
            first_word = stripped.split(" ", 1)[0]
            fitted = len(previous) + 1 + len(first_word) <= width
            if not stripped or line[0] in " \t" or fitted:
                paragraphs.append(" ".join(current))
                current = []
        if stripped:
            current.append(stripped)
        previous = line.rstrip()
    if current:
        paragraphs.append(" ".join(current))
    return paragraphs


def clean_english(raw: bytes) -> str:
    """One paragraph per line, no blank lines, single spaces."""
    lines = decode(raw).split("\n")
    lengths = [len(line) for line in lines if line.strip()]
    if percentile(lengths, 0.98) < HARD_WRAP_LIMIT:
        lines = join_wrapped_lines(lines)
    lines = (re.sub(r"[ \t\u00a0]+", " ", line).strip() for line in lines)
    return "\n".join(line for line in lines if line) + "\n"


def clean_chinese(raw: bytes) -> str:
    """One paragraph per line; Chinese text has no spaces between words."""
    lines = (re.sub(r"[ \t\u00a0\u3000]+", "", line) for line in decode(raw).split("\n"))
    return "\n".join(line for line in lines if line) + "\n"


def read_corpus(corpus: Path) -> dict[str, dict[str, str]]:
    """Returns {"train": {...}, "held_out_en": {...}, "held_out_zh": {...}}: name -> text."""
    parts: dict[str, dict[str, str]] = {"train": {}, "held_out_en": {}, "held_out_zh": {}}
    for path in sorted((corpus / "english_novels").glob("*.txt")):
        part = "held_out_en" if path.stem in HELD_OUT_ENGLISH else "train"
        parts[part][path.stem] = clean_english(path.read_bytes())
    for path in sorted((corpus / "chinese_novels").glob("*.txt")):
        text = clean_chinese(path.read_bytes())
        cut = text.rfind("\n", 0, int(len(text) * (1 - HELD_OUT_CHINESE_SHARE))) + 1
        parts["train"][path.stem] = text[:cut]
        parts["held_out_zh"][path.stem] = text[cut:]
    missing = set(HELD_OUT_ENGLISH) - set(parts["held_out_en"])
    if missing:
        raise FileNotFoundError(f"held-out novels not found in {corpus}: {sorted(missing)}")
    return parts
