"""What a training in the background is asked: whatever `sbka train` can be told gets there, or is named here."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.cli.retrain import set_
from sbka_milvus.cli.train import train, wish_of
from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BundleError, DatasetError, SbkaError, SettingsError, TrainingError
from sbka_milvus.feedback import FeedbackLog
from sbka_milvus.images import Split
from sbka_milvus.pipelines.retraining import GatePolicy, RetrainingPolicy
from sbka_milvus.pipelines.train import TrainRequest
from sbka_milvus.settings import Settings
from sbka_milvus.training.options import TrainingOptions
from schemas.jobs import GateRules, TrainJob
from schemas.wire import parse
from workers.retraining import retrain_job
from workers.training import asked, require_trainable

NOT_CARRIED = {
    "extra_sketches": "the unit reads them from the feedback of the gallery that the wish names",
    "note": "the unit writes its job's id there",
    "checkpoint": "the unit keeps it in the job's folder",
    "checkpoint_every_s": "the unit takes it from the worker's settings",
    "fresh": "a job has a checkpoint of its own, so there is no earlier one",
    "on_checkpoint": "the unit looks to its lease then",
}
"""Fields of a training's request that no wish tells, each with the reason."""

OF_THE_FOREGROUND = {
    "fresh": NOT_CARRIED["fresh"],
    "background": "says where it is done, not what",
    "as_json": "says how it is printed",
}
"""Parameters of `sbka train` that are no part of a wish."""

OF_A_TRAINING_ALONE = {**OF_THE_FOREGROUND, "out": "it lies in the job's folder", "name": "it is the gallery's"}
"""Parameters of `sbka train` that a policy does not have."""

OPTIONS = TrainingOptions(
    epochs=3, head="cosine", ema_decay=0.99, teacher_scope="adapters", relation_weight=2.0, trainable="adapters",
    semantics_weight=0.1, pseudo_sketches=True, pseudo_share=0.3, stroke_augmentation=0.4,
)  # fmt: skip


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.json"
    path.write_text('{"unseen": ["owl"]}')
    return path


@pytest.fixture
def told(split: Path) -> dict[str, Any]:
    """Every entry of a policy and of a wish that they share, with a value that is not its default."""
    return {
        "photos": "/p", "sketches": "/s", "backbone": "timm:a", "weights": "/a.st", "size": 64,
        "backbone_options": {"x": 1}, "split": str(split), "affinity": "/affinity.npz", "semantics": "/words.npz",
        "teacher": "/older", "teacher_backbone": "timm:b/tag", "teacher_weights": "/b.st", "teacher_size": 96,
        "teacher_options": {"pad_type": "same"}, "knowledge_names": "/names.txt", "tensorboard": "/board",
        "device": "cuda:1", "precision": "bf16", "options": OPTIONS,
    }  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, workspace=tmp_path / "workspace", ingest={"decode_processes": 7})  # type: ignore[call-arg,arg-type]


def request_of(wish: TrainJob, settings: Settings) -> TrainRequest:
    """As the worker that reads it from its file makes it."""
    again = parse(TrainJob, json.dumps(wish.model_dump(mode="json")), "The wish")
    assert again == wish
    return TrainRequest(**asked(again, settings))


def as_by_default(value: Any) -> set[str]:
    """Names of the fields of a dataclass or model that have their defaults; those without one never have."""
    if dataclasses.is_dataclass(value):
        made = {
            field.name: field.default_factory() if callable(field.default_factory) else field.default
            for field in dataclasses.fields(value)
        }
    else:
        made = {name: field.get_default(call_default_factory=True) for name, field in type(value).model_fields.items()}
    return {name for name, default in made.items() if getattr(value, name) == default}


def require_all(request: TrainRequest, split: Path) -> None:
    assert as_by_default(request) == set(NOT_CARRIED), "a field is lost on its way, or is no exception any more"
    teacher = BuildRequest(BackboneSpec("timm", "b", "tag"), Path("/b.st"), size=96, options={"pad_type": "same"})
    assert request.backbone == BuildRequest(BackboneSpec("timm", "a"), Path("/a.st"), size=64, options={"x": 1})
    assert (request.teacher, request.teacher_bundle) == (teacher, Path("/older"))
    assert (request.photos, request.sketches) == (Path("/p"), Path("/s"))
    assert (request.affinity, request.semantics) == (Path("/affinity.npz"), Path("/words.npz"))
    assert (request.knowledge_names, request.split) == (Path("/names.txt"), Split.load(split))
    assert (request.device, request.precision, request.decode_threads) == ("cuda:1", "bf16", 7)
    assert request.options == OPTIONS


