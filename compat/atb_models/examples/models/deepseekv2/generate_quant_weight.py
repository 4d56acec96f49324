#!/usr/bin/env python3
"""int8 weights from a float checkpoint: `fathom quantize` in the files of the seed. The model's size is read from its config.json,
so that the types with and without _lite are the same."""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))
from atb_compat import fathom, options, ranks, variables  # noqa: E402
from atb_compat.checkpoint import Checkpoint  # noqa: E402

TYPES = {"deepseekv2_w8a16": "w8a16", "deepseekv2_w8a8_dynamic": "w8a8-dynamic",
         "deepseekv2_lite_w8a16": "w8a16", "deepseekv2_lite_w8a8_dynamic": "w8a8-dynamic"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--src", required=True, help="the float weights' folder")
    parser.add_argument("--dst", required=True, help="the folder to make")
    parser.add_argument("--type", required=True, choices=TYPES, help="model and type")
    parser.add_argument("--trust_remote_code", action="store_true", help="accepted: no code of a weight folder is ever run")
    given = parser.parse_args([options.two_dashes(word) for word in sys.argv[1:]])
    variables.check()
    Checkpoint(given.src)
    fathom.call(ranks.Ranks(), "quantize", given.src, given.dst, "--type", TYPES[given.type], show=True)


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))
