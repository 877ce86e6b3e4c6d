from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.store.uris import BYTES_PREFIX, decode_uri, encode_uri


@given(st.binary())
def test_every_file_name_survives_as_utf8(raw):
    uri = raw.decode("utf-8", "surrogateescape")
    assert decode_uri(encode_uri(uri).encode().decode()) == uri


@given(st.text() | st.text().map(lambda text: BYTES_PREFIX + text))
def test_every_text_survives_or_is_refused(uri):
    try:
        stored = encode_uri(uri)
    except InvalidValue:
        assert any("\ud800" <= character <= "\udfff" for character in uri)
    else:
        assert decode_uri(stored.encode().decode()) == uri


@given(st.lists(st.binary(max_size=6).map(os.fsdecode) | st.just(BYTES_PREFIX), unique=True))
def test_no_two_uris_are_kept_alike(uris):
    assert len({encode_uri(uri) for uri in uris}) == len(uris)


@pytest.mark.parametrize("uri", ["a b%20c.jpg", "猫/🐈.jpg", "s3://bucket/key?x=1&y=2", "100%"])
def test_plain_uris_are_kept_as_they_are(uri):
    assert encode_uri(uri) == uri


@pytest.mark.parametrize("uri", ["\ud800", "a\udbff", "\udcc3\udca9"])
def test_surrogates_that_are_no_bytes_are_refused(uri):
    with pytest.raises(InvalidValue, match="surrogates"):
        encode_uri(uri)
