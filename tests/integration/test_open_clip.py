"""A CLIP model from a file of weights to a trained bundle: its knowledge is its text tower's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import load_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.images import Split
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.pipelines.train import TrainRequest, train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.options import TrainingOptions

MODEL = "tiny-pipeline-clip"
SPEC = BackboneSpec("open_clip", MODEL)
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model(MODEL, load_weights=False).state_dict(), folder / "clip.safetensors")
    return folder / "clip.safetensors"


@pytest.fixture(scope="module")
def built(weights: Path) -> BuiltBackbone:
    """With its knowledge head, for which the text tower reads 7,000 sentences."""
    return build_backbone(BuildRequest(SPEC, weights), with_knowledge=True)


def test_the_knowledge_of_clip_is_its_text_embeddings(built: BuiltBackbone, weights: Path) -> None:
    head = built.knowledge
    assert head is not None
    assert head.weight.shape == (1000, 32)
    assert torch.allclose(head.weight.norm(dim=1), torch.ones(1000), atol=1e-5)
    assert head.scale == pytest.approx(load_file(weights)["logit_scale"].exp().item())
    assert not head.bias.any()
    whole = open_clip.create_model(MODEL, load_weights=False)
    whole.load_state_dict(load_file(weights))
    tokenise = open_clip.get_tokenizer(MODEL)
    for number in (0, 404, 999):
        name = open_clip.IMAGENET_CLASSNAMES[number]
        sentences = [template(name) for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
        with torch.inference_mode():
            mean = whole.eval().encode_text(tokenise(sentences), normalize=True).mean(dim=0)
        assert torch.allclose(head.weight[number], mean / mean.norm(), atol=1e-5), name
    feature = torch.randn(2, 32)
    with torch.inference_mode():
        expected = head.scale * torch.nn.functional.normalize(feature, dim=1) @ head.weight.T
        assert torch.allclose(head(feature), expected, atol=1e-4)


def test_an_imported_clip_makes_the_same_vectors_when_it_is_loaded(weights: Path, tmp_path: Path) -> None:
    pictures = [Image.effect_noise((60, 40), 90).convert("RGB")]
    for size in (None, 64):
        out = tmp_path / f"model{size}"
        made = import_model(BuildRequest(SPEC, weights, size=size), out, "clip", SilentProgress())
        again = load_bundle(out)
        assert again.manifest == made.manifest
        assert again.backbone.preprocessing.size == (size or 32)
        first, second = (BundleEncoder(one, device="cpu").encode_photos(pictures) for one in (made, again))
        assert np.array_equal(first, second)
        assert first.shape == (1, 32)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    for kind in ("photos", "sketches"):
        for category, box in (("bar", (4, 20, 44, 28)), ("pole", (20, 4, 28, 44)), ("box", (8, 8, 40, 40))):
            (tmp_path / kind / category).mkdir(parents=True)
            for number in range(2):
                image = Image.new("RGB", (48, 48), "white" if kind == "sketches" else (200, 90 + 50 * number, 60))
                ImageDraw.Draw(image).rectangle(box, None if kind == "sketches" else "navy", "black", 2)
                image.save(tmp_path / kind / category / f"{number}.png")
    return tmp_path


def test_clip_is_trained_by_its_norms(built: BuiltBackbone, weights: Path, world: Path) -> None:
    options = TrainingOptions(
        epochs=2, sketches_per_batch=6, photos_per_batch=6, validation_share=0.0, trainable="norm", learning_rate=0.01
    )
    request = TrainRequest(
        world / "photos",
        world / "sketches",
        world / "model",
        BuildRequest(SPEC, weights),
        options,
        device="cpu",
        precision="fp32",
    )
    report = train_model(request, SilentProgress())
    assert set(report.history.epochs[1].losses) == {"category", "alignment", "knowledge", "teacher_knowledge"}
    bundle = load_bundle(world / "model")
    assert bundle.manifest.backbone == f"open_clip:{MODEL}"
    assert bundle.manifest.classes == ("bar", "box", "pole")
    before, after = built.backbone.net.state_dict(), bundle.backbone.net.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("ln_" in name for name in changed)
    vectors = BundleEncoder(bundle, device="cpu").encode_photos([Image.new("RGB", (48, 48), "red")])
    assert vectors.shape == (1, 32)


@pytest.mark.parametrize("trainable", ["adapters", "prompts"])
def test_clip_is_trained_by_what_is_added_over_one_s_own_names(trainable: str, weights: Path, world: Path) -> None:
    """With names of one's own the text tower reads a few sentences; the unseen one among them is left out."""
    (world / "names.txt").write_text("bar\npole\nbox\nshoe box\nmoon\n")
    options = TrainingOptions(
        epochs=2, sketches_per_batch=6, photos_per_batch=6, validation_share=0.0, learning_rate=0.01,
        trainable=trainable, adapter_width=4, prompt_count=3, ema_decay=0.5, teacher_scope="adapters",
    )  # fmt: skip
    request = TrainRequest(
        world / "photos",
        world / "sketches",
        world / "model",
        BuildRequest(SPEC, weights),
        options,
        Split("toy", (), ("moon",)),
        knowledge_names=world / "names.txt",
        device="cpu",
        precision="bf16",
    )
    report = train_model(request, SilentProgress())
    assert "1 class names are of unseen categories and were left out: moon." in report.notes
    assert set(report.history.epochs[1].losses) == {"category", "alignment", "knowledge", "teacher_knowledge"}
    bundle = load_bundle(world / "model")
    assert bundle.manifest.options == {trainable: {"adapters": 4, "prompts": 3}[trainable]}
    assert bundle.fingerprint == report.bundle.fingerprint
    vectors = [
        BundleEncoder(one, device="cpu", precision=FP32).encode_photos([Image.new("RGB", (48, 48), "red")])
        for one in (bundle, report.bundle)
    ]
    assert np.array_equal(*vectors)
    start = load_file(weights)
    for name, value in bundle.backbone.net.state_dict().items():
        known = start.get("visual." + name.replace(".mlp.mlp.", ".mlp.").replace("transformer.inner.", "transformer."))
        if known is None:
            assert any(word in name for word in ("adapter", "tokens", "share")), name
        elif "ln_" not in name:
            assert torch.equal(value, known), f"{name} is as it was pre-trained"
    added = [
        value for name, value in bundle.backbone.net.state_dict().items() if "up.weight" in name or "share" in name
    ]
    assert added
    assert all((value != {"adapters": 0.0, "prompts": 1e-3}[trainable]).any() for value in added)
