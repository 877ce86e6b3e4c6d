"""``sbka ingest`` killed anywhere, and again: after the last run each photo is in the gallery once, or in quarantine.

The points are drawn from all that an ingest passes, by a seed, so that a run can be repeated. A gallery suffers several
kills in the order of its work; each run after a kill goes on from what the killed one left.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.audit import audit_gallery
from harness.disk import small_disk
from harness.injection import Action, Fault, Ledger
from harness.inline import Program, running
from harness.pictures import CLASSES, damage, draw_photos, make_model, save_weights
from own_ports import own_port

from sbka_milvus.store.lite_server import lite_command
from workers.services.ports import HOST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 11
KILLS = 104
EACH = 5
"""Photos of each of five categories at first."""
IN_A_ROW = 5
"""Kills of one gallery before it may end its work; then its photos change, and it is killed again."""


class World:
    """Photos that change, the model, and one gallery after another."""

    def __init__(self, root: Path, program: Program, ledger: Ledger) -> None:
        self.root, self.program, self.ledger = root, program, ledger
        self.photos = root / "photos"
        self.bad: set[Path] = set()
        self.gallery = root
        self.milvus = ""
        self._galleries = 0
        self._drawn = 0

    def begin(self, within: Path | None = None) -> None:
        """New photos and no gallery."""
        for folder in (self.photos, self.gallery) if self._galleries else ():
            shutil.rmtree(folder, ignore_errors=True)
        draw_photos(self.photos, 0, EACH)
        self.bad = damage(self.photos)
        self._galleries, self._drawn, self.milvus = self._galleries + 1, EACH, ""
        self.gallery = (within or self.root) / f"gallery-{self._galleries}"

    def change(self) -> None:
        """Some photos more, and some that are others now."""
        draw_photos(self.photos, self._drawn, 1)
        self._drawn += 1
        for name in CLASSES[:2]:
            other = self.photos / name / f"{self._drawn - 1:03}.jpg"
            (self.photos / name / "000.jpg").write_bytes(other.read_bytes() + b"\0" * self._drawn)

    def ingest(self) -> int:
        """One run of the program."""
        env = {"SBKA_MILVUS__URI": self.milvus, "SBKA_MILVUS__TIMEOUT_S": "5"}
        return self.program.run("ingest", self.photos, "-g", self.gallery, "-m", self.root / "model", env=env)

    def suffer(self, fault: Fault, *actions: Action) -> int:
        """One run with one fault, which must happen."""
        self.program.arm([fault], actions)
        code = self.ingest()
        assert self.program.injector.due == [], self.program.said()
        return code

    def finish(self) -> None:
        """A run that nothing happens to, and the audit."""
        assert self.ingest() == 0, self.program.said()
        self.audit()

    def audit(self) -> int:
        """Each photo once, or in quarantine; gives how many are in the gallery."""
        uri = self.milvus or str(self.gallery / "milvus")
        return audit_gallery(self.gallery, self.photos, self.bad, uri, self.ledger)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Iterator[World]:
    """A model, and the program ready to run."""
    root = tmp_path_factory.mktemp("kills")
    save_weights(root / "weights.safetensors")
    make_model(root / "weights.safetensors", root / "model")
    with running(root / "program", ledger) as program:
        yield World(root, program, ledger)


def drawn(passes: dict[str, int], chance: random.Random, count: int) -> list[Fault]:
    """Points in the order in which an ingest passes them, each at some pass."""
    chosen = sorted(chance.sample(range(len(passes)), count))
    names = list(passes)
    return [Fault(names[place], at=chance.randint(1, min(3, passes[names[place]]))) for place in chosen]


def test_an_ingest_killed_anywhere_loses_and_doubles_nothing(world: World) -> None:
    chance = random.Random(SEED)
    world.begin()
    first = world.program.passed_in(world.finish)
    world.change()
    later = world.program.passed_in(world.finish)
    assert len(first) > 30 and len(later) > 20, (first, later)
    # Every point is hit at least once, wherever chance may lead.
    wanted = [Fault(name) for name in first]
    chance.shuffle(wanted)
    order = list(first)
    killed, reached = 0, set()
    while killed < KILLS or wanted:
        assert world.program.runs < 4 * KILLS, f"{killed} kills only; never reached: {wanted}"
        world.begin()
        due, wanted = sorted(wanted[:IN_A_ROW], key=lambda fault: order.index(fault.point)), wanted[IN_A_ROW:]
        for faults in (due or drawn(first, chance, IN_A_ROW), drawn(later, chance, IN_A_ROW)):
            for fault in faults:
                world.program.arm([fault])
                code = world.ingest()
                assert code in (0, -9), world.program.said()
                world.program.disarm()
                killed += code == -9
                if code == -9:
                    reached.add(fault.point)
            world.finish()
            world.change()
    missed = first.keys() - reached
    print(f"\nkilled: {killed} at {len(reached)} points, lost: {world.ledger.lost}, doubled: {world.ledger.doubled}")
    assert killed >= KILLS
    assert len(missed) <= len(first) // 10, f"never killed at {sorted(missed)}"


@pytest.mark.parametrize(("kind", "code"), [("int", 130), ("term", 143)])
def test_who_is_asked_to_stop_keeps_the_batch_in_hand(world: World, kind: str, code: int) -> None:
    world.begin()
    assert world.suffer(Fault("ingest.encode.before", kind, at=3)) == code
    said = world.program.said()
    # One picture was encoded to see whether that can be done.
    assert "Stopped: 10 of 29 new photos are done and kept" in said and "Traceback" not in said
    assert world.suffer(Fault("ingest.milvus-insert.before", kind)) in (code, -15), world.program.said()
    world.finish()


@pytest.mark.parametrize("point", ["table.before", "quarantine.before", "milvus-insert.before", "index-record.before"])
def test_a_full_disk_is_told_of_and_costs_nothing(world: World, tmp_path: Path, point: str) -> None:
    with small_disk(tmp_path / "disk", list) as disk:
        if disk.kind != "small file system":
            pytest.skip("no file system may be mounted here; the quota of the other suite is for workers")
        world.begin(disk.folder)
        code = world.suffer(Fault(f"ingest.{point}", "hold", name="disk full"), disk.fill)
        said = world.program.said()
        assert code == 1 and "Traceback" not in said, said
        assert any(word in said for word in ("space", "cannot be written", "Milvus")), said
        disk.free()
        world.finish()


def test_photos_that_vanish_and_come_back_are_taken_in_once(world: World) -> None:
    world.begin()
    away = world.photos.with_name("away")
    fault = Fault("ingest.read-001.before", "hold", at=4, name="source unmounted")
    assert world.suffer(fault, lambda: world.photos.rename(away) and None) == 0, world.program.said()
    assert "does not exist" in world.program.said()
    assert world.ingest() == 1, "a source that is not there is no empty source"
    assert "does not exist" in world.program.said() and "Traceback" not in world.program.said()
    away.rename(world.photos)
    world.finish()
    assert world.audit() == EACH * len(CLASSES)


def test_a_photo_that_changes_while_it_is_read_is_served_as_it_is_in_the_end(world: World) -> None:
    world.begin()
    changed = world.photos / CLASSES[0] / "001.jpg"

    def change() -> None:
        changed.write_bytes((world.photos / CLASSES[1] / "002.jpg").read_bytes() + b"\0")

    assert world.suffer(Fault("ingest.read-001.before", "hold", name="file changed"), change) == 0
    world.finish()


@contextmanager
def lite_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Milvus Lite as a server; it answers when the block begins."""
    command = lite_command(folder, HOST, port)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not listens(port):
                time.sleep(0.05)
            yield server
        finally:
            server.kill()


def listens(port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as one:
        return one.connect_ex((HOST, port)) == 0


@pytest.mark.parametrize(
    "point", ["milvus-create_collection.after", "milvus-insert.before", "milvus-alter_alias.before"]
)
def test_a_milvus_that_goes_away_is_told_of_and_costs_nothing(world: World, tmp_path: Path, point: str) -> None:
    world.begin()
    port = own_port()
    world.milvus = f"http://{HOST}:{port}"
    with lite_server(tmp_path / "milvus", port):
        if "alter" in point:  # the alias moves when there is a version before
            world.finish()
            world.change()
    with lite_server(tmp_path / "milvus", port) as server:

        def kill() -> None:
            server.kill()
            server.wait()

        code = world.suffer(Fault(f"ingest.{point}", "hold", name="Milvus killed"), kill)
        said = world.program.said()
        assert code == 1 and "cannot be reached" in said and "Traceback" not in said, said
    assert world.ingest() == 1, "a Milvus that is away shows before anything is embedded"
    with lite_server(tmp_path / "milvus", port):
        world.finish()
