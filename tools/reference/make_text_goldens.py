"""Writes tests/golden/text/, and compares a binary's token ids with Hugging Face's on real texts.

    python make_text_goldens.py [--out FOLDER] [--data FOLDER]
    python make_text_goldens.py --compare BINARY [--data FOLDER]

The data folder holds tokenizer/deepseek-v2, eval and corpus; its tokenizer may not be shipped, so what lies in the golden
folder are ids only, and the tests that use them need the data folder too. Without it only the template cases are written.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

from template_cases import STYLES, all_template_cases, render
from tokenizer_cases import all_cases

ROOT = Path(__file__).resolve().parents[2]
MAX_SHOWN = 10


def write_lines(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(rows)} cases, {path.stat().st_size / 1024:.0f} KiB")


# ---- tokenizer -------------------------------------------------------------------------------------------------------


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """With the special tokens inside the text recognised, and none added around it."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def encode_plain(tokenizer: Tokenizer, text: str) -> list[int]:
    """With special tokens read as any other text."""
    tokenizer.encode_special_tokens = True
    ids = encode(tokenizer, text)
    tokenizer.encode_special_tokens = False
    return ids


def letter_pattern(tokenizer_file: Path) -> str:
    """The pre-tokenizer's pattern for words, found by its first range."""
    steps = json.loads(tokenizer_file.read_text(encoding="utf-8"))["pre_tokenizer"]["pretokenizers"]
    patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
    return next(p for p in patterns if "[A-Za-z" in p)


