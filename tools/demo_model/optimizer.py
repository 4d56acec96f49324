"""Muon for weight matrices, Adam for everything else, as functions on plain tensors."""

import torch
from torch import Tensor

NS_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NS_STEPS = 5
MATRICES_AT_A_TIME = 32  # keeps the batched products in cache


def orthogonalise(batch: Tensor) -> Tensor:
    """Newton-Schulz: drives the singular values of each matrix of [n, rows, columns] close to one."""
    a, b, c = NS_COEFFICIENTS
    x = batch.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = (x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()).contiguous()
    for _ in range(NS_STEPS):
        gram = x @ x.transpose(1, 2)
        mix = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, mix, x, beta=a)
    return x.transpose(1, 2) if tall else x


def muon_step(weight: Tensor, grad: Tensor, momentum: Tensor, rate: float, decay: float, beta: float = 0.95) -> None:
    """All three [n, rows, columns]: n matrices, each orthogonalised by itself."""
    momentum.lerp_(grad, 1.0 - beta)
    update = grad.lerp(momentum, beta)  # Nesterov
    weight.mul_(1.0 - rate * decay)
    size = rate * max(1.0, weight.shape[1] / weight.shape[2]) ** 0.5
    for part in range(0, weight.shape[0], MATRICES_AT_A_TIME):
        chosen = slice(part, part + MATRICES_AT_A_TIME)
        weight[chosen].add_(orthogonalise(update[chosen]).to(weight.dtype), alpha=-size)


def adam_step(
    weight: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: int, rate: float,
    beta1: float = 0.9, beta2: float = 0.97, eps: float = 1e-10,
) -> None:
    mean.lerp_(grad, 1.0 - beta1)
    square.lerp_(grad.square(), 1.0 - beta2)
    scale = (square / (1.0 - beta2**step)).sqrt_().add_(eps)
    weight.addcdiv_(mean, scale, value=-rate / (1.0 - beta1**step))
