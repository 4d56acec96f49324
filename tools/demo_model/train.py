"""Trains the demo model until a deadline.

usage: train.py --data DIR --state DIR (--minutes M | --until HH:MM) [--resume]

Learning rates and sequence lengths follow the elapsed share of the planned time, so the run
ends with a fully decayed rate however fast the machine is. The state (weights, momenta,
progress) is saved regularly to STATE/state.pt; with --resume a stopped run goes on, the time
already used counting as used.

Each worker process computes on one core with its own micro-batches; weights, gradients and
momenta lie in memory shared by all, and every worker updates its own part of the parameters.
"""

import argparse
import datetime
import os
import time
from pathlib import Path

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.multiprocessing as multiprocessing  # noqa: E402

from loss import HeadLoss  # noqa: E402
from model import DeepseekV2, MixtureOfExperts, ModelConfig, compile_parts, count_parameters  # noqa: E402
from optimizer import adam_step, muon_step  # noqa: E402

TOKENS_PER_STEP = 16384
TOKENS_PER_MICRO_BATCH = 4096
STAGES = ((0.0, 256), (0.65, 512), (0.85, 1024))  # (from this share of the time on, sequence length)
WARMUP, HOLD = 0.01, 0.25  # shares of the time
Z_WEIGHT = 1e-4
BALANCE_WEIGHT = 0.01
CLIP = 1.0
SAVE_EVERY_S = 300
MATRIX_RATE, MATRIX_DECAY = 0.02, 0.05
ADAM_RATES = {"embed_tokens": 0.01, "lm_head": 0.003}
OTHER_RATE = 0.003  # norms and routers


def rate(progress: float) -> float:
    """Warm-up, plateau, linear decay to zero."""
    if progress < WARMUP:
        return (progress + 1e-3) / (WARMUP + 1e-3)
    return min(1.0, max(0.0, (1.0 - progress) / (1.0 - HOLD)))


def sequence_length(progress: float) -> int:
    return [length for start, length in STAGES if progress >= start][-1]


