"""The probability that a gallery holds what a sketch shows, from what a search through a vector store has at hand.

Two steps, as the evidence is of two kinds. Trained categories are many, but the model is surer of them than of
others; those held out of the training (the pseudo-unseen ones) are like a user's, but few. So the weights of the seven
features are fitted on the trained ones, and two numbers, the slope and the bias of the result's logit (Platt 1999),
on the pseudo-unseen ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.confidence import Evidence
from sbka_milvus.rankers.logistic import Logistic
from sbka_milvus.rankers.ranker import Float64Array
from sbka_milvus.rankers.served_features import SERVED_FEATURES

FORM = 1
"""Of the stored values: raised where the features change their meaning."""
RIDGE = 0.01
"""Penalty on the weights for each simulated search: the features say nearly the same, and share the work."""
_SLOPE_RIDGE = 1e-3
_MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class ServedConfidence:
    """A fitted confidence of one form of search.

    Attributes:
        regression: over :data:`~sbka_milvus.rankers.served_features.SERVED_FEATURES`.
        scaling: from the regression's logit to the probability; none: the regression's own is taken.
    """

    regression: Logistic
    scaling: Logistic | None = None

    def __post_init__(self) -> None:
        if len(self.regression.weights) != len(SERVED_FEATURES):
            raise InvalidValue(
                f"A confidence has {len(SERVED_FEATURES)} weights, not {len(self.regression.weights)}.", "Fit it anew."
            )
        if self.scaling is not None and len(self.scaling.weights) != 1:
            raise InvalidValue(f"A scaling has 1 weight, not {len(self.scaling.weights)}.", "Fit it anew.")

    @classmethod
    def fit(cls, trained: Evidence, held: Evidence | None = None) -> ServedConfidence:
        """From simulated searches.

        Args:
            trained: of the training's categories: gives the weights.
            held: of pseudo-unseen categories: gives the scale; none: it is that of the trained ones, which is too sure.

        Raises:
            InvalidValue: The category was always there, or never.
        """
        regression = Logistic.fit(trained.features, trained.present, RIDGE * len(trained.present))
        if held is None:
            return cls(regression)
        scaling = Logistic.fit(_logits(regression, held.features), held.present, _SLOPE_RIDGE * len(held.present))
        # A slope below nought would turn the order round: chance among few sketches, not knowledge.
        return cls(regression, scaling if scaling.weights[0] > 0.0 else None)

    def probability(self, features: Float64Array) -> Float64Array:
        """That the gallery holds the sketch's category, where half of the sketches' categories are held.

        Args:
            features: shape (Q, 7), float64, of :func:`~sbka_milvus.rankers.served_features.served_features`.

        Returns:
            shape (Q,), float64, in [0, 1].

        Raises:
            InvalidValue: The shape does not fit.
        """
        if self.scaling is None:
            return self.regression.probability(features)
        return self.scaling.probability(_logits(self.regression, features))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "form": FORM,
            "features": list(SERVED_FEATURES),
            "regression": self.regression.to_dict(),
            "scaling": None if self.scaling is None else self.scaling.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Any) -> ServedConfidence:
        """What :meth:`to_dict` wrote.

        Raises:
            InvalidValue: It is of another form, or damaged.
        """
        if not isinstance(values, dict) or (values.get("form"), values.get("features")) != (
            FORM,
            list(SERVED_FEATURES),
        ):
            raise InvalidValue("This confidence is of another form.", "Fit it anew with this version.")
        regression, scaling = values.get("regression"), values.get("scaling")
        if not isinstance(regression, dict) or not (scaling is None or isinstance(scaling, dict)):
            raise InvalidValue("This confidence holds no regression.", "Fit it anew.")
        return cls(Logistic.from_dict(regression), None if scaling is None else Logistic.from_dict(scaling))


def _logits(regression: Logistic, features: Float64Array) -> Float64Array:
    sure = np.clip(regression.probability(features), _MARGIN, 1.0 - _MARGIN)
    return np.asarray(np.log(sure / (1.0 - sure))[:, np.newaxis])
