"""Cross entropy over the vocabulary in cache-sized chunks, gradient made in the forward pass."""

import torch
from torch import Tensor

CHUNK = 512


@torch.compile(dynamic=False)
def softmax_gradient(logits: Tensor, targets: Tensor, z_weight: float) -> tuple[Tensor, Tensor]:
    """Per token: nats, and d(nats + z_weight * logsumexp^2)/d logits in the type of the logits."""
    values = logits.float()
    top = values.amax(-1, keepdim=True)
    exponentials = (values - top).exp()
    total = exponentials.sum(-1, keepdim=True)
    log_sum = top + total.log()
    nats = (log_sum - values.gather(-1, targets[:, None])).squeeze(-1)
    gradient = exponentials * ((1.0 + 2.0 * z_weight * log_sum) / total)
    hit = torch.arange(values.shape[-1], device=values.device)[None, :] == targets[:, None]
    return nats, (gradient - hit.float()).to(logits.dtype)


class HeadLoss(torch.autograd.Function):
    """Mean nats per token of hidden @ head^T against the targets, plus the z-loss gradient."""

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, targets: Tensor, z_weight: float) -> Tensor:
        matrix = head.to(hidden.dtype)
        hidden_gradient = torch.empty_like(hidden)
        head_gradient = torch.zeros_like(head)
        total = torch.zeros(())
        for start in range(0, hidden.shape[0], CHUNK):
            part = slice(start, start + CHUNK)
            logits = hidden[part] @ matrix.t()
            nats, gradient = softmax_gradient(logits, targets[part], z_weight)
            total += nats.sum()
            hidden_gradient[part] = gradient @ matrix
            head_gradient += gradient.t() @ hidden[part]
        count = hidden.shape[0]
        ctx.save_for_backward(hidden_gradient, head_gradient)
        ctx.count = count
        return total / count

    @staticmethod
    def backward(ctx, grad: Tensor):
        hidden_gradient, head_gradient = ctx.saved_tensors
        factor = grad / ctx.count
        return hidden_gradient * factor.to(hidden_gradient.dtype), head_gradient * factor, None, None
