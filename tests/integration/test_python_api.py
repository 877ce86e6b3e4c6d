"""``AsyncSketchSearch`` and ``SbkaEmbeddingFunction`` on a real model, a real gallery and real embedded Milvus."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pymilvus import MilvusClient

from sbka_milvus import AsyncSketchSearch, Gallery, SbkaEmbeddingFunction, SketchSearch
from sbka_milvus.embeddings.shards import read_embeddings
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BundleError, GalleryError, ImageError, InvalidValue, StoreUnavailable
from sbka_milvus.factory import ingest_into
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings

PHOTOS = 12


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """All that is built here is small."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a model and a gallery."""
    root = tmp_path_factory.mktemp("python")
    (root / "photos").mkdir()
    for number in range(PHOTOS):
        cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((96, 96), Image.Resampling.NEAREST).save(root / "photos" / f"{number:02d}.png")
    torch.manual_seed(0)
    import_model(
        BuildRequest(BackboneSpec.parse("timm:test_resnet"), pretrained=False, size=64),
        root / "model",
        "small",
        SilentProgress(),
    )
    settings = Settings(workspace=root / "workspace")
    ingest_into([root / "photos"], root / "gallery", settings, SilentProgress(), model=root / "model", name="cells")
    return root


@pytest.fixture(scope="module")
def sketches() -> list[Image.Image]:
    drawn = []
    for number in range(5):
        picture = Image.new("L", (120, 120), 255)
        ends = np.random.default_rng(number).integers(5, 115, (4, 2)).tolist()
        ImageDraw.Draw(picture).line([tuple(end) for end in ends], fill=0, width=4)
        drawn.append(picture)
    return drawn


@pytest.fixture(scope="module")
def embed(root: Path) -> SbkaEmbeddingFunction:
    return SbkaEmbeddingFunction(root / "model")


def shown(result: Any) -> list[tuple[str, float]]:
    return [(hit.uri, pytest.approx(hit.score, abs=1e-4)) for hit in result]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_asyncio_finds_what_the_plain_search_finds(root: Path, sketches: list[Image.Image], concurrency: int) -> None:
    with SketchSearch.open(root / "gallery") as plain:
        expected = [plain(sketch, k=4, n_probe=3) for sketch in sketches]

    async def story() -> tuple[list[Any], Any]:
        async with await AsyncSketchSearch.open(root / "gallery", concurrency=concurrency) as search:
            together = await asyncio.gather(*(search(sketch, k=4, n_probe=3) for sketch in sketches))
            return together, await search(sketches, k=4, n_probe=3)

    together, listed = asyncio.run(story())
    for found in (together, listed):
        assert [shown(result) for result in found] == [[(hit.uri, hit.score) for hit in one] for one in expected]


