"""Settings come from the environment and .env, and a bad one is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from sbka_milvus.errors import SettingsError
from sbka_milvus.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, and nothing remembered from before."""
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def test_defaults():
    settings = load_settings()
    assert settings.device == "auto"
    assert (settings.search.k, settings.search.n_probe, settings.search.cluster_weight) == (10, None, 0.8)
    assert settings.milvus.uri == ""
    assert (settings.ingest.n_clusters, settings.ingest.matching) == (0, "auto")


def test_the_environment_is_read_with_nested_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SBKA_DEVICE", "cpu")
    monkeypatch.setenv("SBKA_MILVUS__URI", "http://milvus:19530")
    monkeypatch.setenv("SBKA_SEARCH__CLUSTER_WEIGHT", "0.25")
    monkeypatch.setenv("sbka_search__k", "7")
    settings = load_settings()

    assert settings.device == "cpu"
    assert settings.milvus.uri == "http://milvus:19530"
    assert (settings.search.cluster_weight, settings.search.k, settings.search.n_probe) == (0.25, 7, None)


def test_env_files_are_read_and_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch):
    lines = ["# comment", "SBKA_SEARCH__K=3", "SBKA_INGEST__BATCH_SIZE=8", "OTHER=1", "SBKA_BACKBONE=timm:vit ü"]
    (folder / ".env").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("SBKA_SEARCH__K", "4")
    settings = load_settings()

    assert settings.search.k == 4
    assert settings.ingest.batch_size == 8
    assert settings.backbone == "timm:vit ü"


def test_a_form_of_matching_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SBKA_INGEST__MATCHING", "linear")
    assert load_settings().ingest.matching == "linear"
    load_settings.cache_clear()
    monkeypatch.setenv("SBKA_INGEST__MATCHING", "best")
    with pytest.raises(SettingsError, match=r"SBKA_INGEST__MATCHING cannot be 'best'.*'fused'"):
        load_settings()


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch):
    before = load_settings()
    monkeypatch.setenv("SBKA_DEVICE", "cpu")
    assert load_settings() is before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SBKA_SEARCH__K", "0"),
        ("SBKA_SEARCH__K", "many"),
        ("SBKA_SEARCH__N_PROBE", "-1"),
        ("SBKA_SEARCH__CLUSTER_WEIGHT", "1.5"),
        ("SBKA_SEARCH__CLUSTER_WEIGHT", "nan"),
        ("SBKA_MILVUS__TIMEOUT_S", "0"),
        ("SBKA_MILVUS__TIMEOUT_S", "inf"),
        ("SBKA_MILVUS__MAX_PARTITIONS", "1025"),
        ("SBKA_INGEST__DECODE_PROCESSES", ""),
        ("SBKA_INGEST__DECODE_SECONDS", "0"),
        ("SBKA_INGEST__DECODE_SECONDS", "inf"),
        ("SBKA_INGEST__DECODE_MEMORY_MB", "63"),
        ("SBKA_INGEST__MAX_BYTES", "0"),
        ("SBKA_INGEST__KEEP_VERSIONS", "0"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{variable} cannot be '{value}': ") as caught:
        load_settings()
    assert ".env" in caught.value.remedy


def test_a_bad_value_in_an_env_file_is_named(folder: Path):
    (folder / ".env").write_text("SBKA_INGEST__SHARD_SIZE=lots\n")
    with pytest.raises(SettingsError, match="SBKA_INGEST__SHARD_SIZE cannot be 'lots'"):
        load_settings()


@pytest.mark.parametrize("variable", ["SBKA_SEARCH__KK", "SBKA_MILVUS__ADDRESS"])
def test_a_mistyped_nested_name_is_refused(variable, monkeypatch):
    monkeypatch.setenv(variable, "3")
    with pytest.raises(SettingsError, match=f"{variable} is no setting"):
        load_settings()


def test_what_cannot_be_parsed_names_the_group(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SBKA_MILVUS", "garbage")
    with pytest.raises(SettingsError, match=r"milvus.*Check SBKA_\*"):
        load_settings()


def test_an_env_file_that_is_no_text_is_a_settings_error(folder: Path):
    (folder / ".env").write_bytes(b"SBKA_DEVICE=\xff\xfe\n")
    with pytest.raises(SettingsError):
        load_settings()


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SBKA_MILVUS__TOKEN", "root:secret")
    settings = load_settings()
    assert settings.milvus.token.get_secret_value() == "root:secret"
    assert "secret" not in repr(settings)

    load_settings.cache_clear()
    monkeypatch.delenv("SBKA_MILVUS__TOKEN")
    monkeypatch.setenv("SBKA_MILVUS", '{"token": 4711}')
    with pytest.raises(SettingsError, match="SBKA_MILVUS__TOKEN") as caught:
        load_settings()
    assert "4711" not in str(caught.value)


def test_every_setting_is_described():
    nested = {name for name in Settings.model_fields if isinstance(getattr(Settings(), name), BaseModel)}
    assert nested == {"milvus", "search", "ingest", "training", "broker", "worker"}
    for group in [Settings, *(type(getattr(Settings(), name)) for name in nested)]:
        for name, field in group.model_fields.items():
            assert field.description or (group is Settings and name in nested), f"{group.__name__}.{name}"


def test_every_indexing_has_the_limit_of_drift():
    from sbka_milvus import factory, upkeep

    settings = Settings.model_validate({"ingest": {"max_drift": 0.5}})
    assert upkeep.index_options(settings).max_drift == factory.index_options(settings).max_drift == 0.5
