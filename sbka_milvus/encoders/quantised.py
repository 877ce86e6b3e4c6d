"""Linear layers with weights of 8 bits, whose inputs are brought to 8 bits as they come.

With one scale for all that a layer sees at once, or with one for each row of it, which takes a third longer: trained
transformers of pictures have a few tokens whose values are many times those of all others (Darcet et al., "Vision
Transformers Need Registers", ICLR 2024), and a scale that has room for those leaves the others few steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

_LEAST_SHARE = 0.5
"""Of a network's weights that must be in linear layers."""


class EightBitLinear(nn.Module):
    """As a linear layer, with a scale for each row of weights and one for all inputs of a call."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """From float32 weights, shape (out, in), and their bias, shape (out,)."""
        super().__init__()
        scales = (weight.detach().abs().amax(dim=1) / 127).clamp_min(torch.finfo(torch.float32).tiny).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls itself deprecated
            rows = torch.quantize_per_channel(
                weight.detach().contiguous(), scales, torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8
            )
        self.packed = torch.ops.quantized.linear_prepack(rows, None if bias is None else bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """shape (..., out), float32, of x, shape (..., in), float32."""
        made: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self.packed, False)
        return made


class EightBitRows(nn.Module):
    """As :class:`EightBitLinear`, with a scale for each row of its inputs."""

    weight: torch.Tensor
    scales: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """From float32 weights, shape (out, in), and their bias, shape (out,)."""
        super().__init__()
        whole, scales = _eight_bits(weight.detach())
        self.register_buffer("weight", whole.t())
        self.register_buffer("scales", scales.t())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """shape (..., out), float32, of x, shape (..., in), float32."""
        rows, scales = _eight_bits(x.reshape(-1, x.shape[-1]))
        made = torch._int_mm(rows, self.weight).float() * scales * self.scales
        if self.bias is not None:
            made = made + self.bias
        return made.reshape(*x.shape[:-1], -1)


def _eight_bits(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers from -127 to 127, int8, and what each row of them is to be multiplied by, shape (N, 1), float32."""
    scales = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.round(rows / scales).to(torch.int8), scales


Linear = Callable[[torch.Tensor, torch.Tensor | None], nn.Module]
"""Makes what stands for a linear layer of its weights and bias."""


class EightBitAttention(nn.Module):
    """As PyTorch's attention of one sequence to itself."""

    def __init__(self, attention: nn.MultiheadAttention, linear: Linear) -> None:
        """Takes the weights of ``attention``, which must be what :func:`_can_be_replaced` says."""
        super().__init__()
        self.heads = attention.num_heads
        weight: torch.Tensor = attention.in_proj_weight
        self.inputs = linear(weight, attention.in_proj_bias)
        self.output = linear(attention.out_proj.weight, attention.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """shape (B, L, D) of x, shape (B, L, D), three times; the mask is added to the logits."""
        if key is not query or value is not query or need_weights:
            raise NotImplementedError("only the attention of a sequence to itself")
        batch, length, width = query.shape
        split = self.inputs(query).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        made = functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        output: torch.Tensor = self.output(made.transpose(1, 2).reshape(batch, length, width))
        return output, None


def quantise(net: nn.Module, linear: Linear = EightBitLinear) -> nn.Module:
    """Replaces linear layers and attention in place.

    Args:
        net: in eval mode, on the CPU.
        linear: what stands for a linear layer.

    Raises:
        NotImplementedError: Most of the network's weights are elsewhere: nothing would be gained.
    """
    total = sum(value.numel() for value in net.parameters())
    if _replace(net, linear) < _LEAST_SHARE * total:
        raise NotImplementedError("too few of the weights are in linear layers")
    return net


def _replace(net: nn.Module, linear: Linear) -> int:
    """How many weights are of 8 bits now."""
    replaced = 0
    for name, child in net.named_children():
        if type(child) is nn.Linear:
            setattr(net, name, linear(child.weight, child.bias))
            replaced += child.weight.numel()
        elif isinstance(child, nn.MultiheadAttention):
            if _can_be_replaced(child):
                setattr(net, name, EightBitAttention(child, linear))
                replaced += child.in_proj_weight.numel() + child.out_proj.weight.numel()
        else:
            replaced += _replace(child, linear)
    return replaced


def _can_be_replaced(attention: nn.MultiheadAttention) -> bool:
    plain = attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    return plain and bool(attention._qkv_same_embed_dim) and attention.batch_first
