"""How the clusters of a version came about, and whether they still fit its photos: ``clustering`` of its record.

They have drifted where the photos that joined lie farther from them than a limit allows
(:mod:`~sbka_milvus.pipelines.drift`, the fit being the reference), if they are at least as many as a cluster holds:
fewer would hardly get one of their own. They also have where the gallery has twice the photos that they were fitted to,
or half of them: their number comes from that of the photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.pipelines.drift import DriftReport, drift_from
from sbka_milvus.pipelines.reference import Reference
from sbka_milvus.types import Embeddings

MOST_GROWN = 2.0
"""By how many times a gallery may have grown, or shrunk, since its clusters were fitted."""
DEFAULT_MAX_DRIFT = 0.08
"""About twice the highest drift of photos of the kinds that were there, and below the lowest where a quarter of those
that joined were of other kinds: benchmarks/joining.py, pseudo-unseen categories."""


@dataclass(frozen=True, slots=True)
class ClusterOrigin:
    """How a version's clusters came about.

    Attributes:
        how: ``fitted`` to its photos, or ``joined``: photos were put into the clusters of an earlier version.
        base: number of the version that was joined; none where they were fitted.
        fit: token of the version to whose photos they were fitted, which names the file of the fit.
        fit_version: its number.
        fitted: photos that they were fitted to.
        clusters: how many.
        joined: photos of this version that were not among those.
        gone: photos that were among those, and are not in this version.
        wanted: digest of the form, the number of clusters and the seed that were asked for.
        drift: of the photos that joined.
    """

    how: Literal["fitted", "joined"]
    base: int | None
    fit: str
    fit_version: int
    fitted: int
    clusters: int
    joined: int
    gone: int
    wanted: str
    drift: DriftReport = field(default_factory=DriftReport)

    @classmethod
    def of(cls, record: VersionRecord | None) -> ClusterOrigin | None:
        """That of a version; none where its record does not say it."""
        told: Mapping[str, Any] = (record.clustering if record is not None else None) or {}
        try:
            made = cls(**{**told, "drift": DriftReport(**told["drift"])})
            return made if made.fitted > 0 and made.clusters > 0 and made.how in ("fitted", "joined") else None
        except (KeyError, TypeError):
            return None

    @classmethod
    def fitted_now(cls, token: str, version: int, wanted: str, reference: Reference) -> ClusterOrigin:
        """Of a version whose clusters were fitted to the photos of a reference."""
        drift = DriftReport(reference_distortion=reference.distortion, reference=reference.time.isoformat())
        return cls("fitted", None, token, version, len(reference.ids), len(reference.centroids), 0, 0, wanted, drift)

    def joined_by(self, version: int, reference: Reference, embeddings: Embeddings) -> ClusterOrigin:
        """Of a version whose photos join the clusters of the version that this is of.

        Args:
            version: number of the version that this is of.
            reference: the fit.
            embeddings: all photos of the new version, with their own vectors.
        """
        stay = int(reference.holds(embeddings.ids).sum())
        return ClusterOrigin(
            how="joined",
            base=version,
            fit=self.fit,
            fit_version=self.fit_version,
            fitted=self.fitted,
            clusters=self.clusters,
            joined=len(embeddings) - stay,
            gone=self.fitted - stay,
            wanted=self.wanted,
            drift=drift_from(reference, embeddings),
        )

    @property
    def photos(self) -> int:
        """Photos of the version."""
        return self.fitted - self.gone + self.joined

    def complaint(self, max_drift: float, gallery: Gallery) -> str:
        """One line that says that the clusters have drifted, with the figure and the remedy; empty where they fit.

        Args:
            max_drift: drift that is allowed.
            gallery: whose clusters.
        """
        if self.drift.enough and self.drift.drift > max_drift and self.joined * self.clusters >= self.fitted:
            why = (
                f"the {self.joined} photos that joined since version {self.fit_version} lie {self.drift.drift:.0%} "
                f"farther from them than its own {self.fitted} did (limit: {max_drift:.0%})"
            )
        elif not self.fitted / MOST_GROWN < self.photos < self.fitted * MOST_GROWN:
            why = f"they were made of {self.fitted} photos in version {self.fit_version}, and there are {self.photos}"
        else:
            return ""
        return f"The clusters have drifted: {why}. Make them anew: sbka cluster -g {gallery.root}"

    def to_dict(self) -> dict[str, Any]:
        """For the version's record."""
        return asdict(self)
