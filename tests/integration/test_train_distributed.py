"""Two processes that train one model under torchrun, on the CPU.

Run as a program, this file is one of them: ``python test_train_distributed.py FOLDER SCENARIO...``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.bundle import fingerprint, load_bundle
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.errors import SbkaError, SettingsError
from sbka_milvus.pipelines.train import TrainReport, TrainRequest, checkpoint_beside, train_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.distributed import Team, joined, leads
from sbka_milvus.training.options import TrainingOptions

CPU = torch.device("cpu")
SINGLE = "test_vit"
"""It normalises each picture on its own, so that a share of a batch is treated as the whole would be."""
BATCH = "test_efficientnet"
"""It normalises over the batch and drops features at random: each process on its own share."""


def draw_toys(root: Path) -> None:
    for kind, suffix in (("photos", "jpg"), ("sketches", "png")):
        for number, category in enumerate(("bar", "box", "disc", "pole")):
            (root / kind / category).mkdir(parents=True)
            for copy in range(5):
                rng = np.random.default_rng([number, copy, kind == "photos"])
                ground = tuple(rng.integers(100, 240, 3).tolist()) if kind == "photos" else "white"
                image = Image.new("RGB", (40, 40), ground)
                corner = (12 + 6 * number, 30 - 6 * number)
                ImageDraw.Draw(image).rectangle((4, 4, *corner), "navy" if kind == "photos" else None, "black", 2)
                image.save(root / kind / category / f"{copy}.{suffix}")
    for net in (SINGLE, BATCH):
        torch.manual_seed(0)
        save_file(timm.create_model(net, num_classes=9).state_dict(), root / f"{net}.safetensors")


def toy_request(root: Path, net: str, out: str, **options: Any) -> TrainRequest:
    chosen = {"epochs": 4, "sketches_per_batch": 7, "photos_per_batch": 8, "validation_share": 0.5, **options}
    return TrainRequest(
        photos=root / "photos",
        sketches=root / "sketches",
        out=root / out,
        backbone=BuildRequest.parse(
            f"timm:{net}", root / f"{net}.safetensors", 32, ["drop_rate=0.2"] if net == BATCH else []
        ),
        options=TrainingOptions(**chosen),
        device="cpu",
        precision="fp32",
        checkpoint=checkpoint_beside(root / out),
        checkpoint_every_s=1e-9,
    )


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toys")
    draw_toys(root)
    return root


def torchrun(root: Path, *scenarios: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, str(root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [sys.executable, *command, *scenarios],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environment,
    )


def told(root: Path, scenario: str) -> list[dict[str, Any]]:
    """What both processes wrote down."""
    return [json.loads((root / f"{scenario}-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def ran(toys: Path) -> Path:
    """The scenarios that need no process of their own, for each of which two would have to start."""
    ended = torchrun(toys, "means", "plain", "recipe", "undisturbed", "nan")
    assert ended.returncode == 0, ended.stderr
    return toys


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_would(ran: Path) -> None:
    toys = ran
    leader, other = told(toys, "plain")
    assert leader["weights"] == other["weights"] == leader["bundle"] == other["bundle"]
    assert load_bundle(toys / "plain").fingerprint == leader["bundle"]
    assert leader["figures"] == other["figures"]
    assert (leader["shown"], other["shown"]) == (True, False)
    assert not checkpoint_beside(toys / "plain").exists()
    # Eight sketches a step, because seven cannot be shared evenly between two.
    request = toy_request(toys, SINGLE, "single", alignment_weight=0.0, sketches_per_batch=8)
    alone = train_model(replace(request, checkpoint=None), SilentProgress())
    for mine, theirs in zip(figures(alone), leader["figures"], strict=True):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=2e-3)
        assert mine["validation_map"] == pytest.approx(theirs["validation_map"], abs=0.1)


RECIPE: dict[str, Any] = {
    "alignment_weight": 0.0,
    "contrastive_weight": 0.7,
    "cross_modal_weight": 2.0,
    "relation_weight": 5.0,
    "relation_pictures": "both",
    "embedding_weight": 0.5,
    "teacher_scope": "all",
    "teacher_starts": 0.25,
    "teacher_schedule": "restart",
    "ema_decay": 0.8,
    "accumulate": 2,
    "balanced": 2,
    "sketches_per_batch": 8,
    "clip_norm": 5.0,
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "sketch_knowledge_weight": 1.0,
}


@pytest.mark.slow
def test_losses_that_compare_pictures_do_so_over_the_pictures_of_both(ran: Path) -> None:
    """Contrast and relations over the whole batch, with its gradients: the model is that of one process."""
    leader, other = told(ran, "recipe")
    assert leader["weights"] == other["weights"] == leader["bundle"]
    assert leader["figures"] == other["figures"]
    alone = train_model(replace(toy_request(ran, SINGLE, "recipe alone", **RECIPE), checkpoint=None), SilentProgress())
    for mine, theirs in zip(figures(alone), leader["figures"], strict=True):
        assert mine["losses"].keys() == theirs["losses"].keys()
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=5e-3, abs=1e-6)
    assert {"contrast", "relation", "teacher_relation"} <= figures(alone)[-1]["losses"].keys()
    start = load_file(ran / f"{SINGLE}.safetensors")
    together, apart = (report.backbone.net.state_dict() for report in (load_bundle(ran / "recipe"), alone.bundle))
    # Positions are resampled to the input's size, the classifier is gone.
    names = [name for name in together if name != "pos_embed" and together[name].is_floating_point()]
    moved, differ = (
        torch.cat([(together[name] - other[name]).flatten() for name in names]).norm() for other in (start, apart)
    )
    assert differ < 0.02 * moved


@pytest.mark.slow
def test_both_go_on_from_the_checkpoint_of_the_first(ran: Path) -> None:
    toys = ran
    assert torchrun(toys, "killed").returncode != 0
    assert not (toys / "killed").exists()
    again = torchrun(toys, "killed-again")
    assert again.returncode == 0, again.stderr
    leader, other = told(toys, "killed-again")
    # An epoch makes three checkpoints, two after its steps and one at its end; the eighth was not written any more.
    assert leader["resumed_at"] == other["resumed_at"] == [2, 1]
    assert leader["weights"] == other["weights"] == told(toys, "undisturbed")[0]["weights"]


@pytest.mark.slow
def test_the_mean_is_taken_of_what_floats(ran: Path) -> None:
    found = told(ran, "means")
    assert [entry.pop("counts") for entry in found] == [0, 1]
    rows = [[1.0, 2.0], [3.0, 4.0], [11.0, 12.0], [13.0, 14.0]]
    # Each process has its own rows: weights that made them would see both halves of the gradient, 2 * 60 each.
    expected = {"means": {"a": 0.5, "b": 3.0}, "tensors": [[0.5, 10.0], [1.5]], "word": "0"}
    assert found == [expected | {"gathered": [rows, [[240.0, 240.0], [240.0, 240.0]]]}] * 2


@pytest.mark.slow
def test_what_ends_one_ends_both(ran: Path) -> None:
    assert all("not finite any more" in entry["problem"] for entry in told(ran, "nan"))
    assert not (ran / "nan").exists()


@pytest.mark.slow
def test_a_group_of_its_own_ends_in_good_order_also_after_an_error(ran: Path) -> None:
    ended = torchrun(ran, "different")
    assert ended.returncode == 0, ended.stderr
    assert all("different settings" in entry["problem"] for entry in told(ran, "different"))
    assert not (ran / "different").exists()


def test_alone_nothing_is_shared() -> None:
    team = Team(CPU)
    gradient = torch.ones(3)
    team.average([gradient])
    assert gradient.tolist() == [1, 1, 1]
    assert team.mean({"a": 2.0}) == {"a": 2.0}
    assert team.gather(gradient) is gradient
    assert team.of_all(gradient) is gradient
    assert (team.whole(7), team.share, team.leads, team.of_leader("x")) == (7, slice(0, None, 1), True, "x")
    before = torch.get_rng_state()
    team.seed_step(0, 1, 2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_shares_make_up_the_batch() -> None:
    teams = [Team(CPU, rank, 3) for rank in range(3)]
    batch = list(range(teams[0].whole(70)))
    shares = [batch[team.share] for team in teams]
    assert {len(share) for share in shares} == {24}
    assert sorted(item for share in shares for item in share) == batch


def test_each_process_has_its_own_noise_in_each_step() -> None:
    def noise(rank: int, epoch: int, step: int) -> list[float]:
        Team(CPU, rank, 2).seed_step(0, epoch, step)
        found: list[float] = torch.rand(3).tolist()
        return found

    assert noise(0, 1, 2) == noise(0, 1, 2)
    assert len({tuple(noise(*where)) for where in ((0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3))}) == 4


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "many"), ("RANK", "-1")])
def test_an_environment_that_is_not_torchrun_s_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name), joined(CPU):
        pass


def test_the_first_process_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leads()
    monkeypatch.setenv("RANK", "1")
    assert leads(), "one process leads itself"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not leads()


def figures(report: TrainReport) -> list[dict[str, Any]]:
    return [
        {"losses": record.losses, "validation_map": record.validation_map, "best": report.history.best_epoch}
        for record in report.history.epochs
    ]


class Showing(SilentProgress):
    shown = False

    def stage(self, name: str, total: int | None = None, unit: str = "") -> Any:
        self.shown = True
        return super().stage(name, total, unit)


def request_of(root: Path, scenario: str) -> TrainRequest:
    leader = os.environ["RANK"] == "0"
    if scenario == "plain":
        return toy_request(root, SINGLE, "plain", alignment_weight=0.0)
    if scenario == "recipe":
        return toy_request(root, SINGLE, "recipe", **RECIPE)
    if scenario == "different":
        return toy_request(root, SINGLE, "different", seed=0 if leader else 1)
    if scenario == "nan" and not leader:
        calls = 0

        def spoil(module: torch.nn.Module, _: Any, output: Any) -> Any:
            nonlocal calls
            calls += isinstance(module, KnowledgeHead)
            return output * float("nan") if isinstance(module, KnowledgeHead) and calls == 8 else None

        torch.nn.modules.module.register_module_forward_hook(spoil)
    request = toy_request(root, BATCH, scenario.removesuffix("-again"))
    if scenario == "killed":
        writes = 0

        def count() -> None:
            nonlocal writes
            writes += 1
            if writes == 8:
                os.kill(os.getpid(), signal.SIGKILL)

        return replace(request, on_checkpoint=count)
    return request


def gathered(team: Team) -> list[Any]:
    """The square of the sum of all rows has the gradient of twice the sum everywhere."""
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).add(10 * team.rank).requires_grad_()
    everything = team.gather(rows)
    team.of_all(everything.sum() ** 2).backward()
    assert rows.grad is not None
    gradient = rows.grad.clone()
    team.average([gradient])  # as gradients of one weight would be
    return [everything.detach().tolist(), gradient.tolist()]


def share_figures() -> dict[str, Any]:
    with joined(CPU) as team:
        tensors = [torch.tensor([team.rank, 10.0]), torch.tensor([[1.0 + team.rank]])]
        count = torch.tensor(team.rank)
        team.average([*tensors, count])
        return {
            "means": team.mean({"a": float(team.rank), "b": 3.0}),
            "tensors": [tensor.reshape(-1).tolist() for tensor in tensors],
            "counts": count.item(),
            "word": team.of_leader(str(team.rank)),
            "gathered": gathered(team),
        }


def play(root: Path, scenario: str) -> dict[str, Any]:
    progress = Showing()
    try:
        report = train_model(request_of(root, scenario), progress)
    except SbkaError as error:
        return {"problem": error.problem}
    backbone = report.bundle.backbone
    return {
        "bundle": report.bundle.fingerprint,
        "weights": fingerprint(backbone, backbone.net.state_dict()),
        "figures": figures(report),
        "resumed_at": report.resumed_at,
        "shown": progress.shown,
    }


def main(root: Path, scenarios: list[str]) -> None:
    torch.set_num_threads(1)
    if len(scenarios) > 1:
        torch.distributed.init_process_group("gloo")  # of the caller, for one training after the other
    for scenario in scenarios:
        result = share_figures() if scenario == "means" else play(root, scenario)
        (root / f"{scenario}-{os.environ['RANK']}.json").write_text(json.dumps(result))
    if len(scenarios) > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()  # its threads, left running at the end, can abort the process


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
