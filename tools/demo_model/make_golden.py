"""Writes the reference logits of the exported demo model and an expected text score.

usage: make_golden.py --model DIR --excerpt-from held_out.txt --out DIR

The stored bfloat16 weights are read back and everything is computed in float32.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from checkpoint import load_checkpoint
from evaluate import sample

PROMPTS = (
    "The old man looked at her for a moment, and then said quietly,",
    "话说宋江听了，心中大喜，便教众人",
    'She read aloud: "话说天下大势" — page 12, and',
)
GREEDY_TOKENS = 48
EXCERPT_BYTES = 3900
EXCERPT_TOKENS = 1020  # bos and excerpt stay inside the context the model was trained on


def excerpt(text: str, tokenizer: Tokenizer) -> str:
    """Whole paragraphs from the middle of a text, within the limits above."""
    lines = text.splitlines(keepends=True)
    chosen = ""
    for line in lines[len(lines) // 2 :]:
        longer = chosen + line
        if len(longer.encode()) > EXCERPT_BYTES or len(tokenizer.encode(longer).ids) > EXCERPT_TOKENS:
            break
        chosen = longer
    return chosen


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--excerpt-from", type=Path, help="held-out text; without it the stored excerpt is kept")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    model = load_checkpoint(args.model)
    bos = model.config.bos_token_id
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tensors, metadata = {}, {}
    for number, prompt in enumerate(PROMPTS):
        ids = [bos] + tokenizer.encode(prompt).ids
        greedy = sample(model, ids, GREEDY_TOKENS, 0.0, 1.0, 0)
        best = model(torch.tensor([ids + greedy]))[0, len(ids) - 1 : -1].topk(2, dim=-1).values
        name = f"prompt{number}"
        tensors[f"{name}.ids"] = torch.tensor(ids)
        tensors[f"{name}.logits"] = model(torch.tensor([ids]))[0].contiguous()
        tensors[f"{name}.greedy"] = torch.tensor(greedy)
        metadata[f"{name}.text"] = prompt
        metadata[f"{name}.smallest_lead"] = f"{(best[:, 0] - best[:, 1]).min().item():.6f}"
        print(f"{name}: {len(ids)} tokens, smallest lead {metadata[f'{name}.smallest_lead']}")
        print(f"  {prompt}|{tokenizer.decode(greedy, skip_special_tokens=False)}")

    held_out = args.out / "held_out_en.txt"
    if args.excerpt_from:
        held_out.write_text(excerpt(args.excerpt_from.read_text(encoding="utf-8"), tokenizer), encoding="utf-8")
    text = held_out.read_text(encoding="utf-8")
    ids = tokenizer.encode(text).ids
    logits = model(torch.tensor([[bos] + ids[:-1]]))[0]
    nats = F.cross_entropy(logits.double(), torch.tensor(ids), reduction="sum").item()
    metadata |= {
        "held_out_en.tokens": str(len(ids)),
        "held_out_en.bytes": str(len(text.encode())),
        "held_out_en.nll_nats": f"{nats:.6f}",
    }
    save_file(tensors, args.out / "golden.safetensors", metadata=metadata)
    (args.out / "golden.safetensors").chmod(0o644)
    print({name: value for name, value in metadata.items() if name.startswith("held_out")})


if __name__ == "__main__":
    main()
