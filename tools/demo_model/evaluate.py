"""Bits per byte of a checkpoint on text files, and sample continuations.

usage: evaluate.py --model DIR [--text DIR ...] [--prompt TEXT ...]

Windows of CONTEXT positions start with bos and advance by STRIDE tokens; only the tokens not
yet scored count, so each (but for the first window) has at least CONTEXT - STRIDE before it.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from checkpoint import load_checkpoint
from model import DeepseekV2


@torch.inference_mode()
def total_nats(model: DeepseekV2, ids: list[int], context: int, stride: int, batch: int = 8) -> float:
    """Sum of -ln p over all tokens of one text."""
    bos = model.config.bos_token_id
    windows = []  # (first token, token after the last, first token to score)
    scored = 0
    while scored < len(ids):
        end = min(len(ids), max(context, scored + stride))
        windows.append((max(0, end - context), end, scored))
        scored = end
    total = 0.0
    for first in range(0, len(windows), batch):
        group = windows[first : first + batch]
        length = max(end - start for start, end, _ in group)
        inputs = torch.full((len(group), length), bos)
        for row, (start, end, _) in enumerate(group):
            inputs[row, 1 : end - start] = torch.tensor(ids[start : end - 1])
        hidden = model.hidden(inputs)
        for row, (start, end, new) in enumerate(group):
            part = hidden[row, new - start : end - start]
            logits = F.linear(part, model.lm_head.to(part.dtype)).float()
            total += F.cross_entropy(logits, torch.tensor(ids[new:end]), reduction="sum").double().item()
    return total


@torch.inference_mode()
def sample(model: DeepseekV2, ids: list[int], count: int, temperature: float, top_p: float, seed: int) -> list[int]:
    """Continuation tokens; temperature 0 takes the best token. Recomputes the whole prefix each time."""
    generator = torch.Generator().manual_seed(seed)
    ids = list(ids)
    start = len(ids)
    for _ in range(count):
        hidden = model.hidden(torch.tensor([ids]))[0, -1]
        logits = F.linear(hidden, model.lm_head.to(hidden.dtype)).float()
        if temperature == 0.0:
            ids.append(int(logits.argmax()))
            continue
        probabilities, order = (logits / temperature).softmax(-1).sort(descending=True)
        probabilities[probabilities.cumsum(-1) - probabilities >= top_p] = 0.0
        ids.append(int(order[torch.multinomial(probabilities, 1, generator=generator)]))
    return ids[start:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="folders of .txt files")
    parser.add_argument("--prompt", nargs="*", default=[])
    parser.add_argument("--tokens", type=int, default=120, help="length of the continuations")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--stride", type=int, default=512)
    parser.add_argument("--limit", type=int, default=0, help="only the first bytes of each file (0: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16 instead of float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    model = load_checkpoint(args.model, torch.bfloat16 if args.bfloat16 else torch.float32)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    for folder in args.text:
        all_nats, all_bytes, all_tokens = 0.0, 0, 0
        for path in sorted(folder.glob("*.txt")):
            text = path.read_text(encoding="utf-8")
            if args.limit:
                text = text.encode()[: args.limit].decode(errors="ignore")
            ids = tokenizer.encode(text).ids
            nats, size = total_nats(model, ids, args.context, args.stride), len(text.encode())
            all_nats, all_bytes, all_tokens = all_nats + nats, all_bytes + size, all_tokens + len(ids)
            print(f"  {path.stem}: {size} bytes, {len(ids)} tokens, {nats / size / math.log(2):.4f} bits per byte", flush=True)
        print(
            f"{folder.name}: {all_bytes} bytes, {all_tokens} tokens, {all_nats / all_tokens:.4f} nats per token, "
            f"{all_nats / all_bytes / math.log(2):.4f} bits per byte", flush=True,
        )
    for prompt in args.prompt:
        ids = [model.config.bos_token_id] + tokenizer.encode(prompt).ids
        for seed in (1, 2):
            text = tokenizer.decode(sample(model, ids, args.tokens, 0.8, 0.95, seed), skip_special_tokens=False)
            print(f"--- {prompt}|{text}")


if __name__ == "__main__":
    main()
