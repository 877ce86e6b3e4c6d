"""What an evaluation measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.bootstrap import Resampling
from sbka_milvus.evaluation.protocols import Protocol, protocol_named

DEFAULT_PRECISION_KS = (10, 25, 100)
DEFAULT_MAP_KS = (200,)
RECALL_KS = (1, 10)
"""Cut-offs at which the photo that was drawn is looked for."""

SEEN_SHARE = 0.2
"""Share of the seen photos in a generalised gallery, as OCEAN has it."""


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What to measure, and how.

    Attributes:
        protocol: name of one of :data:`~sbka_milvus.evaluation.protocols.PROTOCOLS`.
        ks: cut-offs of P@K.
        map_ks: cut-offs of mAP@K, each in the strict and the lenient form.
        deduplicate: whether the figures of the gallery without its doubles stand beside the standard ones.
        seen_share: share of the seen photos that joins the gallery (generalised zero-shot), in (0, 1]; None: unseen
            photos alone.
        seed: of the share and of chance where that is simulated.
        resampling: how to draw intervals; None: none.
    """

    protocol: str = "plain"
    ks: tuple[int, ...] = DEFAULT_PRECISION_KS
    map_ks: tuple[int, ...] = DEFAULT_MAP_KS
    deduplicate: bool = False
    seen_share: float | None = None
    seed: int = 0
    resampling: Resampling | None = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        protocol_named(self.protocol)
        for name, ks in (("P@K", self.ks), ("mAP@K", self.map_ks)):
            if any(k < 1 for k in ks) or len(set(ks)) != len(ks):
                raise InvalidValue(
                    f"The cut-offs of {name} are {list(ks)}.", "Each must be at least 1, and none twice."
                )
        if self.seen_share is not None and not 0.0 < self.seen_share <= 1.0:
            raise InvalidValue(f"The share of seen photos is {self.seen_share}.", "It must be above 0 and at most 1.")

    @property
    def rules(self) -> Protocol:
        """The protocol itself."""
        return protocol_named(self.protocol)


def metric_names(ks: Sequence[int], map_ks: Sequence[int]) -> list[str]:
    """The names of the metrics, in the order of the papers' tables.

    >>> metric_names((10,), (200,))
    ['mAP@all', 'mAP@200', 'mAP@200 lenient', 'P@10']
    """
    cut = [name for k in map_ks for name in (f"mAP@{k}", f"mAP@{k} lenient")]
    return ["mAP@all", *cut, *(f"P@{k}" for k in ks)]


def recall_names(ks: Sequence[int] = RECALL_KS) -> list[str]:
    """The names of the figures of the photo that was drawn.

    >>> recall_names((1,))
    ['R@1', 'R@1 in category']
    """
    return [*(f"R@{k}" for k in ks), *(f"R@{k} in category" for k in ks)]
