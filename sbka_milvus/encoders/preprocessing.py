"""From an upright RGB picture to the numbers a backbone expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sbka_milvus.errors import InvalidValue

Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["crop", "squash"]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes a backbone's input.

    Attributes:
        size: side of the square input, in pixels.
        mean: per channel, on the scale [0, 1].
        std: per channel, on the scale [0, 1].
        interpolation: of the resize.
        fit: ``crop`` scales the short side to ``size`` and keeps the centre; ``squash`` ignores the aspect.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.size < 1 or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InvalidValue(
                f"Preprocessing {self} needs a positive size, three means and three positive deviations."
            )
        if self.interpolation not in _RESAMPLING or self.fit not in ("crop", "squash"):
            raise InvalidValue(f"Preprocessing knows no interpolation {self.interpolation!r} with fit {self.fit!r}.")

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """The picture cut to the input square.

        Args:
            image: any size; converted to RGB where it is not.

        Returns:
            shape (size, size, 3), uint8.
        """
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        if rgb.size != (self.size, self.size):
            rgb = rgb.resize((self.size, self.size), _RESAMPLING[self.interpolation], box=self._box(rgb))
        return np.asarray(rgb)

    def _box(self, image: Image.Image) -> tuple[float, float, float, float]:
        width, height = image.size
        if self.fit == "squash":
            return (0.0, 0.0, float(width), float(height))
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side)

    def stack(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """shape (N, 3, size, size), uint8: :meth:`pixels` of each picture."""
        if not images:
            return torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)
        stacked = np.stack([self.pixels(image) for image in images])
        return torch.from_numpy(stacked).permute(0, 3, 1, 2)

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels brought to the backbone's range.

        Args:
            pixels: shape (N, 3, H, W), uint8, or floating in [0, 255].

        Returns:
            The same shape, float32: (pixels / 255 - mean) / std.
        """
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1) * 255.0
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1) * 255.0
        return (pixels.to(torch.float32) - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """From :meth:`to_dict`.

        Raises:
            InvalidValue: An entry is missing, unknown or out of range.
        """
        try:
            return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except (KeyError, TypeError) as error:
            raise InvalidValue(f"Preprocessing cannot be made from {values}: {error}.") from error