class TestNothingIsForgotten:
    def test_all_of_a_wish_arrives_at_the_training(self, told: dict[str, Any], split: Path, settings: Settings) -> None:
        wish = TrainJob(**told, out="/m", name="mine", feedback="/g")
        assert as_by_default(wish) == {"kind"}, "the test tells something of every entry"
        request = request_of(wish, settings)
        require_all(request, split)
        assert (request.out, request.name, request.tensorboard) == (Path("/m"), "mine", Path("/board"))

    def test_all_of_a_policy_arrives_at_the_training(
        self, told: dict[str, Any], split: Path, settings: Settings, tmp_path: Path
    ) -> None:
        gallery = Gallery.create_or_open(tmp_path / "gallery", "m1", "birds")
        RetrainingPolicy.make(**told).save(gallery.root)
        job = retrain_job(gallery, RetrainingPolicy.load(gallery.root), "why", Path("/jobs/retrain-7/model"))
        assert as_by_default(job.train) == {"kind"}
        require_all(request_of(job.train, settings), split)
        assert (job.train.out, job.train.name, job.train.feedback) == (
            "/jobs/retrain-7/model", "birds", str(gallery.root),
        )  # fmt: skip
        assert job.train.tensorboard == "/board/retrain-7", "one folder for each, since TensorBoard mixes them else"

    def test_a_policy_knows_whatever_a_wish_does(self) -> None:
        of_the_job = {"kind", "out", "name", "feedback"}
        assert TrainJob.model_fields.keys() - RetrainingPolicy.model_fields.keys() == of_the_job

    def test_a_gate_knows_whatever_its_rules_do(self) -> None:
        # A policy has no sketches of its own to measure agreement on: the gallery's feedback has them.
        assert GateRules.model_fields.keys() - GatePolicy.model_fields.keys() == {"queries"}

    def test_all_of_the_command_is_part_of_the_wish(self) -> None:
        given = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
        given |= {"photos": Path("/p"), "out": Path("/m"), "backbone": "timm:a"}
        plain = wish_of(given)
        assert plain.keys() <= TrainJob.model_fields.keys()
        ignored = {name for name in given if wish_of(given | {name: _other(name)}) == plain}
        assert ignored == set(OF_THE_FOREGROUND)

    def test_all_of_the_command_can_be_said_of_a_policy(self) -> None:
        of_both = inspect.signature(set_).parameters.keys() | TrainingOptions.model_fields.keys()
        assert inspect.signature(train).parameters.keys() - of_both == OF_A_TRAINING_ALONE.keys() - {"as_json"}


def _other(name: str) -> Any:
    """A value of a parameter of `sbka train` that is not its default."""
    parameter = inspect.signature(train, eval_str=True).parameters[name]
    if name in ("semantics", "teacher_weights", "weights", "split", "affinity", "teacher", "knowledge_names"):
        return Path("/other")
    if name == "trainable":
        return "norm"  # by default, it depends on the backbone
    if name in ("option", "teacher_option"):
        return ["y=2"]
    kind = parameter.annotation.__origin__
    if isinstance(parameter.default, bool):
        return not parameter.default
    if choices := [choice for part in (kind, *getattr(kind, "__args__", ())) for choice in _choices(part)]:
        return next(choice for choice in choices if choice != parameter.default)
    if kind is float:
        return 0.3 if parameter.default != 0.3 else 0.4
    if kind is str:
        return "timm:other" if "backbone" in name else "other"
    if kind is Path or Path in getattr(kind, "__args__", ()):
        return Path("/other")
    return 70 if parameter.default != 70 else 140


def _choices(kind: Any) -> tuple[Any, ...]:
    return tuple(value for value in getattr(kind, "__args__", ()) if isinstance(value, str))


