"""The same pixels as a backbone wants to see them."""

from __future__ import annotations

import torch
from torch.nn import functional

from sbka_milvus.encoders.preprocessing import Preprocessing


def translate(pixels: torch.Tensor, own: Preprocessing, other: Preprocessing) -> torch.Tensor:
    """Pixels on the scale of one backbone, resized and scaled for another or for itself: the same crop, the same flip.

    Args:
        pixels: shape (N, 3, S, S), float32, as ``own.scale`` makes them; S may be any size.
        own: of the backbone on whose scale they are.
        other: of the one that is to see them; may be ``own``.

    Returns:
        shape (N, 3, T, T), float32, T being the other's size; ``pixels`` themselves where nothing differs. Bilinear,
        with antialiasing. Larger pictures show no more detail than there was.
    """
    if (own.mean, own.std) != (other.mean, other.std):
        mean, std, other_mean, other_std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (own.mean, own.std, other.mean, other.std)
        )
        pixels = (pixels * std + mean - other_mean) / other_std
    if pixels.shape[-1] != other.size:
        side = (other.size, other.size)
        pixels = functional.interpolate(pixels, side, mode="bilinear", antialias=True, align_corners=False)
    return pixels
