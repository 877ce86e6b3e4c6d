"""How sure searches with a model may be: fitted on searches among the training's pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.clusters import default_n_clusters
from sbka_milvus.errors import InvalidValue
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.rankers.confidence import Evidence, Labelled
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.rankers.served_simulation import ServedSearch, joined, simulate_served
from sbka_milvus.rankers.spaces import SERVED_FORMS, ServedForm

LEAST_TRAINED = 8
"""Trained categories from which a confidence is fitted: half of a few are too few to tell apart."""
LEAST_HELD = 6
"""Pseudo-unseen categories from which the confidence is scaled on them."""

_SEARCHED = 20
_GROUPS = 3
_TRAINED_ROUNDS = 4
_HELD_ROUNDS = 6


def fit_confidence(
    trained: tuple[Labelled, Labelled], held: tuple[Labelled, Labelled] | None, progress: Progress, *, seed: int = 0
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The confidence of each form of search, as plain values, and what the user should know.

    Args:
        trained: sketches and photos of the same trained categories.
        held: the same of pseudo-unseen categories.
        progress: what shows how far it is.
        seed: of the simulated searches.

    Returns:
        None in place of the values where there are fewer than eight trained categories.
    """
    n_trained = len(set(trained[1].categories))
    n_held = 0 if held is None else len(set(held[1].categories))
    if n_trained < LEAST_TRAINED:
        note = f"{n_trained} trained categories are too few to learn from when a search has no good match."
        return None, (f"{note} Searches will not tell; {LEAST_TRAINED} are enough.",)
    scaled = held if n_held >= LEAST_HELD else None
    groups = _groups(sorted(set(trained[1].categories)), seed)
    steps = len(SERVED_FORMS) * (len(groups) * _TRAINED_ROUNDS + (_HELD_ROUNDS if scaled else 0))
    fitted: dict[str, Any] = {}
    with progress.stage("Fitting the confidence", steps, "rounds") as advance:
        for form in SERVED_FORMS:
            evidence = _trained_evidence(form, trained, groups, advance)
            unseen = None if scaled is None else _held_evidence(form, trained, scaled, seed, advance)
            try:
                fitted[form] = ServedConfidence.fit(evidence, unseen).to_dict()
            except InvalidValue as error:  # such as sketches of one half of the categories alone
                return None, (f"No confidence could be fitted: {error.problem}",)
    values = {"forms": fitted, "trained_categories": n_trained, "scaled_on": n_held if scaled else 0}
    if scaled:
        return values, ()
    return values, (
        f"The confidence of searches is fitted on trained categories alone, as {n_held} were held out and {LEAST_HELD} "
        "are needed to scale it: it is too sure.",
    )


def _groups(categories: list[str], seed: int) -> list[list[str]]:
    """Some groups of categories to search for; the others are then the backdrop."""
    drawn = [categories[place] for place in np.random.default_rng(seed).permutation(len(categories))]
    size = min(_SEARCHED, len(drawn) // 2)
    return [drawn[start : start + size] for start in range(0, len(drawn), size)][: min(_GROUPS, len(drawn) // size)]


def _trained_evidence(
    form: ServedForm, trained: tuple[Labelled, Labelled], groups: list[list[str]], advance: Advance
) -> Evidence:
    rounds = []
    for number, group in enumerate(groups):
        # A sketch that is searched for is not among those which the search knows: a user's is not either.
        (asked, others), (photos, backdrop) = (_parted(part, group) for part in trained)
        search = ServedSearch(form, default_n_clusters, others.vectors)
        for evidence in simulate_served(asked, photos, backdrop, search, n_rounds=_TRAINED_ROUNDS, seed=number):
            rounds.append(evidence)
            advance(1)
    return joined(rounds)


def _held_evidence(
    form: ServedForm,
    trained: tuple[Labelled, Labelled],
    held: tuple[Labelled, Labelled],
    seed: int,
    advance: Advance,
) -> Evidence:
    search = ServedSearch(form, default_n_clusters, trained[0].vectors)
    rounds = []
    for evidence in simulate_served(*held, trained[1], search, n_rounds=_HELD_ROUNDS, seed=seed):
        rounds.append(evidence)
        advance(1)
    return joined(rounds)


def _parted(pictures: Labelled, group: list[str]) -> tuple[Labelled, Labelled]:
    inside = np.isin(np.array(pictures.categories), group)
    return rows_of(pictures, inside), rows_of(pictures, ~inside)


def rows_of(pictures: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    """Those that were chosen.

    Args:
        pictures: N of them.
        chosen: shape (N,), bool.
    """
    return Labelled(
        pictures.vectors[chosen],
        [name for name, take in zip(pictures.categories, chosen.tolist(), strict=True) if take],
    )
