"""The composition root: the one place that reads settings and builds the parts from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import CollectionMissing, SettingsError
from sbka_milvus.images import Split, list_images, source_photos
from sbka_milvus.images.source import printable
from sbka_milvus.places import milvus_address, milvus_place, missing_index, remember_place, require_index
from sbka_milvus.progress import Progress
from sbka_milvus.settings import MilvusSettings, Settings
from sbka_milvus.store import Tls, require_gallery_name

if TYPE_CHECKING:
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.evaluation import EvaluationPlan, EvaluationReport
    from sbka_milvus.pipelines.embed_options import EmbedOptions
    from sbka_milvus.pipelines.evaluate_options import EvaluateOptions
    from sbka_milvus.pipelines.index import IndexOptions
    from sbka_milvus.pipelines.index_form import MatchingForm
    from sbka_milvus.pipelines.ingest import IngestReport
    from sbka_milvus.pipelines.model_statistics import StatisticsReport
    from sbka_milvus.pipelines.prune import PruneOptions
    from sbka_milvus.pipelines.quarantine import RetryReport
    from sbka_milvus.pipelines.recluster import ClusterView, ReclusterReport
    from sbka_milvus.store import MilvusGalleryStore


def open_encoder(bundle: Path, settings: Settings) -> BundleEncoder:
    """The encoder of a model bundle.

    Raises:
        BundleError: There is no usable bundle.
        SettingsError: The device is not there.
    """
    from sbka_milvus.encoders.bundle import load_bundle
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.encoders.precision import BY_NAME

    return BundleEncoder(
        load_bundle(bundle),
        device=settings.device,
        batch_size=settings.ingest.batch_size,
        precision=BY_NAME[settings.precision],
    )


def make_model_statistics(
    model: Path,
    photos: Path,
    sketches: Path,
    split: Path | None,
    settings: Settings,
    progress: Progress,
    *,
    seed: int = 0,
) -> StatisticsReport:
    """Puts statistics into a bundle, from folders of pictures of seen categories.

    Args:
        model: the bundle's folder.
        photos: folder of ``<category>/<file>``, or a file list.
        sketches: the same, or of ``<category>.ndjson``.
        split: which categories are seen: unseen ones are never read. Without one, those that the bundle was trained on,
            or all where it was not trained here.
        settings: name the device.
        progress: what shows how far it is.
        seed: of the sample.

    Raises:
        DatasetError: The folders do not fit the split or the model, or no picture can be read.
        BundleError: There is no usable bundle.
        OutputError: The file cannot be written.
    """
    from sbka_milvus.encoders.bundle import load_bundle
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.encoders.precision import FP32
    from sbka_milvus.pipelines.model_statistics import KnownPictures, make_statistics
    from sbka_milvus.pipelines.seen import seen_images

    chosen = None if split is None else Split.load(split)
    images = [seen_images(folder, chosen) for folder in (sketches, photos)]
    with progress.stage("Loading the model"):
        encoder = BundleEncoder(load_bundle(model), device=settings.device, precision=FP32)
    manifest = encoder.bundle.manifest
    held = tuple(manifest.training.get("validation_classes", ()))
    classes = manifest.classes or tuple({image.category for image in images[1]})
    pictures = KnownPictures.of_training(images[0], images[1], classes, held)
    return make_statistics(model, pictures, encoder, encoder.input_size, progress, seed=seed)


def open_store(gallery: Gallery | None, settings: Settings) -> MilvusGalleryStore:
    """The Milvus of the settings or of a running ``sbka up``, or the one embedded in a gallery.

    Raises:
        GalleryError: There is neither an address nor a gallery.
        StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
    """
    from sbka_milvus.store import MilvusGalleryStore

    milvus = settings.milvus
    return MilvusGalleryStore(
        milvus_address(settings, gallery),
        token=milvus.token.get_secret_value(),
        db_name=milvus.db_name,
        timeout_s=milvus.timeout_s,
        max_partitions=milvus.max_partitions or None,
        index=None if milvus.index == "auto" else milvus.index,
        # A Milvus that `sbka up` runs is on this machine, and none of the settings'.
        tls=milvus_tls(milvus) if milvus.uri else Tls(),
    )


def milvus_tls(milvus: MilvusSettings) -> Tls:
    """Whom to trust at the Milvus of the settings, and who to be there.

    Raises:
        InvalidValue: The settings name a certificate without its key, or the other way round.
    """
    return Tls(milvus.ca_file, milvus.server_name, milvus.client_cert_file, milvus.client_key_file)


@contextmanager
def following(gallery: Gallery, settings: Settings) -> Iterator[tuple[Gallery, MilvusGalleryStore]]:
    """A gallery with the model of what is served, and its store, which may not know it yet; closed at the end.

    Raises:
        StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
    """
    from sbka_milvus.pipelines.versions import follow_served

    store = open_store(gallery, settings)
    try:
        yield follow_served(gallery, store), store
    finally:
        store.close()


@contextmanager
def open_gallery(
    root: Path, settings: Settings, *, must_serve: bool = True
) -> Iterator[tuple[Gallery, MilvusGalleryStore]]:
    """A gallery and its store, closed at the end.

    Args:
        root: the gallery's folder.
        settings: name the Milvus.
        must_serve: whether a gallery of which no version is served is refused.

    Raises:
        GalleryError: The folder is no gallery, or this Milvus has no index of it.
        StoreUnavailable: Milvus cannot be reached.
    """
    from sbka_milvus.pipelines.versions import follow_served

    gallery = Gallery.open(root)
    require_index(gallery, settings)
    store = open_store(gallery, settings)
    try:
        try:
            store.served(gallery.name)
        except CollectionMissing as error:
            if must_serve or not store.versions(gallery.name):
                raise missing_index(gallery, settings) from error
        gallery = follow_served(gallery, store)
        remember_place(gallery, settings)
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
    pruning: PruneOptions | None = None,
) -> IngestReport:
    """Takes photos into a gallery folder, which is made where there is none.

    Args:
        sources: files, folders, patterns, archives, manifests and addresses: see
            :func:`~sbka_milvus.images.sources.find.source_photos`.
        root: the gallery's folder.
        settings: see :mod:`~sbka_milvus.settings`.
        progress: what shows the stages.
        model: bundle to embed with; by default the gallery's own, and for a new gallery the default backbone.
        name: of a new gallery in Milvus; by default from the folder's name.
        pruning: how photos of these sources that are there no more are taken out; none: they stay.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.ingest.ingest_photos`, or of the model.
    """
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.encoders.waiting import WaitingEncoder
    from sbka_milvus.pipelines.ingest import IngestOptions, ingest_photos

    source_photos(sources)  # a mistyped source is refused before anything is loaded or made
    gallery = prepare_gallery(root, model, name, settings, progress)
    with following(gallery, settings) as (gallery, store):
        folder = gallery.model_folder
        encoder = WaitingEncoder(read_manifest(folder), lambda: _load_checked(folder, settings, progress))
        options = IngestOptions(
            embed_options(encoder.input_size, settings), index_options(settings), pruning, before_first=encoder.load
        )
        return ingest_photos(sources, gallery, encoder, store, options, progress)


def _load_checked(model: Path, settings: Settings, progress: Progress) -> BundleEncoder:
    """The encoder of a bundle, which has encoded a picture."""
    from sbka_milvus.pipelines.preflight import require_encoding

    with progress.stage("Loading the model"):
        encoder = open_encoder(model, settings)
        require_encoding(encoder)
        return encoder


def retry_quarantine(root: Path, settings: Settings, progress: Progress, *, reason: str = "") -> RetryReport:
    """Looks again at the files that a gallery could not use, and takes in those that it can use now.

    Args:
        root: the gallery's folder.
        settings: see :mod:`~sbka_milvus.settings`; limits that were too low may be higher now.
        progress: what shows the stages.
        reason: only files whose reason has this in it.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.quarantine.retry_quarantined`, or of the model.
    """
    from sbka_milvus.pipelines.quarantine import RetryReport, has_quarantined, retry_quarantined

    gallery = Gallery.open(root)
    if not has_quarantined(gallery, reason):
        return RetryReport()
    with following(gallery, settings) as (gallery, store):
        with progress.stage("Loading the model"):
            encoder = open_encoder(gallery.model_folder, settings)
        return retry_quarantined(
            gallery,
            encoder,
            store,
            embed_options(encoder.input_size, settings),
            index_options(settings),
            progress,
            reason,
        )


def recluster_gallery(
    root: Path,
    settings: Settings,
    progress: Progress,
    *,
    n_clusters: int | None = None,
    matching: MatchingForm | None = None,
    seed: int = 0,
    trial: bool = False,
) -> ReclusterReport:
    """Clusters a gallery folder anew and serves that; what is asked for holds for later ingests.

    Args:
        root: the gallery's folder.
        settings: see :mod:`~sbka_milvus.settings`.
        progress: what shows the stages.
        n_clusters: wanted clusters; 0: chosen from the photos; by default ``SBKA_INGEST__N_CLUSTERS``.
        matching: the form, see :mod:`~sbka_milvus.pipelines.index_form`; by default ``SBKA_INGEST__MATCHING``.
        seed: of the clustering.
        trial: whether only to look at what would come of it.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.recluster.recluster`.
    """
    from sbka_milvus.pipelines.recluster import recluster

    with following(require_photos(root), settings) as (gallery, store):
        options = index_options(settings, n_clusters=n_clusters, matching=matching, seed=seed)
        return recluster(gallery, store, options, progress, trial=trial)


def gallery_clusters(root: Path, settings: Settings) -> ClusterView:
    """A look at the clusters of the served version of a gallery folder; nothing is built.

    Raises:
        SbkaError: Any of those of :func:`open_gallery`.
    """
    from sbka_milvus.pipelines.recluster import view_clusters

    require_photos(root)
    with open_gallery(root, settings) as (gallery, store):
        return view_clusters(gallery, store, settings.ingest.max_drift)


def require_photos(root: Path) -> Gallery:
    """A gallery into which something was embedded.

    Raises:
        GalleryError: The folder is no gallery, or nothing was.
    """
    from sbka_milvus.embeddings.shards import list_shards
    from sbka_milvus.pipelines.index import no_photos

    gallery = Gallery.open(root)
    if not list_shards(gallery.shard_folder):
        raise no_photos(gallery)
    return gallery


def index_options(
    settings: Settings, *, n_clusters: int | None = None, matching: MatchingForm | None = None, seed: int = 0
) -> IndexOptions:
    """Options of indexing from the settings, and what is asked for beside them."""
    from sbka_milvus.pipelines.index import IndexOptions

    ingest = settings.ingest
    return IndexOptions(
        ingest.n_clusters if n_clusters is None else n_clusters,
        ingest.keep_versions,
        seed,
        milvus_place(settings),
        matching or ingest.matching,
        max_drift=ingest.max_drift,
    )


def prepare_gallery(
    root: Path, model: Path | None, name: str | None, settings: Settings, progress: Progress
) -> Gallery:
    """A gallery folder with its model in it, made where there is none.

    Args:
        root: the folder.
        model: bundle to embed with; by default the gallery's own, and for a new gallery the default backbone.
        name: of a new gallery in Milvus; by default from the folder's name.
        settings: name the default backbone.
        progress: what shows its download.

    Raises:
        SbkaError: The folder, the model or the name cannot be used.
    """
    if name is not None:
        require_gallery_name(name)
    if Gallery.exists(root):
        opened = Gallery.open(root)
        # A run that was killed between making the gallery and copying its model is made good below.
        if _has_model(opened, model):
            return opened
    from sbka_milvus.encoders.backbones import BuildRequest
    from sbka_milvus.encoders.bundle import copy_bundle
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.encoders.spec import BackboneSpec
    from sbka_milvus.pipelines.import_model import import_model

    with tempfile.TemporaryDirectory(prefix="sbka-") as temporary:
        if model is None:
            model = Path(temporary) / "model"
            import_model(BuildRequest(BackboneSpec.parse(settings.backbone)), model, settings.backbone, progress)
        gallery = Gallery.create_or_open(root, read_manifest(model).fingerprint, name)
        copy_bundle(model, gallery.model_folder)
        return gallery


def _has_model(gallery: Gallery, given: Path | None) -> bool:
    """Whether a gallery has its model, and all that a given one would bring; nothing of a network is looked at."""
    from sbka_milvus.encoders.manifest import MANIFEST_FILE, read_manifest
    from sbka_milvus.encoders.statistics import STATISTICS_FILE

    if not (gallery.model_folder / MANIFEST_FILE).is_file():
        return False
    if given is None:
        return True
    if (given / STATISTICS_FILE).is_file() and not (gallery.model_folder / STATISTICS_FILE).is_file():
        return False
    return read_manifest(given).fingerprint == read_manifest(gallery.model_folder).fingerprint == gallery.fingerprint


def embed_options(input_size: int, settings: Settings) -> EmbedOptions:
    """Options of embedding from the settings."""
    from sbka_milvus.pipelines.embed_options import EmbedOptions

    ingest = settings.ingest
    return EmbedOptions(
        ingest.batch_size,
        ingest.decode_processes,
        ingest.shard_size,
        ingest.max_pixels,
        decode_size=input_size,
        decode_seconds=ingest.decode_seconds,
        decode_memory_mb=ingest.decode_memory_mb,
        max_bytes=ingest.max_bytes,
    )


def evaluate_options(
    data_set: str, input_size: int, settings: Settings, n_clusters: int = 0, plan: EvaluationPlan | None = None
) -> EvaluateOptions:
    """Options of an evaluation from the settings; without a plan, the default one."""
    from sbka_milvus.evaluation import EvaluationPlan
    from sbka_milvus.pipelines.evaluate_options import EvaluateOptions

    weight = settings.search.cluster_weight
    return EvaluateOptions(data_set, input_size, weight, n_clusters=n_clusters, plan=plan or EvaluationPlan())


def evaluate_gallery_folder(
    root: Path,
    sketches: Path,
    split: Split,
    settings: Settings,
    progress: Progress,
    plan: EvaluationPlan | None = None,
) -> EvaluationReport:
    """Scores the real search of a gallery folder with the sketches of a split's unseen categories.

    Raises:
        SettingsError: The plan asks for seen photos: a gallery holds what it holds.
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.evaluate.evaluate_gallery`.
    """
    from sbka_milvus.pipelines.evaluate import evaluate_gallery
    from sbka_milvus.pipelines.labelled import encode_images
    from sbka_milvus.pipelines.matching import matching_finder

    if plan is not None and plan.seen_share is not None:
        raise SettingsError(
            f"No share of the seen photos can be added to the gallery {printable(root)}.",
            "Give a folder of photos and a model instead; or ingest the seen photos, which are noted in the report.",
        )
    images = list_images(sketches, split.unseen)
    with open_gallery(root, settings) as (gallery, store):
        with progress.stage("Loading the model"):
            encoder = open_encoder(gallery.model_folder, settings)
        options = evaluate_options(gallery.name, encoder.input_size, settings, plan=plan)
        queries = encode_images(images, encoder, sketches=True, size=encoder.input_size, progress=progress)
        finder = matching_finder(gallery)
        return evaluate_gallery(store, gallery.name, queries, split, encoder, options, progress, matching_of=finder)


def evaluate_folder(
    photos: Path,
    model: Path,
    sketches: Path,
    split: Split,
    settings: Settings,
    progress: Progress,
    n_clusters: int = 0,
    plan: EvaluationPlan | None = None,
) -> EvaluationReport:
    """Scores a model on the photos and sketches of a split's unseen categories, without a gallery.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.evaluate.evaluate_vectors`.
    """
    from sbka_milvus.images.datasets import data_set_name
    from sbka_milvus.pipelines.evaluate import evaluate_vectors
    from sbka_milvus.pipelines.generalised import draw_seen_photos
    from sbka_milvus.pipelines.labelled import encode_images

    gallery = list_images(photos, split.unseen)
    if plan is not None and plan.seen_share is not None:
        gallery += draw_seen_photos(photos, split, plan.seen_share, plan.seed)
    with progress.stage("Loading the model"):
        encoder = open_encoder(model, settings)
    encoded = [
        encode_images(images, encoder, sketches=drawn, size=encoder.input_size, progress=progress)
        for images, drawn in ((gallery, False), (list_images(sketches, split.unseen), True))
    ]
    options = evaluate_options(data_set_name(photos), encoder.input_size, settings, n_clusters, plan)
    return evaluate_vectors(encoded[0], encoded[1], split, encoder.fingerprint, options)


def write_evaluation(report: EvaluationReport, *, page: Path | None = None, plots: Path | None = None) -> list[Path]:
    """Writes an evaluation as one HTML page, and its plots as PNG files.

    Args:
        report: the evaluation.
        page: the HTML file; none: no page.
        plots: the folder of the plots; none: no files of their own.

    Returns:
        What was written.

    Raises:
        OutputError: A file cannot be written.
    """
    from sbka_milvus.pipelines.evaluation_page import write_evaluation_page, write_plots

    written = [] if plots is None else write_plots(report, plots)
    if page is not None:
        write_evaluation_page(report, page)
        written.append(page)
    return written