class TestRefusals:
    """What cannot begin is refused before anybody waits for it."""

    @pytest.fixture
    def wish(self, tmp_path: Path) -> dict[str, Any]:
        for kind in ("photos", "sketches"):
            for category in ("cat", "dog", "hen", "owl"):
                (tmp_path / kind / category).mkdir(parents=True)
                (tmp_path / kind / category / "1.png").write_bytes(b"not looked at")
        return {
            "photos": str(tmp_path / "photos"), "sketches": str(tmp_path / "sketches"), "out": str(tmp_path / "m"),
            "backbone": "timm:a",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "error", "says"),
        [
            ({"semantics": "/nowhere.npz"}, DatasetError, "/nowhere.npz does not exist"),
            ({"teacher_backbone": "timm:b", "teacher_weights": "/nowhere.st"}, DatasetError, "/nowhere.st does not"),
            ({"knowledge_names": "/nowhere.txt"}, DatasetError, "/nowhere.txt does not exist"),
            ({"affinity": "/nowhere.npz"}, DatasetError, "/nowhere.npz does not exist"),
            ({"teacher": "/nowhere", "options": {"relation_weight": 1}}, BundleError, "/nowhere is no model bundle"),
            ({"teacher": "/nowhere"}, TrainingError, "by its features alone"),
            ({"teacher": "/nowhere", "teacher_backbone": "timm:b"}, TrainingError, "two are given"),
            ({"teacher_backbone": "timm:b", "options": {"mode": "ce"}}, TrainingError, "Mode ce has no teacher"),
            ({"teacher_backbone": "resnet"}, SbkaError, "'resnet' is not of the form"),
            ({"options": {"semantics_weight": 0.2}}, TrainingError, "needs word vectors"),
            ({"options": {"validation_share": 0.9}}, DatasetError, "4 seen categories are too few"),
            ({"sketches": None}, SettingsError, "no sketches to train on"),
        ],
    )
    def test_each_is_named(
        self, wish: dict[str, Any], settings: Settings, change: dict[str, Any], error: type[SbkaError], says: str
    ) -> None:
        require_trainable(TrainJob(**wish), settings)
        with pytest.raises(error, match=says):
            require_trainable(TrainJob(**wish | change), settings)

    def test_a_start_may_be_a_file_or_a_model(self, wish: dict[str, Any], settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "weights.safetensors").write_bytes(b"not looked at")
        require_trainable(TrainJob(**wish, weights=str(tmp_path / "weights.safetensors")), settings)
        with pytest.raises(BundleError, match="photos is no model bundle"):
            require_trainable(TrainJob(**wish, weights=wish["photos"]), settings)
        manifest = {"name": "m", "backbone": "timm:a", "preprocessing": {}, "dim": 2, "fingerprint": "f"}
        (tmp_path / "older").mkdir()
        (tmp_path / "older" / "manifest.json").write_text(json.dumps(manifest | {"weights_digest": "d"}))
        require_trainable(TrainJob(**wish, weights=str(tmp_path / "older")), settings)

    def test_categories_need_both_photos_and_sketches(
        self, wish: dict[str, Any], settings: Settings, tmp_path: Path
    ) -> None:
        (tmp_path / "sketches" / "hen" / "1.png").unlink()
        (tmp_path / "sketches" / "hen").rmdir()
        with pytest.raises(DatasetError, match="1 categories have no sketches, for example 'hen'"):
            require_trainable(TrainJob(**wish), settings)
        # Where sketches are made from photos, this category gets some; where users gave some, it has them.
        require_trainable(TrainJob(**wish, options=TrainingOptions(pseudo_sketches=True)), settings)
        gallery = Gallery.create_or_open(tmp_path / "gallery", "m1")
        FeedbackLog(gallery.root).add([[(0, 0), (9, 9)]], "/photos/hen/1.png", "accepted")
        require_trainable(TrainJob(**wish, feedback=str(gallery.root)), settings)
        (tmp_path / "sketches" / "ox").mkdir()
        (tmp_path / "sketches" / "ox" / "1.png").write_bytes(b"")
        with pytest.raises(DatasetError, match="1 categories have no photos, for example 'ox'"):
            require_trainable(TrainJob(**wish, options=TrainingOptions(pseudo_sketches=True)), settings)

    def test_drawings_and_file_lists_are_data_like_any_other(
        self, wish: dict[str, Any], settings: Settings, tmp_path: Path, write_list: Callable[[Path, str], Path]
    ) -> None:
        drawings = tmp_path / "drawn"
        drawings.mkdir()
        for name in ("cat", "dog", "hen", "owl"):
            (drawings / f"{name}.ndjson").write_text('{"word": "x", "drawing": [[[0, 9], [0, 9]]]}\n')
        require_trainable(TrainJob(**wish | {"sketches": str(drawings)}), settings)
        photos = write_list(tmp_path, "photos")
        lists = {"photos": str(photos), "sketches": str(write_list(tmp_path, "sketches")), "split": str(photos.parent)}
        require_trainable(TrainJob(**wish | lists), settings)
        (tmp_path / "photos" / "dog" / "1.png").unlink()
        with pytest.raises(DatasetError, match=r"line 2: .*does not exist"):
            require_trainable(TrainJob(**wish | lists), settings)

    @pytest.fixture
    def write_list(self) -> Callable[[Path, str], Path]:
        def write(root: Path, kind: str) -> Path:
            lists = root / "lists"
            lists.mkdir(exist_ok=True)
            (lists / "cname_cid.txt").write_text("cat 0\ndog 1\nhen 2\nowl 3\n")
            (lists / "cname_cid_zero.txt").write_text("ox 0\n")
            rows = [f"{kind}/{name}/1.png {number}\n" for number, name in enumerate(("cat", "dog", "hen", "owl"))]
            (lists / f"{kind}_train.txt").write_text("".join(rows))
            return lists / f"{kind}_train.txt"

        return write
