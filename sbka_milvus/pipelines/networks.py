"""The student of a training and the teacher beside it: of one backbone, of two, or of a model trained before."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sbka_milvus.encoders.additions import ADAPTERS, PROMPTS, add, takes_adapters
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import fingerprint
from sbka_milvus.encoders.class_names import read_class_names
from sbka_milvus.encoders.committee import load_teaching
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.sbka import SbkaTeacher, Scope
from sbka_milvus.encoders.trainable import has_adapters
from sbka_milvus.errors import TrainingError
from sbka_milvus.images import Split
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.requirements import require_teaching
from sbka_milvus.training.identity import digest_of_tensors
from sbka_milvus.training.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class NetworksRequest:
    """What student and teacher start from.

    Attributes:
        student: the student's backbone.
        options: mode, what trains, and how large what is added is.
        teacher: the teacher's backbone; none: a copy of the student's.
        teacher_bundle: a model trained before that teaches instead, by its features alone, or a folder of several: see
            :mod:`~sbka_milvus.encoders.committee`.
        knowledge_names: text file of the classes of the knowledge heads; none: those that the backbones come with.
        split: names that it has as unseen are left out of the knowledge heads.
    """

    student: BuildRequest
    options: TrainingOptions
    teacher: BuildRequest | None = None
    teacher_bundle: Path | None = None
    knowledge_names: Path | None = None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Networks:
    """Student and teacher before the training.

    Attributes:
        student: its backbone, and its knowledge head where it has one to learn with.
        teacher: none in mode ``ce``.
        start: digests of the weights that they start from, by what they are of; of a teacher that is a copy, none.
        taught_by: the teacher's backbone or bundle by name; empty where there is none.
        notes: what the user should know.
    """

    student: BuiltBackbone
    teacher: SbkaTeacher | None
    start: dict[str, str]
    taught_by: str
    notes: tuple[str, ...]

    def sizes(self, options: TrainingOptions) -> tuple[int, int]:
        """Sides in pixels at which photos and sketches are read: the larger one of the two networks that see them.

        A picture that is larger than a network's input is scaled down for it, while nothing gives one that is smaller
        the detail that it lacks.

        Args:
            options: whether the teacher sees sketches.
        """
        own = self.student.backbone.preprocessing.size
        if self.teacher is None:
            return own, own
        larger = max(own, self.teacher.backbone.preprocessing.size)
        return larger, larger if options.shows_sketches else own


def build_networks(request: NetworksRequest) -> Networks:
    """Builds both.

    Raises:
        BackboneError: A backbone cannot be built, or cannot have what is to be added to it.
        BundleError: The teacher's bundle cannot be loaded.
        DatasetError: The file of class names cannot be read.
        TrainingError: Teacher and student have nothing to learn from one another.
    """
    options = request.options
    require_teaching(request)
    names, notes = _names(request)
    has_teacher = options.mode != "ce"
    torch.manual_seed(options.seed)
    with_knowledge = has_teacher and request.teacher_bundle is None
    built = build_backbone(_with_additions(request.student, options), with_knowledge=with_knowledge, names=names)
    if not has_teacher:
        return Networks(built, None, {"backbone": _digest(built.backbone, built.knowledge)}, "", built.notes)
    if request.teacher_bundle is not None:
        taught, taught_by = load_teaching(request.teacher_bundle)
        built, teacher = replace(built, knowledge=None), BuiltBackbone(taught, None)
    elif request.teacher is not None:
        teacher = build_backbone(request.teacher, with_knowledge=True, names=names)
        built, more = _agree(built, teacher, request)
        taught_by, notes = str(request.teacher.spec), (*notes, *teacher.notes, *more)
    else:
        _require_knowledge(built.knowledge, request.student, request)
        teacher = BuiltBackbone(copy.deepcopy(built.backbone), copy.deepcopy(built.knowledge))
        taught_by = str(request.student.spec)
    # A teacher that never learns is fixed as a whole, whatever could learn of it.
    scope: Scope = options.teacher_scope if options.mode == "bidirectional" else "head"
    net = teacher.backbone.net
    if scope == "adapters" and takes_adapters(net) and not has_adapters(net):
        add(net, teacher.backbone.spec, {ADAPTERS: options.adapter_width})
    copied = request.teacher is None and request.teacher_bundle is None
    start = {
        "backbone": _digest(built.backbone, built.knowledge),
        "teacher": "" if copied else _digest(teacher.backbone, teacher.knowledge),
    }
    return Networks(
        built, SbkaTeacher(teacher.backbone, teacher.knowledge, scope), start, taught_by, (*built.notes, *notes)
    )


def _names(request: NetworksRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Classes of the user's own, none of them unseen: knowing their names would be knowing of them."""
    if request.knowledge_names is None:
        return (), ()
    names = read_class_names(request.knowledge_names)
    unseen = {name_key(name) for name in (request.split.unseen if request.split else ())}
    kept = tuple(name for name in names if name_key(name) not in unseen)
    left_out = [name for name in names if name_key(name) in unseen]
    if len(kept) < 2:
        raise TrainingError(
            f"{request.knowledge_names} names {len(kept)} classes that are not unseen.", "Name two at least."
        )
    if not left_out:
        return kept, ()
    listed = ", ".join(left_out[:5])
    return kept, (f"{len(left_out)} class names are of unseen categories and were left out: {listed}.",)


def _with_additions(request: BuildRequest, options: TrainingOptions) -> BuildRequest:
    sizes = {ADAPTERS: options.adapter_width, PROMPTS: options.prompt_count}
    if options.trainable not in sizes or options.trainable in request.options:
        return request
    return replace(request, options={**request.options, options.trainable: sizes[options.trainable]})


def _require_knowledge(head: KnowledgeHead | None, backbone: BuildRequest, request: NetworksRequest) -> None:
    if head is not None or (request.options.learns_features and request.knowledge_names is None):
        return
    what = "no text tower for class names" if request.knowledge_names else "no pre-trained classifier to align with"
    raise TrainingError(
        f"{backbone.spec} has {what}, which mode {request.options.mode} needs.",
        "Give --weights with them, another --teacher-backbone, an --embedding-weight or a --relation-weight to learn "
        "from features alone, or train with --mode ce.",
    )


def _agree(
    student: BuiltBackbone, teacher: BuiltBackbone, request: NetworksRequest
) -> tuple[BuiltBackbone, tuple[str, ...]]:
    """The student with a head over the teacher's classes: its own where it has one, else one that has all to learn."""
    assert request.teacher is not None
    if teacher.knowledge is None:
        _require_knowledge(None, request.teacher, request)
        return replace(student, knowledge=None), ()
    if student.knowledge is None:
        fresh = KnowledgeHead.untrained(teacher.knowledge, student.backbone.feature_dim)
        note = f"{request.student.spec} has no head over the teacher's {fresh.n_classes} classes: it gets a new one."
        return replace(student, knowledge=fresh), (note,)
    if not student.knowledge.knows_the_same(teacher.knowledge):
        raise TrainingError(
            f"The student {request.student.spec} knows {student.knowledge.n_classes} classes, the teacher "
            f"{request.teacher.spec} {teacher.knowledge.n_classes} others.",
            "Take backbones with the same classes, or give both text towers the same names with --knowledge-names.",
        )
    return student, ()


def _digest(backbone: Backbone, knowledge: KnowledgeHead | None) -> str:
    """Names the weights that a network starts from, wherever they were read."""
    head = () if knowledge is None else tuple(knowledge.parameters())
    return f"{fingerprint(backbone, backbone.net.state_dict())} {digest_of_tensors(head)}"