def test_a_gallery_is_given_back_when_it_is_closed_or_its_opening_cancelled(root: Path) -> None:
    async def story() -> None:
        opening = asyncio.ensure_future(AsyncSketchSearch.open(root / "gallery"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(60):
            while True:  # until the thread that was opening it has closed it again
                try:
                    search = await AsyncSketchSearch.open(root / "gallery")
                except StoreUnavailable:
                    continue
                break
        await search.close()

    asyncio.run(story())
    SketchSearch.open(root / "gallery").close()


def test_what_the_search_refuses_is_refused_likewise(root: Path, sketches: list[Image.Image]) -> None:
    async def story() -> None:
        async with await AsyncSketchSearch.open(root / "gallery") as search:
            with pytest.raises(ImageError, match="no ink"):
                await search(Image.new("L", (50, 50), 255))
            with pytest.raises(InvalidValue):
                await search(sketches[0], n_probe=-1)
            with pytest.raises(TypeError, match="no_such"):
                await search(sketches[0], no_such=1)

    asyncio.run(story())


def test_a_first_search_loads_no_more_than_it_needs(root: Path, sketches: list[Image.Image], tmp_path: Path) -> None:
    sketches[0].save(tmp_path / "sketch.png")
    unwanted = ("open_clip", "matplotlib", "tensorboard", "sklearn", "skimage", "celery", "redis", "datasets")
    arguments = ["search", str(tmp_path / "sketch.png"), "--gallery", str(root / "gallery"), "--json"]
    program = (
        f"import sys\nsys.argv[1:] = {arguments!r}\nfrom sbka_milvus.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print([name for name in {unwanted!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("folder", ["model", "gallery"])
def test_a_collection_made_by_hand_is_searched(
    folder: str, root: Path, sketches: list[Image.Image], tmp_path: Path
) -> None:
    embed = SbkaEmbeddingFunction(root / folder)
    photos = sorted((root / "photos").iterdir())
    client = MilvusClient(str(tmp_path / "by_hand.db"))
    try:
        client.create_collection("photos", dimension=embed.dim, metric_type="COSINE", auto_id=False)
        vectors = embed(photos)
        client.insert(
            "photos", [{"id": n, "vector": vector, "path": str(photos[n])} for n, vector in enumerate(vectors)]
        )
        found = client.search("photos", embed.encode_queries(sketches), limit=3, output_fields=["path"])
        itself = client.search("photos", embed.encode_documents([str(photos[7])]), limit=1)
    finally:
        client.close()
    assert (itself[0][0]["id"], itself[0][0]["distance"]) == (7, pytest.approx(1.0, abs=1e-4))
    cosines = np.stack(embed.encode_queries(sketches)) @ np.stack(vectors).T
    for hits, row in zip(found, cosines, strict=True):
        best = np.argsort(-row)[:3]
        assert [hit["entity"]["path"] for hit in hits] == [str(photos[n]) for n in best]
        assert [hit["distance"] for hit in hits] == pytest.approx(row[best].tolist(), abs=1e-4)


def test_vectors_are_those_of_the_gallery(root: Path) -> None:
    gallery = Gallery.open(root / "gallery")
    embed = SbkaEmbeddingFunction(gallery.root, settings=Settings.model_validate({"ingest": {"batch_size": 5}}))
    assert (embed.fingerprint, embed.model_name) == (gallery.fingerprint, "small")
    kept = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    assert kept is not None
    assert len(kept) == PHOTOS
    vectors = embed(kept.uris)
    assert {(vector.shape, vector.dtype) for vector in vectors} == {((embed.dim,), np.dtype(np.float32))}
    assert np.abs(np.stack(vectors) - kept.vectors).max() < 1e-4


def test_photos_and_sketches_are_read_from_whatever_holds_them(
    root: Path, sketches: list[Image.Image], embed: SbkaEmbeddingFunction
) -> None:
    path = root / "photos" / "03.png"
    forms: list[Any] = [path, str(path), path.read_bytes(), Image.open(path)]
    assert len({tuple(vector.round(4)) for vector in embed.encode_documents(forms)}) == 1
    drawn = np.asarray(sketches[0])
    assert len({tuple(vector.round(4)) for vector in embed.encode_queries([sketches[0], drawn])}) == 1
    stroke = [[(0.0, 0.0), (50.0, 80.0)]]
    assert len(embed.encode_queries([stroke, stroke, sketches[1]])) == 3
    assert embed.encode_queries([]) == embed.encode_documents(()) == []


Method = Callable[[SbkaEmbeddingFunction], Callable[[Any], Any]]


@pytest.mark.parametrize("value", ["one.png", b"x", Path("one.png"), np.zeros((4, 4)), 5, Image.new("L", (4, 4))])
@pytest.mark.parametrize("method", [lambda embed: embed.encode_queries, lambda embed: embed.encode_documents])
def test_one_picture_is_no_list(method: Method, value: Any, embed: SbkaEmbeddingFunction) -> None:
    with pytest.raises(InvalidValue, match="list"):
        method(embed)(value)


def test_what_cannot_be_embedded_is_named(root: Path, tmp_path: Path, embed: SbkaEmbeddingFunction) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        embed.encode_documents([root / "photos" / "00.png", "gone.png"])
    with pytest.raises(ImageError, match="no ink"):
        embed.encode_queries([Image.new("L", (50, 50), 255)])
    with pytest.raises(BundleError, match="neither a model nor a gallery"):
        SbkaEmbeddingFunction(tmp_path)
    (tmp_path / "gallery.json").write_text("{")
    with pytest.raises(GalleryError, match=r"gallery\.json"):
        SbkaEmbeddingFunction(tmp_path)
