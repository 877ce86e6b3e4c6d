"""The demo: the whole program put together on the drawn world."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError
from sbka_milvus.factory import evaluate_folder, evaluate_gallery_folder, ingest_into, open_encoder, open_gallery
from sbka_milvus.images import Split, load_sketch
from sbka_milvus.progress import Progress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.sheets import SheetTable, write_html, write_png

if TYPE_CHECKING:
    from sbka_milvus.demo import World
    from sbka_milvus.evaluation import EvaluationReport
    from sbka_milvus.pipelines.demo import DemoOptions

DEMO_METRICS = ("mAP@all", "P@10")
GALLERY_NAME = "sbka_demo"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made.

    Attributes:
        report: the table.
        sheet_png: contact sheet.
        sheet_html: the same as a page.
        world: folders of photos and sketches, and the split file.
        seconds: wall time.
    """

    report: EvaluationReport
    sheet_png: Path
    sheet_html: Path
    world: World
    seconds: float


def run_demo(root: Path, options: DemoOptions, settings: Settings, progress: Progress) -> DemoResult:
    """The main job from end to end in one folder: draw, train, ingest, search, evaluate, contact sheet.

    Raises:
        SbkaError: Any of those of the parts.
    """
    from sbka_milvus.pipelines.codes import codes_finder
    from sbka_milvus.pipelines.demo import (
        demo_queries,
        demo_report,
        demo_rows,
        draw_demo_world,
        pretrain_demo,
        train_demo,
    )
    from sbka_milvus.pipelines.import_model import import_model
    from sbka_milvus.pipelines.matching import matching_finder

    start = time.perf_counter()
    gallery = root / "gallery"
    _remove_earlier(gallery)
    world = draw_demo_world(root / "world", options, progress)
    split = Split.load(world.split)
    # The demo shows the method on its own Milvus, whatever server the settings name or `sbka up` runs.
    settings = settings.model_copy(update={"milvus": MilvusSettings(), "workspace": root / "workspace"})
    backbone = pretrain_demo(world, root / "photos-only.safetensors", options, progress)
    untrained = replace(backbone, weights=None, pretrained=False)
    for name, request in (("untrained", untrained), ("photos-only", backbone)):
        import_model(request, root / "models" / name, name, progress)
    train_demo(world, backbone, root / "models" / "sbka", options, progress)
    photos = [str(world.photos / name) for name in split.unseen]
    ingest_into(photos, gallery, settings, progress, model=root / "models" / "sbka", name=GALLERY_NAME)
    baselines = [
        evaluate_folder(world.photos, root / "models" / name, world.sketches, split, settings, progress)
        for name in ("untrained", "photos-only")
    ]
    trained = evaluate_gallery_folder(gallery, world.sketches, split, settings, progress)
    report = demo_report(baselines[0], baselines[1], trained)
    with progress.stage("Drawing the contact sheet"), open_gallery(gallery, settings) as (opened, store):
        encoder = open_encoder(opened.model_folder, settings)
        queries = demo_queries(world, split)
        pictures = [load_sketch(query.path, size=options.picture_size) for query in queries]
        vectors = encoder.encode_sketches(pictures)
        searcher = GallerySearcher(
            store, opened.name, matching_of=matching_finder(opened), codes_of=codes_finder(opened)
        )
        results = searcher.search(vectors, 8, SearchOptions())
        rows = demo_rows(queries, pictures, [list(result) for result in results])
        title = "Sketches of categories never seen in training, and the photos found"
        write_png(rows, root / "sheet.png", title=title)
        write_html(rows, root / "sheet.html", title=title, tables=[_table(report)])
    return DemoResult(report, root / "sheet.png", root / "sheet.html", world, time.perf_counter() - start)


def _remove_earlier(gallery: Path) -> None:
    """An earlier demo's gallery was made with another model; anybody else's is left alone."""
    if not gallery.exists():
        return
    if not Gallery.exists(gallery) or Gallery.open(gallery).name != GALLERY_NAME:
        raise GalleryError(f"{gallery} is not of an earlier demo and was left alone.", "Name another folder with -o.")
    shutil.rmtree(gallery)


def _table(report: EvaluationReport) -> SheetTable:
    rows: list[tuple[str | int | float, ...]] = [
        (row.method, *(row.values[metric] for metric in DEMO_METRICS)) for row in report.rows
    ]
    return SheetTable(("method", *DEMO_METRICS), tuple(rows))
