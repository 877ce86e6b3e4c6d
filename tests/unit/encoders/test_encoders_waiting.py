"""A network is loaded when it is needed, and not before."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.waiting import WaitingEncoder
from sbka_milvus.errors import BundleError

MANIFEST = Manifest(
    name="m", backbone="timm:x", preprocessing={"size": 96}, dim=4, fingerprint="f" * 16, weights_digest="d"
)
PICTURE = Image.new("RGB", (8, 8))


class Fixed:
    dim = 4
    fingerprint = "f" * 16

    def encode_photos(self, photos):
        return np.full((len(photos), 4), 0.5, dtype=np.float32)

    def encode_sketches(self, sketches):
        return -self.encode_photos(sketches)


def test_its_manifest_says_all_but_the_vectors():
    encoder = WaitingEncoder(MANIFEST, lambda: pytest.fail("loaded in vain"))
    assert (encoder.dim, encoder.fingerprint, encoder.input_size) == (4, "f" * 16, 96)


def test_the_first_picture_loads_it_once():
    loaded = []

    def load() -> Fixed:
        loaded.append(1)
        return Fixed()

    encoder = WaitingEncoder(MANIFEST, load)
    assert encoder.encode_photos([PICTURE])[0, 0] == 0.5
    assert encoder.encode_sketches([PICTURE])[0, 0] == -0.5
    assert encoder.load() is encoder.load()
    assert loaded == [1]


def test_what_cannot_be_loaded_is_told_and_tried_again():
    def load() -> Fixed:
        raise BundleError("damaged", "mend it")

    encoder = WaitingEncoder(MANIFEST, load)
    for _ in range(2):
        with pytest.raises(BundleError, match="damaged"):
            encoder.load()
