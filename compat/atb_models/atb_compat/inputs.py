"""What run_pa.py and run_fa.py are asked: texts, ids or conversations, as prompts of `fathom run`."""
import contextlib
import json
import os
import pathlib
import tempfile

from .fathom import Refusal

DEFAULT_TEXT = "What's deep learning?"


def read_text(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise Refusal(f"{path}: cannot be read: {error}") from error


def from_texts(texts):
    """Texts as they are; one that names a file is that file's text."""
    if len(texts) == 1 and os.path.isfile(texts[0]):
        texts = [read_text(texts[0])]
    return [{"text": text} for text in texts]


def from_ids(requests):
    """"1,2,3": the ids of one request each."""
    prompts = []
    for text in requests:
        parts = text.split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise Refusal(f"--input_ids: \"{text}\" is no list of ids, as 1,2,3 is")
        prompts.append({"ids": [int(part) for part in parts]})
    return prompts


def from_conversations(path):
    """jsonl: a list of {role, content} a line."""
    prompts = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            turns = json.loads(line)
        except ValueError as error:
            raise Refusal(f"{path} line {number}: no JSON: {error}") from error
        if not isinstance(turns, list) or not all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in turns):
            raise Refusal(f"{path} line {number}: not a list of turns with \"role\" and \"content\"")
        prompts.append({"messages": turns})
    if not prompts:
        raise Refusal(f"{path}: no conversation")
    return prompts


@contextlib.contextmanager
def with_chat_template(model, given):
    """The model's folder, or a temporary one of links to its files with another chat template (a text or a file)."""
    if not given:
        yield model
        return
    text = read_text(given) if os.path.isfile(given) else given
    with tempfile.TemporaryDirectory() as folder:
        for path in pathlib.Path(model).resolve().iterdir():
            if path.name != "chat_template.jinja":
                os.symlink(path, pathlib.Path(folder) / path.name)
        (pathlib.Path(folder) / "chat_template.jinja").write_text(text, encoding="utf-8")
        yield folder
