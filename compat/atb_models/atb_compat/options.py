"""Option parsing in the seed's manner: one dash or two, flags in any place, true and false as words."""
import argparse
import re

from .fathom import Refusal


class Parser(argparse.ArgumentParser):
    """Names are never guessed from their beginnings; wrong usage ends with status 2, as fathom's does."""

    def __init__(self, **keywords):
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **keywords)

    def parse(self, words):
        return self.parse_args([two_dashes(word) for word in words])


def two_dashes(word):
    """"-trust_remote_code" is "--trust_remote_code"."""
    return "-" + word if re.fullmatch(r"-[A-Za-z]\w+(=.*)?", word) else word


def boolean(text):
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"\"{text}\" is neither true nor false")


def count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"\"{text}\" is no count")
    return int(text)


def refuse_given(options, what):
    """what: {option: why it is refused}; refused where its value is true."""
    for name, why in what.items():
        if getattr(options, name):
            raise Refusal(f"--{name}: {why}")
