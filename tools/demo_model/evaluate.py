"""Bits per byte of a checkpoint on text files, and sample continuations.

usage: evaluate.py --model DIR [--text DIR ...] [--prompt TEXT ...]

Windows of CONTEXT positions start with bos and advance by STRIDE tokens; only the tokens not
yet scored count, so each (but for the first window) has at least CONTEXT - STRIDE before it.
"""

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from checkpoint import load_checkpoint  # noqa: E402
from model import DeepseekV2, compile_parts  # noqa: E402


CHUNK = 512  # positions whose logits are held at a time


@torch.compile(dynamic=False)
def token_nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    values = logits.float()
    return values.logsumexp(-1) - values.gather(-1, targets[:, None]).squeeze(-1)


@torch.no_grad()
def total_nats(model: DeepseekV2, ids: list[int], context: int, stride: int) -> float:
    """Sum of -ln p over all tokens of one text. All batches have one shape, for compiled parts."""
    bos = model.config.bos_token_id
    windows = []  # (first token, token after the last, first token to score)
    scored = 0
    while scored < len(ids):
        end = min(len(ids), max(context, scored + stride))
        windows.append((max(0, end - context), end, scored))
        scored = end
    head = model.lm_head.to(model.compute_dtype)
    batch = max(1, 4096 // context)
    total = 0.0
    for first in range(0, len(windows), batch):
        inputs = torch.full((batch, context), bos)
        targets = torch.zeros(batch, context, dtype=torch.int64)
        counted = torch.zeros(batch, context, dtype=torch.bool)
        for row, (start, end, new) in enumerate(windows[first : first + batch]):
            inputs[row, 1 : end - start] = torch.tensor(ids[start : end - 1])
            targets[row, : end - start] = torch.tensor(ids[start:end])
            counted[row, new - start : end - start] = True
        hidden = model.hidden(inputs).flatten(0, 1)
        parts = zip(hidden.split(CHUNK), targets.flatten().split(CHUNK), counted.flatten().split(CHUNK))
        for part, target, count in parts:
            total += token_nats(part @ head.t(), target)[count].double().sum().item()
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
    if args.text:
        compile_parts(model)
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
    if args.prompt:
        model = load_checkpoint(args.model)
    for prompt in args.prompt:
        ids = [model.config.bos_token_id] + tokenizer.encode(prompt).ids
        for seed in (1, 2):
            text = tokenizer.decode(sample(model, ids, args.tokens, 0.8, 0.95, seed), skip_special_tokens=False)
            print(f"--- {prompt}|{text}")


if __name__ == "__main__":
    main()
