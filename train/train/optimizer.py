"""Muon for the matrices inside the layers, AdamW for everything else.

Muon replaces the momentum of a matrix by its nearest orthogonal matrix (five Newton-Schulz iterations), so
every direction moves at the same speed; for small decoders it needs about half the tokens of AdamW.

Source: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024.
Differs: matrices of one shape are iterated together, and the product type follows the machine.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "make_optimizers"]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; `lr` is the root mean square of an update's entries times sqrt(width)."""

    def __init__(self, weights: list[nn.Parameter], lr: float, dtype: torch.dtype, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": 0.01})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(weight.shape, []).append(weight)
            for shape, weights in by_shape.items():
                momenta = []
                for weight in weights:
                    state = self.state[weight]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(weight)
                    state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                    momenta.append(weight.grad.lerp(state["momentum"], group["momentum"]))
                updates = _orthogonal(torch.stack(momenta).to(self.dtype)).float()
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=scale)


def _orthogonal(matrices: Tensor) -> Tensor:
    """The Newton-Schulz iteration, on a stack of matrices."""
    a, b, c = 3.4445, -4.7750, 2.0315
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x


def make_optimizers(
    decoder: nn.Module, *, matrix_lr: float, other_lr: float, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """One optimizer for the layers' matrices and one for embeddings, head and norms."""
    matrices, others = [], []
    for name, weight in decoder.named_parameters():
        (matrices if weight.ndim == 2 and name.startswith("layers.") else others).append(weight)
    return [
        Muon(matrices, lr=matrix_lr, dtype=dtype),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
