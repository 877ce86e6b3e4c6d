"""The record of a training, epoch by epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sbka_milvus.files import replacing


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1.
        losses: mean weighted loss by name.
        learning_rate: of the epoch's last step.
        teacher_learns: whether the teacher was updated.
        validation_map: mAP@all of the pseudo-unseen categories, one-to-one; none where none are held out.
        seconds: wall time of the epoch.
        teacher_learning_rate: of the teacher in the epoch's last step; none where it does not learn.
    """

    epoch: int
    losses: dict[str, float]
    learning_rate: float
    teacher_learns: bool
    validation_map: float | None
    seconds: float
    teacher_learning_rate: float | None = None


@dataclass(slots=True)
class History:
    """All epochs so far and which of them is the model."""

    epochs: list[EpochRecord] = field(default_factory=list)
    best_epoch: int | None = None

    @property
    def best_map(self) -> float | None:
        """The pseudo-unseen mAP@all of the best epoch."""
        return next((record.validation_map for record in self.epochs if record.epoch == self.best_epoch), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {
            "best_epoch": self.best_epoch,
            "best_validation_map": self.best_map,
            "epochs": [asdict(e) for e in self.epochs],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """From :meth:`to_dict`."""
        return cls([EpochRecord(**record) for record in values["epochs"]], values["best_epoch"])

    def write_jsonl(self, path: Path) -> None:
        """One JSON object an epoch.

        Raises:
            OutputError: The file cannot be written.
        """
        with replacing(path) as file:
            file.write("".join(json.dumps(asdict(record)) + "\n" for record in self.epochs).encode())
