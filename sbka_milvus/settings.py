"""Settings from the environment (``SBKA_*``) and ``.env``; every one of them stands in ``.env.example``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sbka_milvus.errors import SettingsError


class _Group(BaseModel):
    # A mistyped name of ours is refused; one without the two underscores may be anybody's.
    model_config = ConfigDict(extra="forbid")


class MilvusSettings(_Group):
    """Where the vectors are kept."""

    # Not shown: a user and a password may stand in it.
    uri: str = Field(
        default="",
        repr=False,
        description="Address of a Milvus server; empty: the Milvus embedded in the gallery.",
    )
    token: SecretStr = Field(default=SecretStr(""), description="Token of the server, user:password or an API key.")
    db_name: str = Field(default="", description="Database of the server; empty: its default.")
    ca_file: str = Field(
        default="", description="Certificate file of the authority of an https:// server; empty: the public ones."
    )
    server_name: str = Field(
        default="", description="Name that the server's certificate is made out to; empty: that of its address."
    )
    client_cert_file: str = Field(
        default="", description="Certificate file that the server asks clients for; empty: it asks for none."
    )
    client_key_file: str = Field(default="", description="Private key of that certificate.")
    timeout_s: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="Seconds that one call to Milvus may take."
    )
    max_partitions: int = Field(
        default=0,
        ge=0,
        le=1023,
        description="Cluster partitions of a gallery; more clusters share them. 0: 256, on a server 64.",
    )
    index: Literal["auto", "flat", "hnsw"] = Field(
        default="auto",
        description="Index of vectors: flat (exact), hnsw (may miss some), auto (hnsw in a server's huge partitions).",
    )


class SearchSettings(_Group):
    """How sketches are matched."""

    k: int = Field(default=10, ge=1, description="Hits of a search.")
    n_probe: int | None = Field(
        default=None, ge=1, description="Clusters that a search looks into; empty: as many as each sketch needs."
    )
    exact: bool = Field(
        default=False, description="Whether searches must find the best photos of the whole gallery, and prove it."
    )
    max_probe: int | None = Field(
        default=None, ge=1, description="Clusters that a search looks into at most; empty: as many as it takes."
    )
    deadline_ms: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Milliseconds after which a search looks into no further clusters; empty: as long as it takes.",
    )
    cluster_weight: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Weight of the cluster's score in fused galleries; 0 ranks photos one-to-one.",
    )

    @field_validator("n_probe", "max_probe", "deadline_ms", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    min_confidence: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Confidence below which a search says that it has no good match; 0: it never does.",
    )
    concurrency: int = Field(
        default=2, ge=1, description="Threads of an AsyncSketchSearch; more searches wait for their turn."
    )


class IngestSettings(_Group):
    """How photos are embedded and indexed."""

    batch_size: int = Field(default=32, ge=1, description="Pictures encoded at once.")
    decode_processes: int = Field(
        default=2, ge=1, description="Processes that decode photos; threads that read pictures for a training."
    )
    decode_seconds: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="Seconds that one photo may take to decode."
    )
    decode_memory_mb: int = Field(
        default=2048, ge=64, description="MiB of memory that a process which decodes photos may take."
    )
    shard_size: int = Field(default=4096, ge=1, description="Photos in an embedding shard.")
    max_pixels: int = Field(default=178_956_970, ge=1, description="Pictures with more pixels are refused.")
    max_bytes: int = Field(default=536_870_912, ge=1, description="Photos whose files have more bytes are refused.")
    n_clusters: int = Field(default=0, ge=0, description="Clusters of a gallery; 0: chosen from its size.")
    matching: Literal["auto", "fused", "linear"] = Field(
        default="auto",
        description="Form of matching: auto (linear where the model knows sketches, else fused), linear or fused.",
    )
    keep_versions: int = Field(default=2, ge=1, description="Versions of a gallery to keep, the served one included.")
    max_drift: float = Field(
        default=0.08,
        ge=0,
        allow_inf_nan=False,
        description="Drift of the photos that joined above which an ingest asks for new clusters (docs/clusters.md).",
    )


class TrainingSettings(_Group):
    """How trainings keep what they have learned."""

    checkpoint_every_s: float = Field(
        default=300.0, gt=0, allow_inf_nan=False, description="Seconds between the checkpoints of a training."
    )


class BrokerSettings(_Group):
    """How background work is handed out. Nothing is kept there that cannot be made again."""

    url: SecretStr = Field(
        default=SecretStr(""), description="Address of Redis, redis://...; empty: that of a running `sbka up`."
    )
    visibility_timeout_s: int = Field(
        default=3600, ge=30, description="Seconds after which Redis gives an unfinished message to another worker."
    )
    reconcile_s: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="Seconds between two looks for work that is missing."
    )


class WorkerSettings(_Group):
    """How workers share the work."""

    threads: int = Field(default=0, ge=0, description="Threads of a worker's networks; 0: all cores.")
    chunk_size: int = Field(default=1024, ge=1, description="Photos in one task.")
    window: int = Field(default=64, ge=1, description="Tasks of a job that wait in the queue at once.")
    lease_s: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds of silence after which a worker's task is given on.",
    )
    max_tries: int = Field(default=5, ge=1, description="Failures of one task before its job is given up.")
    metrics_host: str = Field(default="127.0.0.1", description="Address on which a worker shows its metrics.")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Port of a worker's metrics; 0: none.")


class Settings(BaseSettings):
    """All settings. A nested one is written with two underscores: ``SBKA_MILVUS__URI``."""

    model_config = SettingsConfigDict(
        env_prefix="SBKA_", env_nested_delimiter="__", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    device: str = Field(default="auto", description="Where networks run: auto, cpu, cuda, cuda:0.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Number format of networks: auto (the fastest, measured after some hundred pictures), fp32, bf16.",
    )
    backbone: str = Field(
        default="open_clip:ViT-B-32/laion2b_s34b_b79k", description="Encoder of galleries made without a model."
    )
    workspace: Path = Field(
        default=Path("sbka-workspace"), description="Folder of background jobs; the same for workers and those who ask."
    )
    milvus: MilvusSettings = Field(default_factory=MilvusSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)


def with_index_options(settings: Settings, n_clusters: int, matching: str | None) -> Settings:
    """The settings with what a command line said of clusters and matching; 0 and none: nothing was said."""
    changed: dict[str, object] = {"n_clusters": n_clusters} if n_clusters else {}
    changed |= {"matching": matching} if matching else {}
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update=changed)})


@cache
def load_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: A value cannot be used; names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "SBKA_" + "__".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "extra_forbidden":
            raise SettingsError(
                f"{variable} is no setting.", "Correct its name; .env.example lists them all."
            ) from error
        # A token, or an address with a password in it, is never shown.
        hidden = isinstance(first.get("input"), dict) or first["loc"][-1] in ("token", "url", "uri")
        given = "" if hidden else f" {first.get('input')!r}"
        raise SettingsError(
            f"{variable} cannot be{given}: {first['msg']}.", "Change it in the environment or in .env."
        ) from error
    except Exception as error:  # pydantic-settings wraps a malformed nested value in an error of its own
        raise SettingsError(f"The settings cannot be read: {error}.", "Check SBKA_* and .env.") from error
