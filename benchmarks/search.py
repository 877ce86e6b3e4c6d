"""How fast searches are, how much they look at, and how good they are, against Milvus' own search and against faiss.

    python benchmarks/search.py --ladder LADDER              # 10,000 and 100,000 rows; writes results/search.json
    python benchmarks/search.py --rows 1000000 --ladder LADDER           # adds a million
    python benchmarks/search.py --rows 100000 --server http://127.0.0.1:19530   # the same on a Milvus server

Each size is measured in a process of its own, on vectors of search_data.py, with the paper's weight of 0.8. What is
compared takes turns, query by query, so that a busy machine slows all of it. Reported are medians and 95th percentiles,
and ratios of medians. Whole-collection HNSW is Milvus' own search of the same vectors in one partition (M 16,
efConstruction 200, ef 128), asked for ids alone, and the same with the smallest ef that has a recall of 0.99.
*Agreement* is the share of the exact ranking's best photos that are among the hits. A run is added to the report's
under its engine and number of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from search_data import Gallery, drawn, real
from search_plots import draw

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import Embeddings, FloatArray, GalleryRows, IntArray, VersionInfo

ROOT = Path(__file__).resolve().parents[1]
WEIGHT = 0.8
DEPTHS = (20, 100)
FAMILIES = {"default": SearchOptions(None, WEIGHT), "exact": SearchOptions(None, WEIGHT, exact=True)}
BATCH = 64
RECALL = 0.99
AS_SURE = f"whole, HNSW, recall {RECALL}"
INSERTED = 5000


def main() -> None:
    """Measures and adds to the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", default="", help="address of a Milvus server; by default Milvus Lite")
    parser.add_argument("--partitions", type=int, default=0, help="by default 256, on a server 64")
    parser.add_argument("--hnsw-rows", type=int, default=100_000, help="most rows of which an HNSW index is built")
    parser.add_argument("--ladder", type=Path, help="folder of ladder_train.py, for curves on real vectors")
    parser.add_argument("--no-curves", action="store_true", help="leave the curves in memory as they are")
    parser.add_argument("--folder", type=Path, help="where Milvus Lite keeps its files meanwhile")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "search.json")
    parser.add_argument("--child", choices=["timed", "curves"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child = timed_run if arguments.child == "timed" else curves
        print(json.dumps(child(arguments)))
        return
    report: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    report |= {"command": "python benchmarks/search.py", "weight": WEIGHT}
    runs = report.setdefault("runs", {})
    engine = "server" if arguments.server else "lite"
    for rows in arguments.rows:
        runs[f"{engine}-{rows}"] = in_process("timed", rows)
        write(arguments.out, report)
    if not arguments.server and not arguments.no_curves:
        report["curves"] = in_process("curves", min(100_000, max(arguments.rows)))
    write(arguments.out, report)
    draw(report, arguments.out.parent)


def write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def in_process(child: str, rows: int) -> dict[str, Any]:
    """What a process of this file finds."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", child, "--rows", str(rows)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Timed:
    """A store of which the time in calls is added up."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def timed_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """One size on one engine."""
    (rows,) = arguments.rows
    load = round(os.getloadavg()[0], 1)
    say(f"Drawing {rows} vectors and clustering them")
    gallery = drawn(rows, max(arguments.queries, BATCH), arguments.seed)
    partitions = arguments.partitions or (64 if arguments.server else 256)
    with tempfile.TemporaryDirectory(prefix="sbka-search-", dir=arguments.folder) as folder:
        place = arguments.server or str(Path(folder) / "milvus")
        with MilvusGalleryStore(place, max_partitions=partitions, timeout_s=120) as store:
            say("Filling cluster partitions")
            start = time.perf_counter()
            info = fill(store, gallery)
            built = time.perf_counter() - start
            start = time.perf_counter()
            made = codes_of(gallery)
            path = Path(folder) / "codes"
            with path.open("wb") as file:
                made.write(file)
            codes = ClusterCodes.open(path)
            found: dict[str, Any] = {
                "rows": rows,
                "load_before": load,
                "partitions": partitions,
                "clusters": gallery.described,
                "build": {
                    "partitions_s": round(built, 1),
                    "codes_s": round(time.perf_counter() - start, 1),
                    "codes_mb": round(path.stat().st_size / 1e6, 1),
                },
            }
            whole = None
            if rows <= arguments.hnsw_rows:
                say("Building HNSW over the whole collection")
                whole = Whole(store, gallery)
            found |= measure(arguments, gallery, store, info, codes, whole)
            if whole is not None:
                whole.drop()
            store.promote(info)
            if arguments.server:
                drop_all(store)
    return found


def fill(store: MilvusGalleryStore | MemoryGalleryStore, gallery: Gallery) -> VersionInfo:
    """A served version of a gallery."""
    info = store.create_version("benchmark", "benchmark", gallery.clustering.table)
    order = np.argsort(gallery.clustering.assignments, kind="stable")
    uris, vectors = gallery.embeddings.uris, gallery.embeddings.vectors
    for start in range(0, len(order), INSERTED):
        part = order[start : start + INSERTED]
        embeddings = Embeddings(tuple(uris[row] for row in part), vectors[part])
        store.insert(info, GalleryRows(embeddings, gallery.clustering.assignments[part]))
    store.promote(info)
    return info


def codes_of(gallery: Gallery) -> ClusterCodes:
    embeddings, clustering = gallery.embeddings, gallery.clustering
    return ClusterCodes.fit(embeddings.ids, embeddings.vectors, clustering.assignments, clustering.table.centroids)


class Whole:
    """Milvus' own search: one partition, HNSW."""

    NAME = "benchmark_whole"

    def __init__(self, store: MilvusGalleryStore, gallery: Gallery) -> None:
        from pymilvus import DataType, MilvusClient

        # The connection of the store: a directory of Milvus Lite has but one.
        self._client: Any = store._session._client
        if self._client.has_collection(self.NAME):
            self.drop()
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=gallery.embeddings.dim)
        self._client.create_collection(self.NAME, schema=schema)
        ids, vectors = gallery.embeddings.ids.tolist(), gallery.embeddings.vectors
        for start in range(0, len(ids), INSERTED):
            part = range(start, min(start + INSERTED, len(ids)))
            self._client.insert(self.NAME, [{"id": ids[row], "vector": vectors[row]} for row in part])
        self._client.flush(self.NAME)
        params = MilvusClient.prepare_index_params()
        params.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        self._client.create_index(self.NAME, params)
        self._client.load_collection(self.NAME)

    def search(self, queries: FloatArray, k: int, ef: int = 128) -> list[list[int]]:
        answer = self._client.search(
            self.NAME,
            data=list(queries),
            anns_field="vector",
            limit=k,
            output_fields=["id"],
            search_params={"metric_type": "COSINE", "params": {"ef": max(ef, k)}},
        )
        return [[hit["id"] for hit in hits] for hits in answer]

    def ef_of_recall(self, gallery: Gallery, exact: Ranking, k: int, n_queries: int) -> int | None:
        """The smallest ef, in quarters of a doubling, by which the k nearest are found as surely as is wanted; or none.

        Not in powers of two: which of them it is depends on how the index happened to be built.
        """
        for ef in (round(128 * 2 ** (step / 4)) for step in range(25)):
            answers = [self.search(gallery.queries[row : row + 1], k, ef)[0] for row in range(n_queries)]
            recall = np.mean([len(set(ids) & exact.best(row, k, 0.0)) / k for row, ids in enumerate(answers)])
            if recall >= RECALL:
                return ef
        return None

    def drop(self) -> None:
        self._client.drop_collection(self.NAME)


def drop_all(store: MilvusGalleryStore) -> None:
    client: Any = store._session._client
    for alias in ("benchmark",):
        client.drop_alias(alias)
    for name in client.list_collections():
        if name.startswith("benchmark"):
            client.drop_collection(name)


def measure(
    arguments: argparse.Namespace,
    gallery: Gallery,
    store: MilvusGalleryStore,
    info: VersionInfo,
    codes: ClusterCodes,
    whole: Whole | None,
) -> dict[str, Any]:
    """Latency, agreement and work of every way of searching."""
    inside = Timed(store)
    searcher = GallerySearcher(inside, "benchmark", codes_of=lambda _: codes)
    plain = GallerySearcher(inside, "benchmark")
    every = np.arange(info.n_clusters, dtype=np.int64)
    result: dict[str, Any] = {"top": {}, "ef": {}}
    exact = Ranking(gallery)
    for k in DEPTHS:
        say(f"Searching, top {k}")
        ways: dict[str, Callable[..., Any]] = {
            "default": partial(searcher.search, k=k, options=FAMILIES["default"]),
            "exact": partial(searcher.search, k=k, options=FAMILIES["exact"]),
            "default, no codes": partial(plain.search, k=k, options=FAMILIES["default"]),
            "16 probes": partial(plain.search, k=k, options=SearchOptions(16, WEIGHT)),
        }
        if whole is not None:
            ways["whole, HNSW"] = partial(whole.search, k=k)
            ef = whole.ef_of_recall(gallery, exact, k, arguments.queries)
            result["ef"][str(k)] = ef
            if ef is not None:
                ways[AS_SURE] = partial(whole.search, k=k, ef=ef)
            ways["whole, partitions"] = partial(store.search, info, cluster_ids=every, limit=k)
        result["top"][str(k)] = compared(ways, gallery, exact, inside, k, arguments.queries)
    say("Batches")
    result["batch"] = batches(searcher, plain, gallery, arguments.queries)
    result["faiss"] = against_faiss(gallery, exact, arguments.queries)
    process = psutil.Process()
    result["memory_mb"] = {"resident": round(process.memory_info().rss / 1e6)}
    return result


class Ranking:
    """The exact rankings, computed once a query."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._ids = gallery.embeddings.ids
        self._known: dict[tuple[int, float], IntArray] = {}

    def best(self, row: int, k: int, weight: float) -> set[int]:
        """Ids of the k best photos of a query, by fused score."""
        if (row, weight) not in self._known:
            query, clustering = self._gallery.queries[row], self._gallery.clustering
            to_clusters = clustering.table.centroids @ query
            scores = weight * to_clusters[clustering.assignments] + (1 - weight) * (
                self._gallery.embeddings.vectors @ query
            )
            best = np.argpartition(-scores, max(DEPTHS))[: max(DEPTHS)]
            self._known[row, weight] = self._ids[best[np.argsort(-scores[best], kind="stable")]]
        return set(self._known[row, weight][:k].tolist())


def compared(
    ways: dict[str, Callable[..., Any]],
    gallery: Gallery,
    exact: Ranking,
    inside: Timed,
    k: int,
    n_queries: int,
) -> dict[str, Any]:
    """All ways in turn, query by query."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    ours: dict[str, list[float]] = {name: [] for name in ways}
    hits: dict[str, list[float]] = {name: [] for name in ways}
    work: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    n_photos = len(gallery.embeddings)
    for way in ways.values():
        for row in range(3):
            way(queries=gallery.queries[row : row + 1])
    for row in range(n_queries):
        query = gallery.queries[row : row + 1]
        for name, way in ways.items():
            before, start = inside.seconds, time.perf_counter()
            (found,) = way(queries=query)
            took = time.perf_counter() - start
            seconds[name].append(took)
            if hasattr(found, "hits"):
                ours[name].append(took - (inside.seconds - before))
                ids = {hit.photo_id for hit in found}
                hits[name].append(len(ids & exact.best(row, k, WEIGHT)) / k)
                work[name].append(
                    (
                        len(found.probes),
                        found.rows / n_photos,
                        found.codes / n_photos,
                        found.halves / n_photos,
                        float(found.exact),
                    )
                )
            else:
                ids = set(found) if isinstance(found, list) else set(found.ids.tolist())
                hits[name].append(len(ids & exact.best(row, k, 0.0)) / k)
    base = float(np.median(seconds["whole, HNSW"])) if "whole, HNSW" in seconds else None
    result: dict[str, Any] = {}
    for name, times in seconds.items():
        p50 = float(np.median(times))
        result[name] = {
            "p50_ms": round(1e3 * p50, 2),
            "p95_ms": round(1e3 * float(np.percentile(times, 95)), 2),
            "agreement" if ours[name] else "recall": round(float(np.mean(hits[name])), 4),
        }
        if base is not None:
            result[name]["faster_than_hnsw"] = round(base / p50, 2)
        if AS_SURE in seconds:
            as_sure = float(np.median(seconds[AS_SURE]))
            result[name]["faster_than_hnsw_of_recall_0.99"] = round(as_sure / p50, 2)
        if ours[name]:
            probes, rows, codes, halves, sure = np.mean(work[name], axis=0)
            result[name] |= {
                "ours_p50_ms": round(1e3 * float(np.median(ours[name])), 2),
                "clusters": round(float(probes), 1),
                "rows_share": round(float(rows), 5),
                "codes_share": round(float(codes), 4),
                "halves_share": round(float(halves), 4),
                "certified": round(float(sure), 2),
            }
    return result


def batches(searcher: GallerySearcher, plain: GallerySearcher, gallery: Gallery, n_queries: int) -> dict[str, Any]:
    """Throughput of 64 queries together, against one at a time; in turns, medians of five."""
    queries = gallery.queries[:BATCH]
    result: dict[str, Any] = {}
    for name, engine, options in (
        ("default", searcher, FAMILIES["default"]),
        ("exact", searcher, FAMILIES["exact"]),
        ("16 probes", plain, SearchOptions(16, WEIGHT)),
    ):
        together, alone = [], []
        for _ in range(5 if len(gallery.embeddings) <= 100_000 else 3):
            start = time.perf_counter()
            engine.search(queries, 20, options)
            together.append(time.perf_counter() - start)
            start = time.perf_counter()
            for row in range(BATCH):
                engine.search(queries[row : row + 1], 20, options)
            alone.append(time.perf_counter() - start)
        result[name] = {
            "together_ms_a_query": round(1e3 * float(np.median(together)) / BATCH, 2),
            "alone_ms_a_query": round(1e3 * float(np.median(alone)) / BATCH, 2),
            "throughput": round(float(np.median(np.array(alone) / np.array(together))), 2),
        }
    return result


def against_faiss(gallery: Gallery, exact: Ranking, n_queries: int) -> dict[str, Any]:
    """faiss in this process, by plain cosine: what an index costs without a database around it."""
    import faiss

    vectors, ids = gallery.embeddings.vectors, gallery.embeddings.ids
    dim = gallery.embeddings.dim
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    indexes: dict[str, Any] = {"flat": flat}
    if len(vectors) <= 100_000:
        quantiser = faiss.IndexFlatIP(dim)
        ivf = faiss.IndexIVFFlat(quantiser, dim, len(gallery.clustering.table), faiss.METRIC_INNER_PRODUCT)
        ivf.train(vectors)
        ivf.add(vectors)
        ivf.nprobe = 16
        graph = faiss.IndexHNSWFlat(dim, 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = 200, 128
        graph.add(vectors)
        indexes |= {"IVF, 16 probes": ivf, "HNSW": graph}
    result = {}
    for name, index in indexes.items():
        times, hits = [], []
        for row in range(n_queries):
            start = time.perf_counter()
            _, found = index.search(gallery.queries[row : row + 1], 20)
            times.append(time.perf_counter() - start)
            hits.append(len(set(ids[found[0]].tolist()) & exact.best(row, 20, 0.0)) / 20)
        result[name] = {"p50_ms": round(1e3 * float(np.median(times)), 3), "recall": round(float(np.mean(hits)), 4)}
    return result


def curves(arguments: argparse.Namespace) -> dict[str, Any]:
    """Work and agreement by weight, and by number of probes; in memory, so nothing is timed."""
    (rows,) = arguments.rows
    galleries = {f"drawn, {rows}": drawn(rows, 40, arguments.seed)}
    if arguments.ladder is not None:
        galleries["real"] = real(arguments.ladder / "sketchy_ext_25-one_way-0")
    return {name: curves_of(gallery, min(40, len(gallery.queries))) for name, gallery in galleries.items()}


def curves_of(gallery: Gallery, n_queries: int) -> dict[str, Any]:
    say(f"Curves of {len(gallery.embeddings)} photos")
    store = Direct(gallery)
    codes = codes_of(gallery)
    coded = GallerySearcher(store, "benchmark", codes_of=lambda _: codes)
    plain = GallerySearcher(store, "benchmark")
    exact, n_photos = Ranking(gallery), len(gallery.embeddings)
    step = max(1, len(gallery.queries) // n_queries)
    rows = range(0, step * n_queries, step)

    def of(searcher: GallerySearcher, options: SearchOptions, k: int, weight: float) -> dict[str, float]:
        found = [(row, searcher.search(gallery.queries[row : row + 1], k, options)[0]) for row in rows]
        agreed = [len({hit.photo_id for hit in one} & exact.best(row, k, weight)) / k for row, one in found]
        return {
            "agreement": round(float(np.mean(agreed)), 4),
            "clusters": round(float(np.mean([len(one.probes) for _, one in found])), 1),
            "rows_share": round(float(np.mean([one.rows for _, one in found])) / n_photos, 5),
            "codes_share": round(float(np.mean([one.codes for _, one in found])) / n_photos, 4),
            "halves_share": round(float(np.mean([one.halves for _, one in found])) / n_photos, 4),
        }

    weights: dict[str, Any] = {}
    # Not 1, where the photos of a cluster tie.
    for weight in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        weights[str(weight)] = {
            "default": of(coded, SearchOptions(None, weight), 20, weight),
            "exact": of(coded, SearchOptions(None, weight, exact=True), 20, weight),
            "exact, no codes": of(plain, SearchOptions(None, weight, exact=True), 20, weight),
        }
    probes = {str(n): of(plain, SearchOptions(n, WEIGHT), 20, WEIGHT) for n in (1, 2, 4, 8, 16, 32, 64)}
    return {"clusters": gallery.described, "weights": weights, "probes": probes}


class Direct(MemoryGalleryStore):
    """The twin in memory, without walking through Python objects: for curves over many photos."""

    def __init__(self, gallery: Gallery) -> None:
        super().__init__()
        self._of = gallery
        self._ids = gallery.embeddings.ids
        order = np.argsort(self._ids)
        self._order, self._sorted = order, self._ids[order]
        self._members = [
            np.flatnonzero(gallery.clustering.assignments == cluster)
            for cluster in range(len(gallery.clustering.table))
        ]
        self.promote(self.create_version("benchmark", "benchmark", gallery.clustering.table))

    def search(
        self, info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int, *_: Any, **__: Any
    ) -> Any:
        from sbka_milvus.types import Candidates

        rows = np.concatenate([self._members[cluster] for cluster in cluster_ids])
        found = []
        for scores in queries @ self._of.embeddings.vectors[rows].T:
            best = np.lexsort((self._ids[rows], -scores))[:limit]
            at = rows[best]
            uris = tuple(self._of.embeddings.uris[row] for row in at)
            found.append(Candidates(self._ids[at], uris, self._of.clustering.assignments[at], scores[best]))
        return found

    def fetch(self, info: VersionInfo, ids: IntArray, cluster_ids: IntArray, *, vectors: bool = True, **_: Any) -> Any:
        from sbka_milvus.types import StoredRows

        ids = np.sort(ids)
        at = self._order[np.searchsorted(self._sorted, ids)]
        uris = tuple(self._of.embeddings.uris[row] for row in at)
        clusters = self._of.clustering.assignments[at]
        found = self._of.embeddings.vectors[at] if vectors else np.empty((len(at), 0), np.float32)
        return StoredRows(ids, uris, clusters, np.zeros(len(at), np.bool_), found)


if __name__ == "__main__":
    main()