def tokenizer_rows(tokenizer: Tokenizer, tokenizer_file: Path) -> list[dict]:
    rows = []
    for text in all_cases(letter_pattern(tokenizer_file)):
        ids = encode(tokenizer, text)
        # ByteLevel writes every byte as one character, so that these are the pieces' lengths in bytes.
        pieces = [len(piece) for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        assert sum(pieces) == len(text.encode()), repr(text)
        row = {"text": text, "ids": ids, "piece_bytes": pieces}
        plain = encode_plain(tokenizer, text)
        if plain != ids:
            row["plain_ids"] = plain
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, repr(text)
        rows.append(row)
    return rows


def detokenizer_rows(tokenizer: Tokenizer, rows: list[dict]) -> list[dict]:
    """Ids whose bytes stop or start inside a character, or are no text at all, with and without special tokens."""
    rng = random.Random(20240508)
    cut = [row["ids"] for row in rows if len(row["ids"]) < 60 and any(ord(c) > 127 for c in row["text"])]
    lists = [[]] + [[token] for token in rng.sample(range(243), 20)]
    for ids in rng.sample(cut, 60):
        first = rng.randrange(len(ids))
        lists.append(ids[first : first + rng.randint(1, 8)])
    lists += [[rng.randrange(243) for _ in range(6)] for _ in range(20)]  # single bytes in any order
    lists += [[rng.randrange(100000) for _ in range(12)] for _ in range(20)]
    lists += [[100000, 17464, 100001, 100001], [100000], [100001, 207, 100000]]
    return [
        {
            "ids": ids,
            "text": tokenizer.decode(ids, skip_special_tokens=False),
            "text_without_special": tokenizer.decode(ids, skip_special_tokens=True),
        }
        for ids in lists
    ]


# ---- templates -------------------------------------------------------------------------------------------------------


def check_templates(rows: list[dict], model: Path) -> None:
    """The cases against transformers' own set-up of jinja2, and v2_like against the template that V2 really ships."""
    # Imported here: --compare needs no more than tokenizers and jinja2.
    from transformers.utils.chat_template_utils import _compile_jinja_template

    for row in rows:
        try:
            theirs = _compile_jinja_template(row["template"]).render(**row["context"])
        except Exception:  # as in template_cases.render
            theirs = None
        assert theirs == row.get("expected"), row
    if model.exists():
        shipped = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
        _, ours, contexts = next(style for style in STYLES if style[0] == "v2_like")
        assert all(render(shipped, context) == render(ours, context) for context in contexts)


# ---- comparison on real texts ----------------------------------------------------------------------------------------


def novel_excerpts(path: Path, count: int, rng: random.Random) -> list[str]:
    """Runs of whole lines as they stand in the file, line ends included, the first from the start with its BOM if any."""
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines(keepends=True)
    starts = [0] + [rng.randrange(len(lines)) for _ in range(count - 1)]
    return ["".join(lines[start : start + rng.randint(1, 8)])[:4000] for start in starts]


def slices(path: Path, count: int, rng: random.Random) -> list[str]:
    """Stretches that begin and end anywhere."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    starts = [rng.randrange(len(text)) for _ in range(count)]
    return [text[start : start + rng.randint(1, 600)] for start in starts]


def real_texts(data: Path) -> list[str]:
    """A fixed choice of exam questions, passages, problems and novels in two languages."""
    rng = random.Random(1)
    boolq = [json.loads(line) for line in (data / "eval/boolq_dev.jsonl").open(encoding="utf-8")]
    gsm8k = [json.loads(line) for line in (data / "eval/gsm8k_test.jsonl").open(encoding="utf-8")]
    cmmlu = []
    for path in sorted((data / "eval/cmmlu/test").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            cmmlu += ["\n".join(row[1:]) for row in csv.reader(file)]
    texts = [row["passage"] + "\n" + row["question"] for row in rng.sample(boolq, 500)]
    texts += [row["question"] + "\n" + row["answer"] for row in rng.sample(gsm8k, 300)]
    texts += rng.sample(cmmlu, 600)
    for path in sorted((data / "corpus/english_novels").glob("*.txt")):
        texts += novel_excerpts(path, 8, rng) + slices(path, 4, rng)
    for path in sorted((data / "corpus/chinese_novels").glob("*.txt")):
        texts += novel_excerpts(path, 60, rng) + slices(path, 40, rng)
    assert len(texts) >= 2000
    return texts


def binary_ids(binary: str, model: Path, texts: list[str]) -> list[list[int]]:
    """The one place that knows how the command line is called."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".jsonl") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        file.flush()
        command = [binary, "tokenize", str(model), "--file", file.name, "--json"]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: status {run.returncode}: {run.stderr.strip()}")
    answer = json.loads(run.stdout)
    return [row["ids"] for row in (answer if isinstance(answer, list) else [answer])]


def compare(binary: str, tokenizer: Tokenizer, model: Path, data: Path) -> bool:
    texts = real_texts(data) + all_cases(letter_pattern(model / "tokenizer.json"))
    theirs = binary_ids(binary, model, texts)
    if len(theirs) != len(texts):
        print(f"{len(texts)} texts went in, {len(theirs)} answers came out")
        return False
    bos = tokenizer.token_to_id(json.loads((model / "tokenizer_config.json").read_text())["bos_token"]["content"])
    different = tokens = 0
    for text, got in zip(texts, theirs):
        expected = encode(tokenizer, text)
        tokens += len(expected)
        if got == expected or got == [bos] + expected:
            continue
        different += 1
        if different <= MAX_SHOWN:
            at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
            before = tokenizer.decode(expected[max(at - 3, 0) : at], skip_special_tokens=False)
            print(
                f"token {at}, after {before!r}: expected {expected[at:at + 5]}, got {got[at:at + 5]}, text {text[:60]!r}"
            )
    print(f"{len(texts)} texts, {tokens} tokens: {different} differ")
    return different == 0


# ---- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden" / "text")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--compare", metavar="BINARY")
    args = parser.parse_args()
    model = args.data / "tokenizer" / "deepseek-v2"
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json")) if model.exists() else None
    if args.compare:
        if tokenizer is None:
            raise SystemExit(f"{model} is needed for --compare")
        sys.exit(0 if compare(args.compare, tokenizer, model, args.data) else 1)
    args.out.mkdir(parents=True, exist_ok=True)
    templates = all_template_cases()
    check_templates(templates, model)
    write_lines(args.out / "templates.jsonl", templates)
    if tokenizer is None:
        print(f"{model} is absent: the tokenizer cases stay as they are")
        return
    rows = tokenizer_rows(tokenizer, model / "tokenizer.json")
    write_lines(args.out / "tokenizer_deepseek_v2.jsonl", rows)
    write_lines(args.out / "detokenizer_deepseek_v2.jsonl", detokenizer_rows(tokenizer, rows))


if __name__ == "__main__":
    main()
