"""The two networks of SBKA (Liu et al., arXiv 2312.10320): a student that serves, and the teacher beside it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.isometry import Isometry
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.trainable import choose_trainable, has_adapters

Scope = Literal["head", "adapters", "all"]


class StudentOutput(NamedTuple):
    """What the student makes of B pictures.

    Attributes:
        feature: shape (B, D).
        seen_logits: shape (B, number of seen categories), float32.
        knowledge_logits: shape (B, number of known classes), float32; none where the student has no knowledge head.
    """

    feature: torch.Tensor
    seen_logits: torch.Tensor
    knowledge_logits: torch.Tensor | None


class CosineHead(nn.Linear):
    """Cosines of a feature with one vector a category, over a temperature.

    Attributes:
        temperature: what the cosines are divided by.
    """

    def __init__(self, dim: int, n_classes: int, temperature: float) -> None:
        super().__init__(dim, n_classes, bias=False)
        self.temperature = temperature

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Logits, shape (B, n_classes), of features, shape (B, dim)."""
        rows = functional.normalize(self.weight, dim=-1)
        return functional.linear(functional.normalize(feature, dim=-1), rows) / self.temperature


class SbkaStudent(nn.Module):
    """One encoder shared by sketches and photos, with no modality tag; it is trained whole and then serves."""

    def __init__(
        self,
        backbone: Backbone,
        n_seen: int,
        knowledge: KnowledgeHead | None,
        *,
        temperature: float | None = None,
        taught_dim: int | None = None,
    ) -> None:
        """Puts fresh scores over seen categories on a backbone.

        Args:
            backbone: what serves in the end.
            n_seen: number of seen categories.
            knowledge: scores over the classes that the backbone knows.
            temperature: of a :class:`CosineHead` for the seen categories; none: a linear one.
            taught_dim: length of the features that it is to learn; none: it learns none.
        """
        super().__init__()
        self.backbone = backbone
        dim = backbone.feature_dim
        alike = taught_dim is None or taught_dim == dim
        self.isometry = None if alike else Isometry(*sorted((dim, taught_dim or dim)))
        self.seen_head = nn.Linear(dim, n_seen) if temperature is None else CosineHead(dim, n_seen, temperature)
        self.knowledge = knowledge

    def beside(self, feature: torch.Tensor, taught: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Its own feature and a teacher's in one space, the shorter ones mapped into that of the longer.

        Args:
            feature: shape (B, D), float32.
            taught: shape (B, ``taught_dim``), float32.

        Returns:
            Both, of the longer of the two lengths.
        """
        if self.isometry is None:
            return feature, taught
        if feature.shape[1] < taught.shape[1]:
            return self.isometry(feature), taught
        return feature, self.isometry(taught)

    def forward(self, pixels: torch.Tensor) -> StudentOutput:
        """Features and both logits of ``pixels``, shape (B, 3, S, S)."""
        feature = self.backbone(pixels)
        # Softmaxes over a thousand classes need more digits than autocast's fast types have.
        with torch.autocast(pixels.device.type, enabled=False):
            flat = feature.float()
            known = None if self.knowledge is None else self.knowledge(flat)
            return StudentOutput(feature, self.seen_head(flat), known)


class SbkaTeacher(nn.Module):
    """A pre-trained network beside the student, of which only a part may train.

    Attributes:
        backbone: always in eval mode: its normalisation layers use their stored statistics, and nothing is dropped.
        knowledge: scores over the classes that it knows; none where it teaches by its features alone.
        scope: what may train: the knowledge ``head`` alone (the paper), also the ``adapters`` (and the scales and
            shifts of normalisation layers; these alone where the backbone has no adapters), or ``all``.
    """

    def __init__(self, backbone: Backbone, knowledge: KnowledgeHead | None, scope: Scope = "head") -> None:
        super().__init__()
        self.backbone = backbone
        self.knowledge = knowledge
        self.scope = scope
        if scope == "head":
            backbone.requires_grad_(False)
        else:
            choose_trainable(backbone, "all" if scope == "all" else "adapters" if has_adapters(backbone) else "norm")
        self.train()

    def train(self, mode: bool = True) -> SbkaTeacher:
        """The backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @property
    def features_learn(self) -> bool:
        """Whether more than the head may train."""
        return self.scope != "head"

    def features(self, pixels: torch.Tensor, *, learns: bool = False) -> torch.Tensor:
        """shape (B, D), float32; with gradient where it learns and its scope reaches that far."""
        with torch.set_grad_enabled(learns and self.features_learn):
            return self.backbone(pixels).float()  # type: ignore[no-any-return]

    def learned(self) -> dict[str, torch.Tensor]:
        """The parameters that may train, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def load_learned(self, values: dict[str, torch.Tensor]) -> None:
        """Takes back what :meth:`learned` gave.

        Raises:
            KeyError: It is of another teacher.
        """
        own = self.learned()
        if own.keys() != values.keys():
            raise KeyError(f"the teacher's parts are not {', '.join(sorted(own.keys() ^ values.keys()))}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(values[name])
