"""Logistic regression by Newton's method: a few numbers fitted on a few thousand rows, with no library to ship."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.ranker import Float64Array, require_at_least

_MOST_STEPS = 100
_SETTLED = 1e-9
_MARGIN = 1e-12


@dataclass(frozen=True, slots=True)
class Logistic:
    """P(true | x) = 1 / (1 + exp(-(bias + sum of weights * (x - centre) / scale))).

    Attributes:
        centre: F values, the features' means where it was fitted.
        scale: F values above 0, their standard deviations.
        weights: F values.
        bias: one value.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __post_init__(self) -> None:
        if not len(self.centre) == len(self.scale) == len(self.weights):
            raise InvalidValue("centre, scale and weights of a logistic regression must be of one length.")
        if (
            not np.isfinite([*self.centre, *self.scale, *self.weights, self.bias]).all()
            or min(self.scale, default=1) <= 0
        ):
            raise InvalidValue("A logistic regression must hold finite numbers, and scales above 0.")

    @classmethod
    def fit(cls, features: Float64Array, true: np.ndarray, ridge: float = 1.0) -> Logistic:
        """The weights that make the observed outcomes likeliest, with a penalty of ridge / 2 |weights|^2.

        Args:
            features: shape (R, F), float64, finite.
            true: shape (R,), bool, with both outcomes.
            ridge: at least 0; on standardised features. Above 0 there is always one solution.

        Raises:
            InvalidValue: A shape or value does not fit, or only one outcome occurs.
        """
        _require_rows(features)
        require_at_least(ridge, 0.0, "ridge")
        if true.shape != (len(features),) or true.dtype != np.bool_:
            raise InvalidValue(f"Outcomes must be bool of shape ({len(features)},), not {true.dtype} of {true.shape}.")
        if true.all() or not true.any():
            raise InvalidValue("Only one outcome occurs, so nothing can be told apart.", "Pass examples of both.")
        centre = features.mean(axis=0)
        spread = features.std(axis=0)
        scale = np.where(spread > _MARGIN, spread, 1.0)
        rows = np.hstack([np.ones((len(features), 1)), (features - centre) / scale])
        penalty = np.full(rows.shape[1], ridge)
        penalty[0] = 1e-9  # the bias is free
        solution = _newton(rows, true.astype(np.float64), penalty)
        return cls(tuple(centre.tolist()), tuple(scale.tolist()), tuple(solution[1:].tolist()), float(solution[0]))

    def probability(self, features: Float64Array) -> Float64Array:
        """P(true) of each row.

        Args:
            features: shape (R, F), float64, finite.

        Returns:
            shape (R,), float64, in [0, 1].

        Raises:
            InvalidValue: The shape does not fit, or a value is not finite.
        """
        _require_rows(features)
        if features.shape[1] != len(self.weights):
            raise InvalidValue(f"{features.shape[1]} features do not fit a regression of {len(self.weights)}.")
        rows = (features - np.array(self.centre)) / np.array(self.scale)
        return _sigmoid(rows @ np.array(self.weights) + self.bias)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {name: list(getattr(self, name)) for name in ("centre", "scale", "weights")} | {"bias": self.bias}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Logistic:
        """What :meth:`to_dict` wrote.

        Raises:
            InvalidValue: Something is missing or no number.
        """
        try:
            centre, scale, weights = (tuple(map(float, values[name])) for name in ("centre", "scale", "weights"))
            return cls(centre, scale, weights, float(values["bias"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidValue(f"This is no logistic regression: {error!r}.", "Fit the confidence anew.") from None


def _newton(rows: Float64Array, wanted: Float64Array, penalty: Float64Array) -> Float64Array:
    found = np.zeros(rows.shape[1])
    loss = _loss(rows, wanted, penalty, found)
    for _ in range(_MOST_STEPS):
        chance = _sigmoid(rows @ found)
        gradient = rows.T @ (chance - wanted) + penalty * found
        curvature = (rows * (chance * (1.0 - chance))[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        # Far from the solution a full step can overshoot; half of it, or half of that, does not.
        size = 1.0
        while size > _SETTLED and _loss(rows, wanted, penalty, found - size * step) > loss:
            size /= 2.0
        found = found - size * step
        before, loss = loss, _loss(rows, wanted, penalty, found)
        if before - loss <= _SETTLED * max(1.0, abs(loss)):
            break
    return found


def _loss(rows: Float64Array, wanted: Float64Array, penalty: Float64Array, at: Float64Array) -> float:
    scores = rows @ at
    return float((np.logaddexp(0.0, scores) - wanted * scores).sum() + 0.5 * (penalty * at**2).sum())


def _sigmoid(values: Float64Array) -> Float64Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def _require_rows(features: Float64Array) -> None:
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating) or not np.isfinite(features).all():
        raise InvalidValue(f"Features must be finite floats of shape (R, F), not {features.dtype} of {features.shape}.")
