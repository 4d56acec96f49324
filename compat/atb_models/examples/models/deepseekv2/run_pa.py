#!/usr/bin/env python3
"""run_pa.sh's grammar: WEIGHTS [dp [tp [sp [moe_tp [moe_ep]]]]] and flags, in any place, with one dash or two."""
import os
import pathlib
import sys

LLM_PATH = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(LLM_PATH))
from atb_compat import fathom, options, ranks  # noqa: E402
from atb_compat.fathom import Refusal  # noqa: E402

USAGE = "usage: run_pa.sh WEIGHTS [dp [tp [sp [moe_tp [moe_ep]]]]] [-trust_remote_code]"
DEGREES = ranks.DEGREES[:5]


def main():
    words, flags = [], []
    for word in sys.argv[1:]:
        (flags if word.startswith("-") and not word[1:].isdecimal() else words).append(word)
    flags = [options.two_dashes(flag) for flag in flags]
    if "--help" in flags or "-h" in flags:
        print(USAGE)
        return 0
    for flag in flags:
        if flag != "--trust_remote_code":
            raise Refusal(f"{flag}: no such flag; {USAGE}")
    if not words or len(words) > 1 + len(DEGREES):
        raise Refusal(USAGE)
    degrees = []
    for name, word in zip(DEGREES, words[1:]):
        if not word.lstrip("-").isdecimal():
            raise Refusal(f"{name}: \"{word}\" is no number; {USAGE}")
        degrees += [f"--{name}", word]
    run_pa = str(LLM_PATH / "examples" / "run_pa.py")
    os.execv(sys.executable, [sys.executable, run_pa, "--model_path", words[0], "--is_chat_model", "--block_size", "128", *degrees,
                              *flags])


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))
