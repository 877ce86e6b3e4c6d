"""A model that teaches by its features, or several side by side: an ensemble whose cosines are the members' mean.

An ensemble ranks better than each of its members, and one student can learn what it says (Hinton et al. 2015), so that
afterwards one network is searched with. Features are compared by their directions: unit features of n members, put one
after the other, have the mean of the members' cosines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.bundle import load_bundle
from sbka_milvus.encoders.manifest import MANIFEST_FILE, Manifest, read_manifest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.view import translate
from sbka_milvus.errors import BundleError


class Committee(Backbone):
    """Several backbones as one; it teaches, and is never saved.

    Attributes:
        members: two at least. Each sees the pictures as it wants to.
    """

    def __init__(self, members: Sequence[Backbone]) -> None:
        """Puts backbones side by side; what the committee expects of pictures is what its largest member does."""
        largest = max(members, key=lambda one: one.preprocessing.size)
        super().__init__(
            BackboneSpec("committee", "+".join(str(one.spec) for one in members)),
            nn.ModuleList(members),
            largest.preprocessing,
            sum(one.feature_dim for one in members),
            {"members": [[one.options, one.preprocessing.to_dict()] for one in members]},
        )
        self.members = tuple(members)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See :meth:`Backbone.forward`; each member's part is of unit length."""
        seen = (one(translate(pixels, self.preprocessing, one.preprocessing)) for one in self.members)
        return torch.cat([functional.normalize(feature.float(), dim=-1) for feature in seen], dim=-1)


def teaching_bundles(folder: Path) -> list[Path]:
    """The bundles that teach: the folder's own, or, where it is none, those of its subfolders, by name.

    Raises:
        BundleError: There is none.
    """
    if (folder / MANIFEST_FILE).exists() or not folder.is_dir():
        return [folder]
    try:
        within = sorted(one for one in folder.iterdir() if (one / MANIFEST_FILE).is_file())
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    if len(within) == 1:
        raise BundleError(
            f"{folder} is no model bundle, and holds a single one.", f"Name {within[0]} itself, or add another."
        )
    return within or [folder]


def teaching_manifests(folder: Path) -> list[Manifest]:
    """What is known of them without loading weights.

    Raises:
        BundleError: There is none, or one is damaged.
    """
    return [read_manifest(one) for one in teaching_bundles(folder)]


def load_teaching(folder: Path) -> tuple[Backbone, str]:
    """The network that teaches, and its name and fingerprint, or those of all.

    Raises:
        BundleError: There is none, or one cannot be loaded.
    """
    bundles = [load_bundle(one) for one in teaching_bundles(folder)]
    named = ", ".join(f"{one.manifest.name} {one.fingerprint}" for one in bundles)
    return (bundles[0].backbone if len(bundles) == 1 else Committee([one.backbone for one in bundles])), named
