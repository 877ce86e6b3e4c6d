"""Photos that join clusters, compared with clusters that are fitted anew: quality, drift and time.

    python benchmarks/joining.py                 # writes benchmarks/results/joining.json

**Quality**: a gallery is fitted to a part of its photos, the others join, and the same gallery is fitted to all. The
photos that join are of the kinds that are there, of others, or some of both. The encoder is MobileNetV2 as it comes
from ImageNet. The limit of drift is chosen on pseudo-unseen categories (half of the seen ones; what the form *linear*
knows of sketches comes from the other half); the unseen categories show whether it holds.

**Giants**: how large the largest clusters are, and what cutting up the larger ones does: to the mAP of the gallery, and
to searches of 16 clusters where a third of the gallery are near-copies of one photo.

**Time**: ten photos join ten thousand drawn vectors, as shares of the processor time that fitting takes.

    python benchmarks/joining.py --time          # measures this part alone, and replaces it in the report
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recipes import NOTE, ROOT, RealData, data_folder

from sbka_milvus.clusters import ClusterStatistics, assign_clusters, default_n_clusters
from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import read_embeddings, write_shard
from sbka_milvus.encoders.manifest import MANIFEST_FILE, Manifest
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.errors import SbkaError
from sbka_milvus.evaluation.metrics import mean_average_precision
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index
from sbka_milvus.pipelines.index_form import MatchingForm
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.pipelines.version_states import list_versions
from sbka_milvus.progress import SilentProgress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import FloatArray, normalise

FORMS: tuple[MatchingForm, ...] = ("fused", "linear")
OTHER_KINDS = (0.0, 0.25, 0.5, 1.0)
"""Shares of the photos that join whose categories are not in the gallery yet."""
K_HITS = 10
TIMED = (10_000, 10, 512)


@dataclass(frozen=True)
class Kinds:
    """Photos and sketches of some categories, and sketches of others that a model may know."""

    photos: FloatArray
    photo_kinds: np.ndarray
    sketches: FloatArray
    sketch_kinds: np.ndarray
    known: FloatArray


class Trial:
    """One gallery in memory; photos are taken in by their numbers."""

    def __init__(self, root: Path, kinds: Kinds, form: MatchingForm, seed: int) -> None:
        self.gallery = Gallery.create_or_open(root, "frozen")
        self.store: GalleryStore = MemoryGalleryStore()
        self.kinds, self.options = kinds, IndexOptions(seed=seed, matching=form)
        give_model(self.gallery, kinds.known)

    def add(self, numbers: Sequence[int]) -> None:
        add_vectors(self.gallery, [f"/p/{number:06d}.jpg" for number in numbers], self.kinds.photos[list(numbers)])

    def index(self, n_clusters: int, *, anew: bool = False) -> IndexReport:
        options = replace(self.options, n_clusters=n_clusters, anew=anew)
        return build_index(self.gallery, self.store, options, SilentProgress())

    def search(self, n_probe: int | None) -> np.ndarray:
        """Numbers of all photos, best first, those outside the probes last: what a search gives, in one product.

        Returns:
            shape (Q, N).
        """
        info = self.store.served(self.gallery.name)
        table, rows = self.store.clusters(info), next(self.store.scan(info, batch_size=1_000_000))
        matching = matching_finder(self.gallery)(info)
        queries = self.kinds.sketches if matching is None else matching.queries(self.kinds.sketches)
        to_clusters, scores = queries @ table.centroids.T, queries @ rows.embeddings.vectors.T
        if matching is None:
            scores = 0.8 * to_clusters[:, rows.cluster_ids] + 0.2 * scores
        if n_probe is not None and n_probe < len(table):
            least = np.sort(to_clusters, axis=1)[:, -n_probe, None]
            scores = np.where(to_clusters[:, rows.cluster_ids] >= least, scores, -np.inf)
        numbers = np.array([int(Path(uri).stem) for uri in rows.embeddings.uris])
        return numbers[np.argsort(-scores, axis=1, kind="stable")]

    def quality(self) -> dict[str, Any]:
        """mAP@all with all clusters probed, the mean cosine of photos and their centroids, and the balance."""
        relevant = self.kinds.photo_kinds[self.search(None)] == self.kinds.sketch_kinds[:, None]
        info = self.store.served(self.gallery.name)
        table, rows = self.store.clusters(info), next(self.store.scan(info, batch_size=1_000_000))
        own = np.einsum("nd,nd->n", rows.embeddings.vectors, table.centroids[rows.cluster_ids])
        statistics = ClusterStatistics.of(table)
        return {
            "mAP@all": mean_average_precision(relevant),
            "mean_cosine": float(own.mean()),
            "clusters": statistics.clusters,
            "size_max": statistics.size_max,
            "evenness": statistics.evenness,
        }


def main() -> None:
    """Runs the benchmark and writes its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--features", type=Path, help="keep the encoded pictures here, or take them from here")
    parser.add_argument("--time", action="store_true", help="measure the time alone, into the report that is there")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "joining.json")
    arguments = parser.parse_args()
    if arguments.time:
        report = json.loads(arguments.out.read_text()) | {"time": time_joining()}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
        return
    try:
        parts = read_parts(arguments.data, arguments.features)
        quality = {name: [trial for seed in range(arguments.seeds) for trial in compare(kinds, seed)]
                   for name, kinds in parts.items()}  # fmt: skip
        giants = {name: [cut_giants(kinds, seed) for seed in range(arguments.seeds)] for name, kinds in parts.items()}
        timed = time_joining()
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    report = {
        "command": "python benchmarks/joining.py",
        "data": {"pictures": "sketchy-mini", "note": NOTE, "encoder": "MobileNetV2, ImageNet, 128 px, not trained on"},
        "seeds": arguments.seeds,
        "summary": {name: summarise(trials) for name, trials in quality.items()},
        "giants": giants,
        "time": timed,
        "trials": quality,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def read_parts(data: Path, features: Path | None) -> dict[str, Kinds]:
    """The pseudo-unseen and the unseen categories, encoded."""
    if features is not None and features.is_file():
        with np.load(features) as content:
            arrays = dict(content)
    else:
        arrays = encode(data)
        if features is not None:
            np.savez(features, **arrays)
    split = RealData(data, "sketchy_ext_25").split
    seen = np.random.default_rng(25).permutation(sorted(split.seen))
    held, known = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    of_known = np.isin(arrays["sketch_kinds"], known)
    parts = {}
    for name, wanted in (("pseudo-unseen", held), ("unseen", np.array(split.unseen))):
        photos, sketches = np.isin(arrays["photo_kinds"], wanted), np.isin(arrays["sketch_kinds"], wanted)
        parts[name] = Kinds(
            arrays["photos"][photos],
            arrays["photo_kinds"][photos],
            arrays["sketches"][sketches],
            arrays["sketch_kinds"][sketches],
            arrays["sketches"][of_known],
        )
    return parts


def encode(data: Path) -> dict[str, Any]:
    """All photos and sketches of the split."""
    from sbka_milvus.encoders.bundle import load_bundle
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.pipelines.import_model import import_model

    real = RealData(data, "sketchy_ext_25")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        import_model(real.backbone(128), folder, "frozen", SilentProgress())
        sketches, photos = real.encode(BundleEncoder(load_bundle(folder)), (*real.split.seen, *real.split.unseen))
    return {
        "photos": photos.vectors,
        "photo_kinds": np.array(photos.categories),
        "sketches": sketches.vectors,
        "sketch_kinds": np.array(sketches.categories),
    }


def compare(kinds: Kinds, seed: int) -> list[dict[str, Any]]:
    """Both forms: each share of other kinds that joins, beside the same gallery fitted to all of its photos."""
    rng = np.random.default_rng([seed, 7])
    names = rng.permutation(np.unique(kinds.photo_kinds))
    there = np.isin(kinds.photo_kinds, names[: len(names) // 2])
    own, other = (rng.permutation(np.flatnonzero(flags)) for flags in (there, ~there))
    half = len(own) // 2
    trials = []
    for form in FORMS:
        for share in OTHER_KINDS:
            n_other = round(share * half)
            first, then = own[:half], np.concatenate([own[half : half + half - n_other], other[:n_other]])
            trials.append(_trial(kinds, form, seed, first, then) | {"other_kinds": share})
            print(json.dumps(trials[-1]), file=sys.stderr, flush=True)
    return trials


def _trial(kinds: Kinds, form: MatchingForm, seed: int, first: np.ndarray, then: np.ndarray) -> dict[str, Any]:
    numbers = np.concatenate([first, then])
    asked = np.isin(kinds.sketch_kinds, kinds.photo_kinds[numbers])
    kinds = replace(kinds, sketches=kinds.sketches[asked], sketch_kinds=kinds.sketch_kinds[asked])
    few, all_of_them = default_n_clusters(len(first)), default_n_clusters(len(numbers))
    with tempfile.TemporaryDirectory() as temporary:
        trial = Trial(Path(temporary) / "gallery", kinds, form, seed)
        trial.add(first.tolist())
        trial.index(few)
        trial.add(then.tolist())
        joined = trial.index(few)
        assert joined.clustering["how"] == "joined"
        quality, hits = trial.quality(), trial.search(16)[:, :K_HITS]
        trial.index(all_of_them, anew=True)
        anew, anew_hits = trial.quality(), trial.search(16)[:, :K_HITS]
        trial.options = replace(trial.options, seed=seed + 100)
        trial.index(all_of_them, anew=True)
        again_hits = trial.search(16)[:, :K_HITS]
        again = trial.quality()
    return {
        "form": form,
        "seed": seed,
        "fitted": len(first),
        "joined": len(then),
        "drift": joined.clustering["drift"]["drift"],
        "joined_quality": quality,
        "anew_quality": anew,
        "loss": anew["mAP@all"] - quality["mAP@all"],
        "loss_by_seed": anew["mAP@all"] - again["mAP@all"],
        "agreement": overlap(hits, anew_hits),
        "agreement_by_seed": overlap(again_hits, anew_hits),
    }


def cut_giants(kinds: Kinds, seed: int) -> dict[str, Any]:
    """Clusters as they come, and those above a multiple of the mean size cut into pieces of about the mean."""
    centroids = fit_centroids(kinds.photos, default_n_clusters(len(kinds.photos)), seed=seed)
    sizes = np.bincount(assign_clusters(kinds.photos, centroids), minlength=len(centroids))
    found: dict[str, Any] = {"seed": seed, "largest_over_mean": float(sizes.max() / sizes.mean())}
    for most in (None, 2.0, 1.5):
        cut = centroids if most is None else cut_up(kinds.photos, centroids, most, seed)
        ranked = np.argsort(-fused(kinds.sketches, kinds.photos, cut), axis=1, kind="stable")
        name = "as they come" if most is None else f"cut above {most:g} times the mean"
        relevant = kinds.photo_kinds[ranked] == kinds.sketch_kinds[:, None]
        found[name] = {"clusters": len(cut), "mAP@all": mean_average_precision(relevant)}
    rng = np.random.default_rng([seed, 3])
    photo, n = kinds.photos[rng.integers(len(kinds.photos))], len(kinds.photos)
    heap = normalise(photo + 0.05 * rng.normal(size=(n // 2, kinds.photos.shape[1])) / np.sqrt(len(photo)))
    gallery = np.concatenate([kinds.photos, heap])
    centroids = fit_centroids(gallery, default_n_clusters(len(gallery)), seed=seed)
    found["with near-copies"] = {
        name: probed(kinds.sketches, gallery, cut)
        for name, cut in (("as they come", centroids), ("cut", cut_up(gallery, centroids, 3.0, seed)))
    }
    return found


def cut_up(photos: FloatArray, centroids: FloatArray, most: float, seed: int) -> FloatArray:
    """Centroids, those of clusters above a multiple of the mean size replaced by several."""
    assigned = assign_clusters(photos, centroids)
    sizes = np.bincount(assigned, minlength=len(centroids))
    large = sizes > most * sizes.mean()
    parts = [centroids[~large]]
    for cluster in np.flatnonzero(large):
        pieces = int(np.ceil(sizes[cluster] / sizes.mean()))
        parts.append(fit_centroids(photos[assigned == cluster], pieces, seed=seed))
    return np.concatenate(parts)


def fused(sketches: FloatArray, photos: FloatArray, centroids: FloatArray) -> FloatArray:
    """The scores of the form *fused*."""
    return np.asarray(0.8 * (sketches @ centroids.T)[:, assign_clusters(photos, centroids)] + 0.2 * sketches @ photos.T)


def probed(sketches: FloatArray, photos: FloatArray, centroids: FloatArray) -> dict[str, Any]:
    """Which share of the ten nearest photos lies in the 16 clusters that a search looks into."""
    assigned = assign_clusters(photos, centroids)
    probes = np.argsort(-(sketches @ centroids.T), axis=1, kind="stable")[:, :16]
    best = np.argsort(-(sketches @ photos.T), axis=1, kind="stable")[:, :K_HITS]
    inside = [np.isin(assigned[row], probe).mean() for row, probe in zip(best, probes, strict=True)]
    sizes = np.bincount(assigned, minlength=len(centroids))
    return {
        "clusters": len(centroids),
        "largest_over_mean": float(sizes.max() / sizes.mean()),
        "nearest_10_in_probes": float(np.mean(inside)),
    }


def overlap(some: np.ndarray, others: np.ndarray) -> float:
    """Mean share of hits that both have."""
    return float(np.mean([len(np.intersect1d(a, b)) / K_HITS for a, b in zip(some, others, strict=True)]))


def time_joining() -> dict[str, Any]:
    """Ten photos join ten thousand: shares of the time of a fit, for the clusters alone and for the whole index."""
    n, more, dim = TIMED
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, dim))
    vectors = normalise(centres[rng.integers(0, len(centres), n + more)] + rng.normal(size=(n + more, dim)))
    uris = [f"/p/{number:06d}.jpg" for number in range(n + more)]
    known = normalise(rng.normal(size=(500, dim)) + centres[:100].mean(axis=0))
    found: dict[str, Any] = {"photos": n, "join": more, "dim": dim}
    for form in FORMS:
        with tempfile.TemporaryDirectory() as temporary:
            gallery = Gallery.create_or_open(Path(temporary) / "gallery", "frozen")
            give_model(gallery, known)
            stages = Stages()
            with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
                add_vectors(gallery, uris[:n], vectors[:n])
                options = IndexOptions(matching=form)
                build_index(gallery, store, options, SilentProgress())
                add_vectors(gallery, uris[n:], vectors[n:])
                start = time.process_time()
                joined = build_index(gallery, store, options, stages)
                middle, joining, stages.clustering = time.process_time(), stages.clustering, 0.0
                build_index(gallery, store, replace(options, anew=True), stages)
                end = time.process_time()
                assert joined.clustering["how"] == "joined" and len(list_versions(gallery, store)) > 1
            assert read_embeddings(gallery.shard_folder, gallery.fingerprint) is not None
            found[form] = {
                "clustering_joined_to_fitted": joining / stages.clustering,
                "index_joined_to_fitted": (middle - start) / (end - middle),
            }
            print(form, json.dumps(found[form]), file=sys.stderr, flush=True)
    return found


class Stages(SilentProgress):
    """Adds up the time of the stages that make clusters."""

    clustering = 0.0

    def stage(self, name: str, total: int | None = None, unit: str = "") -> Any:
        from contextlib import contextmanager

        @contextmanager
        def timed() -> Any:
            start = time.process_time()
            yield lambda steps=1, note="": None
            if name != "Indexing":
                self.clustering += time.process_time() - start

        return timed()


def give_model(gallery: Gallery, known: FloatArray) -> None:
    """A manifest, and the sketches that the model knows: all that indexing reads of a model."""
    manifest = Manifest(
        name="frozen",
        backbone="none",
        preprocessing={},
        dim=known.shape[1],
        fingerprint=gallery.fingerprint,
        weights_digest="",
    )
    gallery.model_folder.mkdir(parents=True)
    (gallery.model_folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
    write_statistics(gallery.model_folder, ModelStatistics(known, known))


def add_vectors(gallery: Gallery, uris: Sequence[str], vectors: FloatArray) -> None:
    """A shard of photos of which only the vectors matter."""
    numbers = np.arange(len(uris), dtype=np.int64)
    records = PhotoRecords(tuple(uris), ("0",) * len(uris), numbers, numbers, numbers, numbers, vectors)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)


def summarise(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds."""
    rows = []
    for form in FORMS:
        for share in OTHER_KINDS:
            some = [trial for trial in trials if (trial["form"], trial["other_kinds"]) == (form, share)]

            def mean(pick: Callable[[dict[str, Any]], float], of: list[dict[str, Any]] = some) -> float:
                return round(float(np.mean([pick(trial) for trial in of])), 4)

            rows.append(
                {
                    "form": form,
                    "other_kinds": share,
                    "drift": mean(lambda trial: trial["drift"]),
                    "drift_min": round(min(trial["drift"] for trial in some), 4),
                    "drift_max": round(max(trial["drift"] for trial in some), 4),
                    "mAP@all joined": mean(lambda trial: trial["joined_quality"]["mAP@all"]),
                    "mAP@all anew": mean(lambda trial: trial["anew_quality"]["mAP@all"]),
                    "loss": mean(lambda trial: trial["loss"]),
                    "spread of another seed": mean(lambda trial: abs(trial["loss_by_seed"])),
                    "mean cosine joined": mean(lambda trial: trial["joined_quality"]["mean_cosine"]),
                    "mean cosine anew": mean(lambda trial: trial["anew_quality"]["mean_cosine"]),
                    "agreement": mean(lambda trial: trial["agreement"]),
                    "agreement of another seed": mean(lambda trial: trial["agreement_by_seed"]),
                }
            )
    return rows


def show(report: dict[str, Any]) -> None:
    """The summary as tables."""
    for name, rows in report["summary"].items():
        print(f"\n{name}\n\n| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        for row in rows:
            print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print(json.dumps(report["giants"], indent=1))
    print(json.dumps(report["time"]))


if __name__ == "__main__":
    main()
