"""Encrypted connections: what pymilvus is told, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from own_rpc_errors import FakeRpcError
from pymilvus.exceptions import MilvusException

from sbka_milvus.errors import InvalidValue, StoreError, StoreUnavailable
from sbka_milvus.factory import milvus_tls
from sbka_milvus.settings import MilvusSettings
from sbka_milvus.store import MilvusGalleryStore, Tls
from sbka_milvus.store.faults import translate
from sbka_milvus.store.session import without_user

URI = "https://milvus:19530"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("ca.pem", "client.pem", "client.key")]
    for path in paths:
        path.write_text("PEM")
    return [str(path) for path in paths]


def test_where_nothing_is_named_nothing_is_told():
    assert Tls().options(URI) == Tls().options("http://milvus:19530") == {}


def test_an_authority_and_a_name_are_told(files):
    assert Tls(ca_file=files[0], server_name="m").options(URI) == {"server_pem_path": files[0], "server_name": "m"}
    assert Tls(server_name="m").options("HTTPS://milvus") == {"server_name": "m"}


def test_a_certificate_of_our_own_is_told_with_its_key_and_the_authority(files):
    # Under these names alone pymilvus reads all three.
    told = Tls(files[0], "", files[1], files[2]).options(URI)
    assert told == {"ca_pem_path": files[0], "client_pem_path": files[1], "client_key_path": files[2]}


@pytest.mark.parametrize("missing", ["client_cert_file", "client_key_file", "ca_file"])
def test_half_of_it_is_refused(files, missing):
    named = dict(zip(("ca_file", "client_cert_file", "client_key_file"), files, strict=True))
    with pytest.raises(InvalidValue, match="SBKA_MILVUS__"):
        Tls(**{**named, missing: ""})


def test_certificates_of_an_address_that_is_not_encrypted_are_refused(files):
    with pytest.raises(InvalidValue, match="https://"):
        MilvusGalleryStore("http://127.0.0.1:9", tls=Tls(ca_file=files[0]))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidValue, match=r"gone\.pem"):
        Tls(ca_file=str(tmp_path / "gone.pem")).options(URI)


def test_settings_are_passed_through(files):
    settings = MilvusSettings(ca_file="a", server_name="b", client_cert_file="c", client_key_file="d")
    assert milvus_tls(settings) == Tls("a", "b", "c", "d")


def test_a_password_in_the_address_is_not_shown():
    assert without_user("https://root:secret@milvus:19530/pets") == "https://milvus:19530/pets"
    assert "secret" not in repr(MilvusSettings(uri="https://root:secret@milvus:19530", token="root:secret"))
    with pytest.raises(StoreUnavailable) as caught:
        MilvusGalleryStore("http://root:secret@127.0.0.1:9", token="root:secret", timeout_s=1.0)
    assert "secret" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("cause", "kind", "remedy"),
    [
        (FakeRpcError(grpc.StatusCode.UNAUTHENTICATED, "auth check failure"), StoreError, "token"),
        (FakeRpcError(grpc.StatusCode.UNAVAILABLE, "x: CERTIFICATE_VERIFY_FAILED: self signed"), StoreError, "CA_FILE"),
        (
            FakeRpcError(grpc.StatusCode.UNAVAILABLE, "Hostname Verification Check failed."),
            StoreError,
            "SERVER_NAME",
        ),
        (FakeRpcError(grpc.StatusCode.UNAVAILABLE, "connection refused"), StoreUnavailable, "try again"),
    ],
)
def test_why_a_connection_failed_is_told(cause, kind, remedy):
    failed = MilvusException(2, "Fail connecting to server")
    failed.__cause__ = cause
    translated = translate(failed, "here")
    assert type(translated) is kind
    assert remedy in translated.remedy and cause.details().rstrip(".") in translated.problem
