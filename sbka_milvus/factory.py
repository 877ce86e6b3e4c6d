"""The composition root: the one place that reads settings and builds the parts from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import CollectionMissing, GalleryError
from sbka_milvus.images import Split, find_photos, list_images
from sbka_milvus.progress import Progress
from sbka_milvus.settings import Settings
from sbka_milvus.store import require_gallery_name

if TYPE_CHECKING:
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.evaluation import EvaluationReport
    from sbka_milvus.pipelines.evaluate import EvaluateOptions
    from sbka_milvus.pipelines.ingest import IngestReport
    from sbka_milvus.store import MilvusGalleryStore


def open_encoder(bundle: Path, settings: Settings) -> BundleEncoder:
    """The encoder of a model bundle.

    Raises:
        BundleError: There is no usable bundle.
        SettingsError: The device is not there.
    """
    from sbka_milvus.encoders.bundle import load_bundle
    from sbka_milvus.encoders.encoder import BundleEncoder

    return BundleEncoder(load_bundle(bundle), device=settings.device, batch_size=settings.ingest.batch_size)


def open_store(gallery: Gallery | None, settings: Settings) -> MilvusGalleryStore:
    """The Milvus of the settings, or the one embedded in a gallery.

    Raises:
        GalleryError: There is neither an address nor a gallery.
        StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
    """
    from sbka_milvus.store import MilvusGalleryStore

    milvus = settings.milvus
    if not milvus.uri and gallery is None:
        raise GalleryError("No Milvus is named.", "Give a gallery folder, or set SBKA_MILVUS__URI.")
    uri = milvus.uri or str(gallery.milvus_folder if gallery else "")
    return MilvusGalleryStore(
        uri,
        token=milvus.token.get_secret_value(),
        db_name=milvus.db_name,
        timeout_s=milvus.timeout_s,
        max_partitions=milvus.max_partitions,
    )


def require_index(gallery: Gallery, settings: Settings) -> None:
    """Refuses a gallery whose embedded Milvus does not exist yet: opening it would make an empty one.

    Raises:
        GalleryError: Nothing was indexed in the gallery yet.
    """
    if not settings.milvus.uri and not gallery.milvus_folder.exists():
        raise GalleryError(f"The gallery {gallery.root} has no index yet.", "Run `sbka ingest` on it to the end.")


@contextmanager
def open_gallery(root: Path, settings: Settings) -> Iterator[tuple[Gallery, MilvusGalleryStore]]:
    """A gallery and its store, closed at the end.

    Raises:
        GalleryError: The folder is no gallery, or nothing was indexed in it yet.
        StoreUnavailable: Milvus cannot be reached.
    """
    gallery = Gallery.open(root)
    require_index(gallery, settings)
    store = open_store(gallery, settings)
    try:
        try:
            store.served(gallery.name)
        except CollectionMissing as error:
            raise GalleryError(
                f"The gallery {root} has no index in Milvus yet.", "Run `sbka ingest` on it to the end."
            ) from error
        yield gallery, store
    finally:
        store.close()


def ingest_into(
    sources: Sequence[str | Path],
    root: Path,
    settings: Settings,
    progress: Progress,
    *,
    model: Path | None = None,
    name: str | None = None,
) -> IngestReport:
    """Takes photos into a gallery folder, which is made where there is none.

    Args:
        sources: files, folders and patterns.
        root: the gallery's folder.
        settings: see :mod:`~sbka_milvus.settings`.
        progress: what shows the stages.
        model: bundle to embed with; by default the gallery's own, and for a new gallery the default backbone.
        name: of a new gallery in Milvus; by default from the folder's name.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.ingest.ingest_photos`, or of the model.
    """
    from sbka_milvus.pipelines.embed import EmbedOptions
    from sbka_milvus.pipelines.index import IndexOptions
    from sbka_milvus.pipelines.ingest import ingest_photos

    find_photos(sources)  # a mistyped source is refused before anything is loaded or made
    gallery = _gallery_for(root, model, name, settings, progress)
    with progress.stage("Loading the model"):
        encoder = open_encoder(gallery.model_folder, settings)
    store = open_store(gallery, settings)
    options = settings.ingest
    try:
        return ingest_photos(
            sources,
            gallery,
            encoder,
            store,
            EmbedOptions(
                options.batch_size, options.decode_threads, options.shard_size, options.max_pixels, encoder.input_size
            ),
            IndexOptions(options.n_clusters, options.keep_versions),
            progress,
        )
    finally:
        store.close()


def _gallery_for(root: Path, model: Path | None, name: str | None, settings: Settings, progress: Progress) -> Gallery:
    from sbka_milvus.encoders.backbones import BuildRequest
    from sbka_milvus.encoders.bundle import copy_bundle
    from sbka_milvus.encoders.manifest import MANIFEST_FILE, read_manifest
    from sbka_milvus.encoders.spec import BackboneSpec
    from sbka_milvus.pipelines.import_model import import_model

    if name is not None:
        require_gallery_name(name)
    if model is None and Gallery.exists(root):
        opened = Gallery.open(root)
        # A run that was killed between making the gallery and copying its model is made good below.
        if (opened.model_folder / MANIFEST_FILE).is_file():
            return opened
    with tempfile.TemporaryDirectory(prefix="sbka-") as temporary:
        if model is None:
            model = Path(temporary) / "model"
            import_model(BuildRequest(BackboneSpec.parse(settings.backbone)), model, settings.backbone, progress)
        gallery = Gallery.create_or_open(root, read_manifest(model).fingerprint, name)
        copy_bundle(model, gallery.model_folder)
        return gallery


def evaluate_options(data_set: str, input_size: int, settings: Settings, n_clusters: int = 0) -> EvaluateOptions:
    """Options of an evaluation from the settings."""
    from sbka_milvus.pipelines.evaluate import EvaluateOptions

    return EvaluateOptions(data_set, input_size, settings.search.cluster_weight, n_clusters=n_clusters)


def evaluate_gallery_folder(
    root: Path, sketches: Path, split: Split, settings: Settings, progress: Progress
) -> EvaluationReport:
    """Scores the real search of a gallery folder with the sketches of a split's unseen categories.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.evaluate.evaluate_gallery`.
    """
    from sbka_milvus.pipelines.evaluate import evaluate_gallery
    from sbka_milvus.pipelines.labelled import encode_images

    images = list_images(sketches, split.unseen)
    with open_gallery(root, settings) as (gallery, store):
        with progress.stage("Loading the model"):
            encoder = open_encoder(gallery.model_folder, settings)
        options = evaluate_options(gallery.name, encoder.input_size, settings)
        queries = encode_images(images, encoder, sketches=True, size=encoder.input_size, progress=progress)
        return evaluate_gallery(store, gallery.name, queries, split, encoder, options, progress)


def evaluate_folder(
    photos: Path, model: Path, sketches: Path, split: Split, settings: Settings, progress: Progress, n_clusters: int = 0
) -> EvaluationReport:
    """Scores a model on the photos and sketches of a split's unseen categories, without a gallery.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.evaluate.evaluate_vectors`.
    """
    from sbka_milvus.pipelines.evaluate import evaluate_vectors
    from sbka_milvus.pipelines.labelled import encode_images

    with progress.stage("Loading the model"):
        encoder = open_encoder(model, settings)
    encoded = [
        encode_images(
            list_images(folder, split.unseen), encoder, sketches=drawn, size=encoder.input_size, progress=progress
        )
        for folder, drawn in ((photos, False), (sketches, True))
    ]
    options = evaluate_options(photos.name, encoder.input_size, settings, n_clusters)
    return evaluate_vectors(encoded[0], encoded[1], split, encoder.fingerprint, options)
