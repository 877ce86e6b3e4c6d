"""Several models that teach as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, fingerprint, save_bundle
from sbka_milvus.encoders.committee import Committee, load_teaching, teaching_bundles, teaching_manifests
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BundleError

SIZES = (32, 64)


@pytest.fixture
def members(tmp_path: Path) -> Path:
    """A folder of two models that want pictures of two sizes."""
    for seed, size in enumerate(SIZES):
        torch.manual_seed(seed)
        request = BuildRequest(BackboneSpec("timm", "test_efficientnet"), pretrained=False, size=size)
        save_bundle(build_backbone(request).backbone, BundleNotes(f"m{seed}"), tmp_path / "all" / f"m{seed}")
    return tmp_path / "all"


def pixels(count: int, size: int) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def test_its_cosines_are_the_mean_of_its_members(members: Path) -> None:
    committee, named = load_teaching(members)
    assert isinstance(committee, Committee)
    assert committee.preprocessing.size == max(SIZES), "nothing is enlarged that could be seen as it is"
    first, second = (load_teaching(members / name)[0] for name in ("m0", "m1"))
    assert named == ", ".join(load_teaching(members / name)[1] for name in ("m0", "m1"))
    seen = pixels(4, max(SIZES))
    small = torch.nn.functional.interpolate(seen, (32, 32), mode="bilinear", antialias=True, align_corners=False)
    with torch.inference_mode():
        made, one, other = committee(seen), first(small), second(seen)
    assert made.shape == (4, committee.feature_dim) == (4, first.feature_dim + second.feature_dim)
    expected = (cosines(one) + cosines(other)) / 2
    np.testing.assert_allclose(cosines(made), expected, atol=1e-5)
    assert np.abs(cosines(one) - cosines(other)).max() > 1e-3, "members that agree would show nothing"


def cosines(feature: torch.Tensor) -> np.ndarray:
    rows = torch.nn.functional.normalize(feature.double(), dim=-1).numpy()
    return np.asarray(rows @ rows.T)


def test_another_member_makes_another_committee(members: Path) -> None:
    committee, _ = load_teaching(members)
    assert isinstance(committee, Committee)
    turned = Committee(committee.members[::-1])
    names = {
        fingerprint(one, one.net.state_dict()) for one in (committee, turned, Committee(committee.members[:1] * 2))
    }
    assert len(names) == 3


def test_a_bundle_teaches_alone(members: Path) -> None:
    assert teaching_bundles(members / "m0") == [members / "m0"]
    teacher, named = load_teaching(members / "m0")
    assert not isinstance(teacher, Committee)
    assert [one.fingerprint for one in teaching_manifests(members / "m0")] == [named.split()[1]]


@pytest.mark.parametrize("find", [teaching_manifests, load_teaching])
def test_what_cannot_teach_is_named(members: Path, tmp_path: Path, find: Callable[[Path], object]) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(BundleError, match=rf"{folder} is no model bundle"):
            find(folder)
    (members / "m1" / "manifest.json").unlink()
    with pytest.raises(BundleError, match="holds a single one") as caught:
        find(members)
    assert str(members / "m0") in caught.value.remedy
