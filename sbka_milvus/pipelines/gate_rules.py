"""What a gate measures on, what must be reached, and what it decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sbka_milvus.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sketches that no training has seen.

    Attributes:
        sketches: folder of ``<category>/<sketch>``; a photo's category is the name of its own folder, which may differ
            in case, ' ', '_' and '-'. None where there are no labels.
        queries: sketches without labels, for galleries that no label fits.
    """

    sketches: Path | None = None
    queries: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class GateOptions:
    """When a new version may take over.

    Attributes:
        max_loss: mAP that it may lose.
        min_agreement: agreement that it must have, where there are no labels.
        k: of agreement@k.
        max_queries: sketches to measure on; of more, a seeded sample is taken.
        seed: of that sample.
        cluster_weight: of the searches in versions that have none of their own.
        force: pass whatever the figures are; they are measured all the same.

    Raises:
        InvalidValue: A number is out of range.
    """

    max_loss: float = 0.01
    min_agreement: float = 0.3
    k: int = 10
    max_queries: int = 500
    seed: int = 0
    cluster_weight: float = 0.8
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("max_loss", "min_agreement"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidValue(f"{name} is {getattr(self, name)}; it must lie in [0, 1].")
        if self.k < 1 or self.max_queries < 1:
            raise InvalidValue(f"k is {self.k} and max_queries {self.max_queries}; both must be at least 1.")


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the gate decided, and on what grounds.

    Attributes:
        passed: whether the new version may take over.
        measure: ``mAP@all``, ``mAP@200`` or ``agreement@10``; empty where nothing was measured.
        served_value: of the served version, in [0, 1]; 1 for agreement, which is with the served version itself.
        candidate_value: of the new one.
        threshold: the least value with which the new one passes.
        n_queries: sketches that it was measured on.
        reason: one sentence.
    """

    passed: bool
    measure: str
    served_value: float | None
    candidate_value: float | None
    threshold: float | None
    n_queries: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)
