"""A Llama decoder for CPU training: RMSNorm, rotary positions, SwiGLU, no biases.

Weights are stored in the layout of Hugging Face's `LlamaForCausalLM` (rotary halves, not
interleaved pairs), so the HF folder is a copy and only the GGUF writer permutes rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.shape import Shape

__all__ = ["Decoder", "Shape"]


def rotation(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for `positions`, shape (*positions, head_width)."""
    half = shape.head_width // 2
    frequency = shape.theta ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = positions.float().unsqueeze(-1) * frequency.to(positions.device)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weight).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, hidden = shape.width, shape.hidden
        self.attention_norm = Norm(width, shape.epsilon)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mlp_norm = Norm(width, shape.epsilon)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        return x.view(batch, length, self.shape.heads, self.shape.head_width).transpose(1, 2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        normed = self.attention_norm(x)
        query = rotate(self.heads(self.query(normed)), cos, sin)
        key = rotate(self.heads(self.key(normed)), cos, sin)
        value = self.heads(self.value(normed))
        mixed = attend(query, key, value, mask)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        normed = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention; `mask` is True where a query may look. Written out: in bfloat16 this is
    faster on a CPU than the fused kernel, and the GPU compiles it to the same thing."""
    scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(-1).to(value.dtype) @ value


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.epsilon)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)

    def initialise(self, seed: int) -> None:
        """Scaled normal weights; the two matrices that write to the residual stream start smaller."""
        random = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                continue
            scale = 0.02 if name.startswith("embedding") else weight.shape[1] ** -0.5
            if name.endswith(("output.weight", "down.weight")):
                scale /= (2 * self.shape.layers) ** 0.5
            if name.startswith("head"):
                scale *= 0.5
            with torch.no_grad():
                weight.copy_(torch.randn(weight.shape, generator=random) * scale)

    def hidden(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """What the head reads, shape (batch, length, width)."""
        cos, sin = rotation(self.shape, positions)
        x = self.embedding(ids)
        if torch.is_autocast_enabled(ids.device.type):
            x = x.to(torch.get_autocast_dtype(ids.device.type))
        cos, sin = cos.unsqueeze(1).to(x.dtype), sin.unsqueeze(1).to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.norm(x)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Logits, shape (batch, length, vocab). `mask` is (batch, 1, length, length), True where a token may look."""
        return self.head(self.hidden(ids, positions, mask))
