"""What a training is refused for before any picture is opened: what makes no sense, and what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbka_milvus.encoders.bundle import check_target
from sbka_milvus.encoders.committee import teaching_manifests
from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.errors import DatasetError, TrainingError
from sbka_milvus.pipelines.seen import further_sketches, seen_images
from sbka_milvus.pipelines.training_sketches import require_sketches
from sbka_milvus.training.data import hold_out, require_both

if TYPE_CHECKING:
    from sbka_milvus.pipelines.networks import NetworksRequest
    from sbka_milvus.pipelines.train import TrainRequest


def require_trainable(request: TrainRequest) -> None:
    """Refuses a training that could not begin, before anybody waits for it; neither pictures nor weights are opened.

    Raises:
        BundleError: The new model's folder holds something else, or the teacher's, or one to start from, no model.
        DatasetError: The folders, the split or the files do not fit, or there are too few categories.
        SettingsError: There are no sketches, and none may be made.
        TrainingError: What is asked makes no sense.
    """
    require_sense(request)
    check_target(request.out)
    if request.teacher_bundle is not None:
        teaching_manifests(request.teacher_bundle)
    photos = seen_images(request.photos, request.split)
    sketches = [] if request.sketches is None else seen_images(request.sketches, request.split)
    sketches += further_sketches(request.extra_sketches, photos, request.split)[0]
    # With pseudo-sketches, categories without sketches of their own get some.
    categories = require_both(photos, [*sketches, *(photos if request.options.pseudo_sketches else ())])
    hold_out(categories, request.options.validation_share, request.options.seed)
    weights = [request.backbone.weights, None if request.teacher is None else request.teacher.weights]
    starts = [path for path in weights if path is not None and path.is_dir()]
    for start in starts:
        read_manifest(start)
    files = (path for path in weights if path not in starts)
    for path in (*files, request.affinity, request.semantics, request.knowledge_names):
        if path is not None and not path.is_file():
            raise DatasetError(f"The file {path} does not exist.", "Check the path.")


def require_sense(request: TrainRequest) -> None:
    """Refuses parts that contradict one another; no file is looked at.

    Raises:
        SettingsError: There are no sketches, and none may be made.
        TrainingError: Something is given that the training cannot use, or lacks something that it needs.
    """
    require_sketches(request.sketches, request.options)
    if request.options.semantics_weight and request.semantics is None:
        raise TrainingError(
            "A semantics weight needs word vectors of the categories' names, and there are none.",
            "Give a file of them with --semantics, or set the semantics weight to 0.",
        )
    require_teaching(request)


def require_teaching(request: TrainRequest | NetworksRequest) -> None:
    """Refuses a teacher that does not go with the rest.

    Raises:
        TrainingError: There are two, there may be none, or there is nothing to learn from it.
    """
    bundle, names = request.teacher_bundle, request.knowledge_names
    if request.teacher is not None and bundle is not None:
        raise TrainingError("A training has one teacher, and two are given.", "Give a bundle or a backbone, not both.")
    if request.options.mode == "ce" and (request.teacher or bundle or names):
        raise TrainingError(
            "Mode ce has no teacher and no knowledge head, and something is given for them.",
            "Train with --mode one_way or bidirectional, or leave the teacher and the class names out.",
        )
    if bundle is not None and not request.options.learns_features:
        raise TrainingError(
            f"The model {bundle} can teach by its features alone: bundles keep no heads.",
            "Give --embedding-weight or --relation-weight, for example 10.",
        )
    if bundle is not None and names is not None:
        raise TrainingError(
            f"The model {bundle} has no text tower for the class names: bundles keep none.",
            "Leave --knowledge-names out, or give the teacher as a backbone.",
        )