class Windows:
    """Endless shuffled, non-overlapping windows; position 0 of every window is bos."""

    def __init__(self, path: Path, bos: int, seed: int):
        self.stream = np.fromfile(path, dtype=np.uint16).astype(np.int64)
        self.bos = bos
        self.random = np.random.default_rng(seed)
        self.length = 0
        self.starts = np.empty(0, dtype=np.int64)

    def next(self, count: int, length: int) -> np.ndarray:
        """Start positions of the next windows."""
        if length != self.length or len(self.starts) < count:
            self.length = length
            first = self.random.integers(length)
            self.starts = np.arange(first, self.stream.size - length, length)
            self.random.shuffle(self.starts)
        chosen, self.starts = self.starts[:count], self.starts[count:]
        return chosen

    def read(self, starts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        targets = torch.from_numpy(np.stack([self.stream[s : s + self.length] for s in starts]))
        inputs = torch.cat((torch.full((len(starts), 1), self.bos), targets[:, :-1]), dim=1)
        return inputs, targets


class Slot:
    """Where one parameter lies in the flat shared tensors and how it is updated."""

    def __init__(self, name: str, parameter: torch.Tensor, offset: int):
        self.name = name
        self.shape = parameter.shape
        self.range = slice(offset, offset + parameter.numel())
        self.matrix = parameter.dim() >= 2 and name not in ADAM_RATES and not name.endswith("router")
        rows = parameter.shape[-2] if self.matrix else 1
        # gate and up are stored as one matrix but are two
        self.matrix_shape = (-1, rows // 2 if "gate_up" in name else rows, parameter.shape[-1])
        short = min(self.matrix_shape[1:]) if self.matrix else 0
        self.cost = parameter.numel() * (short * 60 / 256 + 5)


class Shared:
    """Flat tensors in shared memory, and the plan of who updates what."""

    def __init__(self, model: DeepseekV2, workers: int):
        self.slots, offset = [], 0
        for name, parameter in model.named_parameters():
            self.slots.append(Slot(name, parameter, offset))
            offset += parameter.numel()
        self.weights = torch.cat([p.detach().flatten() for p in model.parameters()]).share_memory_()
        self.gradients = torch.zeros(workers, offset).share_memory_()
        self.mean = torch.zeros(offset).share_memory_()
        self.square = torch.zeros(offset).share_memory_()
        self.squared_norms = torch.zeros(workers).share_memory_()
        self.progress = torch.zeros((), dtype=torch.float64).share_memory_()
        self.barrier = multiprocessing.get_context("spawn").Barrier(workers)
        loads = [0.0] * workers
        self.parts: list[list[Slot]] = [[] for _ in range(workers)]
        for slot in sorted(self.slots, key=lambda slot: -slot.cost):
            lightest = loads.index(min(loads))
            self.parts[lightest].append(slot)
            loads[lightest] += slot.cost

    def attach(self, model: DeepseekV2, rank: int) -> None:
        for slot, parameter in zip(self.slots, model.parameters()):
            parameter.data = self.weights[slot.range].view(slot.shape)
            parameter.grad = self.gradients[rank, slot.range].view(slot.shape)

    def update(self, rank: int, step: int, factor: float, scale: float) -> float:
        """Sums the gradients of all workers (times scale), clips, updates; returns the norm."""
        self.barrier.wait()
        own = self.gradients[rank]
        squared = 0.0
        for slot in self.parts[rank]:
            grad = own[slot.range]
            for other in range(self.gradients.shape[0]):
                if other != rank:
                    grad += self.gradients[other, slot.range]
            grad *= scale
            squared += grad.square().sum().item()
        self.squared_norms[rank] = squared
        self.barrier.wait()
        norm = self.squared_norms.sum().sqrt().item()
        for slot in self.parts[rank]:
            grad = own[slot.range].mul_(min(1.0, CLIP / (norm + 1e-6)))
            weight, mean, square = self.weights[slot.range], self.mean[slot.range], self.square[slot.range]
            if slot.matrix:
                weight, grad, mean = (t.view(slot.matrix_shape) for t in (weight, grad, mean))
                muon_step(weight, grad, mean, MATRIX_RATE * factor, MATRIX_DECAY)
            else:
                adam_step(weight, grad, mean, square, step, ADAM_RATES.get(slot.name, OTHER_RATE) * factor)
        own.zero_()
        return norm


def work(rank: int, workers: int, shared: Shared, args, step: int, tokens: int, used: float, planned: float) -> None:
    torch.set_num_threads(1)
    config = ModelConfig()
    model = DeepseekV2(config, torch.bfloat16)
    shared.attach(model, rank)
    windows = Windows(args.data / "train.bin", config.bos_token_id, args.seed + step)
    compile_parts(model)
    moes = [layer.mlp for layer in model.layers if isinstance(layer.mlp, MixtureOfExperts)]
    micro_batches = TOKENS_PER_STEP // TOKENS_PER_MICRO_BATCH // workers

    def save() -> None:
        partial = args.state / "state.partial"
        state = {"config": config.to_dict(), "step": step, "tokens": tokens, "used": used}
        for name in ("weights", "mean", "square"):
            state[name] = getattr(shared, name).clone()
        state["names"] = [(slot.name, tuple(slot.shape)) for slot in shared.slots]
        torch.save(state, partial)
        partial.replace(args.state / "state.pt")

    start = time.monotonic() - used
    saved_at, reported_at, reported_tokens = used, used, tokens
    while (progress := shared.progress.item()) < 1.0:
        length = sequence_length(progress)
        starts = windows.next(TOKENS_PER_STEP // length, length)[rank::workers]
        nats = balance = 0.0
        for part in np.split(starts, micro_batches):
            inputs, targets = windows.read(part)
            hidden = model.hidden(inputs).flatten(0, 1)
            loss = HeadLoss.apply(hidden, model.lm_head, targets.flatten(), Z_WEIGHT)
            even = sum(moe.balance_loss for moe in moes)
            (loss + BALANCE_WEIGHT * even).backward()
            nats += loss.item() / micro_batches
            balance += even.item() / len(moes) / micro_batches
        step += 1
        tokens += TOKENS_PER_STEP
        norm = shared.update(rank, step, rate(progress), 1.0 / (micro_batches * workers))
        if rank == 0:
            used = time.monotonic() - start
            shared.progress.fill_(used / planned)
            if step <= 10 or step % 10 == 0:
                speed = (tokens - reported_tokens) / max(used - reported_at, 1e-9)
                busiest = max(moe.load.max().item() for moe in moes)
                print(
                    f"step {step} tokens {tokens} time {used:.0f} length {length} rate {rate(progress):.3f} "
                    f"nats {nats:.4f} norm {norm:.2f} balance {balance:.3f} busiest {busiest:.2f} "
                    f"speed {speed:.0f}/s",
                    flush=True,
                )
                reported_at, reported_tokens = used, tokens
        shared.barrier.wait()
        if rank == 0 and used - saved_at > SAVE_EVERY_S:
            save()
            saved_at = used
    if rank == 0:
        save()
        print(f"done: {step} steps, {tokens} tokens, {used:.0f} s", flush=True)


def seconds_until(clock: str) -> float:
    hour, minute = map(int, clock.split(":"))
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (end - now).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="planned training time, earlier runs included")
    length.add_argument("--until", help="UTC time of day at which to end")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)

    model = DeepseekV2(ModelConfig())
    model.initialise(torch.Generator().manual_seed(args.seed))
    shared = Shared(model, args.workers)
    step, tokens, used = 0, 0, 0.0
    if args.resume:
        state = torch.load(args.state / "state.pt")
        for name in ("weights", "mean", "square"):
            getattr(shared, name).copy_(state[name])
        step, tokens, used = state["step"], state["tokens"], state["used"]
    planned = args.minutes * 60 if args.minutes else used + seconds_until(args.until)
    shared.progress.fill_(used / planned)
    total, active = count_parameters(model)
    print(f"parameters {total}, active {active}; planned {planned:.0f} s, used {used:.0f} s", flush=True)
    multiprocessing.spawn(
        work, (args.workers, shared, args, step, tokens, used, planned), nprocs=args.workers
    )


if __name__ == "__main__":
    main()
