"""Writes a training state as a Hugging Face checkpoint folder.

usage: export.py --state STATE/state.pt --tokenizer DIR --out DIR
"""

import argparse
import math
import shutil
from pathlib import Path

import torch

from checkpoint import save_checkpoint
from model import DeepseekV2, ModelConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder written by train_tokenizer.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    state = torch.load(args.state)
    model = DeepseekV2(ModelConfig.from_dict(state["config"]))
    sizes = [math.prod(shape) for _, shape in state["names"]]
    parameters = dict(model.named_parameters())
    for (name, shape), values in zip(state["names"], state["weights"].split(sizes)):
        parameters[name].data.copy_(values.view(shape))
    save_checkpoint(model, args.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.tokenizer / name, args.out / name)
    print(f"exported step {state['step']}, {state['tokens']} tokens, to {args.out}")


if __name__ == "__main__":
    main()
