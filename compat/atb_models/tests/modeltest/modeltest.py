#!/usr/bin/env python3
"""The seed's tests/modeltest on fathom: speed and accuracy of a weight folder, by one line of positional words."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
import grammar  # noqa: E402
import performance  # noqa: E402
import precision  # noqa: E402
import simplified  # noqa: E402
import single  # noqa: E402
import nodes  # noqa: E402
from atb_compat import fathom, variables  # noqa: E402
from atb_compat.checkpoint import Checkpoint  # noqa: E402
from atb_compat.fathom import Refusal  # noqa: E402

RUNNERS = {"performance": performance.run, "performance_maxbs": performance.run_maxbs, "performance_single": single.run,
           "precision_single": single.run, "simplified_GSM8K": simplified.run, "simplified_TruthfulQA": simplified.run}


def check_dtype(command, checkpoint):
    if command.dtype and command.dtype != checkpoint.dtype:
        raise Refusal(f"pa_{command.dtype}: torch_dtype of {checkpoint.path / 'config.json'} is {checkpoint.dtype}; both have to be "
                      f"the same: write pa_{checkpoint.dtype}, or change torch_dtype")


def main():
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(grammar.USAGE)
        return 0 if words else 2
    variables.check()
    command = grammar.parse(words)
    checkpoint = Checkpoint(command.weights)
    check_dtype(command, checkpoint)
    def work():
        RUNNERS.get(command.mode, precision.run)(command, checkpoint)
        return 0

    return nodes.run(command.nodes, words, work) if command.nodes else work()


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))
