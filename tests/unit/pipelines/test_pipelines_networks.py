"""Student and teacher: copies of one, two of different kinds, a model trained before; and what does not go together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from sbka_milvus.encoders.additions import Adapter, PromptedTransformer
from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, save_bundle
from sbka_milvus.errors import BackboneError, BundleError, TrainingError
from sbka_milvus.images import Split
from sbka_milvus.pipelines.networks import Networks, NetworksRequest, build_networks
from sbka_milvus.training.options import TrainingOptions

CLIP = "tiny-networks-clip"
CLASSES = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of tiny networks, a CLIP model among them, and files of names."""
    root = tmp_path_factory.mktemp("networks")
    for net, classes in (("test_resnet", CLASSES), ("test_vit", CLASSES), ("test_efficientnet", 5)):
        torch.manual_seed(0)
        save_file(timm.create_model(net, num_classes=classes).state_dict(), root / f"{net}.safetensors")
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    (root / f"{CLIP}.json").write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(root / f"{CLIP}.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model(CLIP, load_weights=False).state_dict(), root / f"{CLIP}.safetensors")
    (root / "names.txt").write_text("cat\nhot_dog\nwindmill\n")
    save_bundle(net_request(root, "test_vit").backbone, BundleNotes("older"), root / "bundle")
    return root


def net_request(root: Path, net: str) -> Any:
    return build_backbone(request(root, net))


def request(root: Path, net: str, size: int | None = 32, **options: Any) -> BuildRequest:
    spec = f"open_clip:{CLIP}" if net == CLIP else f"timm:{net}"
    return BuildRequest.parse(
        spec, root / f"{net}.safetensors", size, [f"{key}={value}" for key, value in options.items()]
    )


@pytest.fixture
def build(folder: Path) -> Callable[..., Networks]:
    def make(student: str = "test_resnet", options: dict[str, Any] | None = None, **changes: Any) -> Networks:
        chosen = TrainingOptions(**(options or {}))
        return build_networks(NetworksRequest(request(folder, student), chosen, **changes))

    return make


def test_by_default_the_teacher_is_a_copy(build: Callable[..., Networks]) -> None:
    made = build()
    assert made.teacher is not None
    assert made.teacher.scope == "head"
    assert made.taught_by == "timm:test_resnet"
    own, copy = made.student.backbone.state_dict(), made.teacher.backbone.state_dict()
    assert all(torch.equal(value, copy[name]) for name, value in own.items())
    assert all(value.data_ptr() != copy[name].data_ptr() for name, value in own.items() if value.numel() > 1)
    assert made.student.knowledge is not None
    assert made.teacher.knowledge is not None
    assert torch.equal(made.student.knowledge.weight, made.teacher.knowledge.weight)
    assert made.start["teacher"] == "", "it starts as the student does"


@pytest.mark.parametrize(
    ("size", "options", "sizes"),
    [
        (32, {}, (32, 32)),
        (24, {"relation_weight": 1.0, "relation_pictures": "both"}, (32, 32)),
        (48, {}, (48, 32)),
        (48, {"relation_weight": 1.0}, (48, 32)),
        (48, {"relation_weight": 1.0, "relation_pictures": "both"}, (48, 48)),
        (48, {"relation_pictures": "both"}, (48, 32)),
    ],
)
def test_pictures_are_read_at_the_size_of_the_larger_one_that_sees_them(
    build: Callable[..., Networks], folder: Path, size: int, options: dict[str, Any], sizes: tuple[int, int]
) -> None:
    made = build(options=options, teacher=request(folder, "test_resnet", size))
    assert made.sizes(TrainingOptions(**options)) == sizes
    alone = TrainingOptions(mode="ce")
    assert build(options=alone.model_dump()).sizes(alone) == (32, 32)


def test_mode_ce_has_none(build: Callable[..., Networks], folder: Path) -> None:
    made = build(options={"mode": "ce"})
    assert (made.teacher, made.taught_by, set(made.start)) == (None, "", {"backbone"})
    for change in (
        {"teacher": request(folder, "test_vit")},
        {"teacher_bundle": folder / "bundle"},
        {"knowledge_names": folder / "names.txt"},
    ):
        with pytest.raises(TrainingError, match="Mode ce has no teacher") as caught:
            build(options={"mode": "ce"}, **change)
        assert "one_way" in caught.value.remedy


@pytest.mark.parametrize("scope", ["head", "adapters", "all"])
def test_a_teacher_of_another_kind_and_size_knows_the_same_classes(
    scope: str, build: Callable[..., Networks], folder: Path
) -> None:
    made = build(options={"teacher_scope": scope}, teacher=request(folder, "test_vit", 64))
    assert made.teacher is not None
    assert made.teacher.backbone.preprocessing.size == 64
    assert made.student.backbone.preprocessing.size == 32
    assert made.taught_by == "timm:test_vit"
    assert made.start["teacher"] not in ("", made.start["backbone"])
    assert made.teacher.scope == scope
    adapters = [module for module in made.teacher.modules() if isinstance(module, Adapter)]
    assert bool(adapters) == (scope == "adapters")
    assert {adapter.down.out_features for adapter in adapters} <= {64}


def test_a_scope_of_adapters_means_norms_where_none_can_stand(build: Callable[..., Networks]) -> None:
    made = build(options={"teacher_scope": "adapters"})
    assert made.teacher is not None
    learned = set(made.teacher.learned()) - {"knowledge.weight", "knowledge.bias"}
    norms = [name for name, module in made.teacher.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert learned == {f"{name}.{own}" for name in norms for own in ("weight", "bias")}
    assert len(norms) > 3


def test_a_teacher_that_never_learns_is_fixed(build: Callable[..., Networks]) -> None:
    made = build(options={"mode": "one_way", "teacher_scope": "all"})
    assert made.teacher is not None
    assert set(made.teacher.learned()) == {"knowledge.weight", "knowledge.bias"}


def test_other_classes_are_refused_with_what_to_do(build: Callable[..., Networks], folder: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"test_resnet knows 9 classes, the teacher timm:test_efficientnet 5"
    ) as caught:
        build(teacher=request(folder, "test_efficientnet"))
    assert "--knowledge-names" in caught.value.remedy


def test_a_bundle_teaches_by_its_features_alone(build: Callable[..., Networks], folder: Path) -> None:
    with pytest.raises(TrainingError, match="by its features alone") as caught:
        build(teacher_bundle=folder / "bundle")
    assert "--relation-weight" in caught.value.remedy
    assert "--embedding-weight" in caught.value.remedy
    assert build(options={"embedding_weight": 1.0, "mode": "one_way"}, teacher_bundle=folder / "bundle").teacher
    made = build(options={"relation_weight": 1.0, "mode": "one_way"}, teacher_bundle=folder / "bundle")
    assert made.teacher is not None
    assert made.teacher.knowledge is None
    assert made.student.knowledge is None
    assert made.taught_by.startswith("older ")
    own = made.teacher.backbone.net.state_dict()
    assert all(
        torch.equal(value, own[name])
        for name, value in net_request(folder, "test_vit").backbone.net.state_dict().items()
    )
    with pytest.raises(BundleError, match="is no model bundle"):
        build(options={"relation_weight": 1.0}, teacher_bundle=folder)


def test_two_teachers_or_names_for_a_bundle_are_refused(build: Callable[..., Networks], folder: Path) -> None:
    options = {"relation_weight": 1.0}
    with pytest.raises(TrainingError, match="one teacher, and two are given"):
        build(options=options, teacher_bundle=folder / "bundle", teacher=request(folder, "test_vit"))
    with pytest.raises(TrainingError, match="no text tower for the class names"):
        build(options=options, teacher_bundle=folder / "bundle", knowledge_names=folder / "names.txt")


def test_a_clip_student_and_its_copy_know_the_user_s_names(build: Callable[..., Networks], folder: Path) -> None:
    made = build(CLIP, knowledge_names=folder / "names.txt")
    assert made.student.knowledge is not None
    assert made.student.knowledge.names == ("cat", "hot dog", "windmill")
    assert made.notes == ()


def test_names_of_unseen_categories_are_left_out(build: Callable[..., Networks], folder: Path) -> None:
    split = Split("toy", ("cat",), ("Hot-Dog",))
    made = build(CLIP, knowledge_names=folder / "names.txt", split=split)
    assert made.student.knowledge is not None
    assert made.student.knowledge.names == ("cat", "windmill")
    assert made.notes == ("1 class names are of unseen categories and were left out: hot dog.",)
    with pytest.raises(TrainingError, match="names 1 classes that are not unseen"):
        build(CLIP, knowledge_names=folder / "names.txt", split=Split("toy", (), ("hot dog", "cat")))


def test_a_student_without_a_text_tower_learns_a_new_head_from_one_who_has(
    build: Callable[..., Networks], folder: Path
) -> None:
    made = build(teacher=request(folder, CLIP), knowledge_names=folder / "names.txt")
    assert made.student.knowledge is not None
    assert made.student.knowledge.names == ("cat", "hot dog", "windmill")
    assert made.student.knowledge.weight.shape == (3, made.student.backbone.feature_dim)
    assert made.notes == ("timm:test_resnet has no head over the teacher's 3 classes: it gets a new one.",)


def test_names_without_any_text_tower_are_refused(build: Callable[..., Networks], folder: Path) -> None:
    names = folder / "names.txt"
    for change in ({}, {"teacher": request(folder, "test_vit")}):
        for options in ({}, {"relation_weight": 1.0}):
            with pytest.raises(TrainingError, match="has no text tower for class names"):
                build(options=options, knowledge_names=names, **change)


def test_features_alone_will_do_where_there_is_no_classifier(folder: Path) -> None:
    bare = BuildRequest.parse("timm:test_resnet", size=32)
    bare = BuildRequest(bare.spec, pretrained=False, size=32)
    with pytest.raises(TrainingError, match="no pre-trained classifier") as caught:
        build_networks(NetworksRequest(bare, TrainingOptions()))
    assert "--relation-weight" in caught.value.remedy
    made = build_networks(NetworksRequest(bare, TrainingOptions(relation_weight=1.0, teacher_scope="all")))
    assert made.teacher is not None
    assert made.teacher.knowledge is None


@pytest.mark.parametrize(
    ("trainable", "part", "options"),
    [("adapters", Adapter, {"adapters": 7}), ("prompts", PromptedTransformer, {"prompts": 5})],
)
def test_what_is_to_train_is_added(
    trainable: str, part: type, options: dict[str, int], build: Callable[..., Networks], folder: Path
) -> None:
    chosen = {"trainable": trainable, "adapter_width": 7, "prompt_count": 5, "mode": "ce"}
    made = build(CLIP, options=chosen)
    assert made.student.backbone.options == options
    assert any(isinstance(module, part) for module in made.student.backbone.modules())
    own = NetworksRequest(request(folder, CLIP, **{trainable: 3}), TrainingOptions(**chosen))
    assert build_networks(own).student.backbone.options == {trainable: 3}, "what the user says of it wins"
    with pytest.raises(BackboneError, match="has no transformer blocks"):
        build("test_resnet", options=chosen)


def test_one_seed_gives_one_start(build: Callable[..., Networks]) -> None:
    def start(seed: int) -> str:
        return build("test_vit", options={"trainable": "adapters", "seed": seed}).start["backbone"]

    assert start(1) == start(1) != start(2)
