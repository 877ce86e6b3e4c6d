"""When a gallery is retrained, and what is kept of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.errors import DatasetError, GalleryError, JobError, SettingsError
from sbka_milvus.feedback import FeedbackLog, FeedbackPair
from sbka_milvus.images import Split
from sbka_milvus.pipelines.drift import MIN_NEW_PHOTOS, DriftReport
from sbka_milvus.pipelines.retraining import (
    RetrainingPolicy,
    RetrainingRecord,
    begin_retraining,
    data_fingerprint,
    finish_retraining,
    look,
    outlook_of,
    read_retrainings,
    register,
    registered,
    retraining_due,
    settle_retrainings,
    unregister,
)
from sbka_milvus.pipelines.retraining.data import check_data
from sbka_milvus.pipelines.seen import seen_categories

NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STROKES = [[(0, 0), (30, 40)], [(5, 5), (9, 1)]]
CALM = DriftReport(0.0, 0.1, 0.1, 0, False, "2024-05-01T00:00:00+00:00")
Draw = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path, draw: Draw) -> Path:
    """Photos and sketches of two seen categories and an unseen one, and the split."""
    for number, category in enumerate(("cat", "dog", "teapot")):
        for kind in ("photos", "sketches"):
            draw(tmp_path / "data" / kind / category / "1.png", number)
    split = tmp_path / "data" / "split.json"
    split.write_text(json.dumps({"name": "small", "unseen": ["tea-pot"]}))
    return tmp_path / "data"


def policy_of(data: Path = Path("/data"), **values: Any) -> RetrainingPolicy:
    defaults = {"photos": data / "photos", "sketches": data / "sketches", "backbone": "timm:x", "since": NOW - 2 * HOUR}
    return RetrainingPolicy.make(**(defaults | values))


def record_of(policy: RetrainingPolicy, ago: timedelta, **values: Any) -> RetrainingRecord:
    started = NOW - ago
    defaults = {
        "job": "retrain-1", "reason": "why", "status": "done", "started": started, "finished": started + HOUR,
        "data": "data-1", "settings": policy.settings(), "old_fingerprint": "m1",
    }  # fmt: skip
    return RetrainingRecord(**(defaults | values))


def pairs_of(*ages: timedelta) -> list[FeedbackPair]:
    return [FeedbackPair(NOW - age, f"{number:032x}", "/p/1.jpg", "accepted") for number, age in enumerate(ages)]


def trigger(*arguments: Any) -> str | None:
    reason = retraining_due(*arguments)
    return None if reason is None else reason.trigger


class TestDue:
    def test_a_policy_without_triggers_starts_nothing(self) -> None:
        assert trigger(policy_of(), [], pairs_of(HOUR), CALM, NOW) is None

    def test_a_gallery_never_retrained_counts_all_its_verdicts(self) -> None:
        policy = policy_of(after_pairs=2)
        assert trigger(policy, [], pairs_of(1000 * HOUR), CALM, NOW) is None
        assert trigger(policy, [], pairs_of(1000 * HOUR, HOUR), CALM, NOW) == "feedback"

    @pytest.mark.parametrize("status", ["done", "refused", "failed", "cancelled"])
    def test_only_verdicts_since_the_last_retraining_count_however_it_ended(self, status: str) -> None:
        policy = policy_of(after_pairs=2)
        records = [record_of(policy, 50 * HOUR), record_of(policy, 5 * HOUR, status=status)]
        used = pairs_of(6 * HOUR, 7 * HOUR, 60 * HOUR)
        for order in (records, records[::-1]):
            assert trigger(policy, order, used, CALM, NOW) is None
            assert trigger(policy, order, [*used, *pairs_of(2 * HOUR)], CALM, NOW) is None
            assert trigger(policy, order, [*used, *pairs_of(2 * HOUR, 3 * HOUR)], CALM, NOW) == "feedback"

    def test_one_that_runs_blocks_all(self) -> None:
        policy = policy_of(after_pairs=1, every_hours=1, drift_above=0.1)
        running = record_of(policy, 30 * HOUR, job="retrain-9", status="running", finished=None)
        outlook = look(policy, [running, record_of(policy, 20 * HOUR)], pairs_of(HOUR), drifted(0.9), NOW)
        assert outlook.reason is None
        assert "retrain-9" in outlook.blocked
        assert [one.trigger for one in outlook.triggers] == ["feedback", "drift", "schedule"]

    def test_a_switched_off_policy_starts_nothing(self) -> None:
        assert trigger(policy_of(after_pairs=1), [], pairs_of(HOUR), CALM, NOW) == "feedback"
        assert trigger(policy_of(after_pairs=1, enabled=False), [], pairs_of(HOUR), CALM, NOW) is None

    def test_there_is_rest_after_each(self) -> None:
        policy = policy_of(after_pairs=1, rest_hours=3)
        new = pairs_of(0.5 * HOUR)
        assert trigger(policy, [record_of(policy, 3.9 * HOUR)], new, CALM, NOW) is None, "ended 2.9 hours ago"
        assert trigger(policy, [record_of(policy, 4 * HOUR)], new, CALM, NOW) == "feedback"

    def test_the_schedule_counts_from_the_policy_and_then_from_the_last(self) -> None:
        assert trigger(policy_of(every_hours=3), [], [], CALM, NOW) is None
        assert trigger(policy_of(every_hours=2), [], [], CALM, NOW) == "schedule"
        policy = policy_of(every_hours=24, since=NOW - 1000 * HOUR)
        assert trigger(policy, [record_of(policy, 23 * HOUR)], [], CALM, NOW, lambda: "data-2") is None
        assert trigger(policy, [record_of(policy, 24 * HOUR)], [], CALM, NOW, lambda: "data-2") == "schedule"

    @pytest.mark.parametrize(("status", "again"), [("done", None), ("refused", None), ("failed", "schedule")])
    def test_the_schedule_does_not_repeat_what_came_to_an_end(self, status: str, again: str | None) -> None:
        policy = policy_of(every_hours=24)
        records = [record_of(policy, 30 * HOUR, status=status)]
        assert trigger(policy, records, [], CALM, NOW, lambda: "data-1") == again
        assert trigger(policy, records, [], CALM, NOW, lambda: "data-2") == "schedule"
        other = policy_of(every_hours=24, options={"epochs": 3})
        assert trigger(other, records, [], CALM, NOW, lambda: "data-1") == "schedule"

    def test_the_data_are_looked_at_only_when_it_is_time(self) -> None:
        policy = policy_of(every_hours=24)

        def fail() -> str:
            raise AssertionError("every look reads the folders")

        assert trigger(policy, [record_of(policy, 23 * HOUR)], [], CALM, NOW, fail) is None

    def test_drift_starts_one_above_its_threshold(self) -> None:
        policy = policy_of(drift_above=0.25)
        assert trigger(policy, [], [], drifted(0.25), NOW) is None
        assert trigger(policy, [], [], drifted(0.26), NOW) == "drift"
        assert trigger(policy, [], [], replace(drifted(0.9), enough=False), NOW) is None
        assert trigger(policy, [], [], DriftReport(), NOW) is None

    @pytest.mark.parametrize("status", ["refused", "failed", "cancelled", "done"])
    def test_drift_that_led_to_one_needs_more_photos_or_a_new_reference(self, status: str) -> None:
        policy = policy_of(drift_above=0.25)
        records = [record_of(policy, 30 * HOUR, status=status, drift=drifted(0.5, 200).to_dict())]
        assert trigger(policy, records, [], drifted(0.5, 200), NOW) is None
        assert trigger(policy, records, [], drifted(0.9, 199 + MIN_NEW_PHOTOS), NOW) is None
        assert trigger(policy, records, [], drifted(0.5, 200 + MIN_NEW_PHOTOS), NOW) == "drift"
        later = replace(drifted(0.5, 60), reference="2024-05-09T00:00:00+00:00")
        assert trigger(policy, records, [], later, NOW) == "drift"

    def test_a_reason_says_its_figures(self) -> None:
        reason = retraining_due(policy_of(after_pairs=1), [], pairs_of(HOUR), CALM, NOW)
        assert str(reason) == "feedback: 1 new verdicts, 1 start one"


def drifted(drift: float, n_new: int = 100) -> DriftReport:
    return replace(CALM, drift=drift, n_new=n_new, enough=True)


class TestPolicy:
    def test_it_comes_back_as_it_was_saved(self, gallery: Gallery, data: Path) -> None:
        policy = policy_of(data, every_hours=24, options={"epochs": 3}, gate={"held_out": data, "max_loss": 0.1})
        policy.save(gallery.root)
        assert RetrainingPolicy.load(gallery.root) == policy
        assert policy.triggers == ("schedule",)

    def test_paths_are_made_absolute(self) -> None:
        policy = policy_of(photos="p", sketches="s", teacher="t", semantics="w.npz", gate={"held_out": "h"})
        assert [policy.photos, policy.gate.held_out] == [Path.cwd() / "p", Path.cwd() / "h"]
        assert [policy.teacher, policy.semantics] == [Path.cwd() / "t", Path.cwd() / "w.npz"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"every_hours": 0}, {"after_pairs": 0}, {"drift_above": float("nan")}, {"gate": {"max_loss": 2}},
            {"options": {"epoch": 3}}, {"rest_hours": -1}, {"more": 1}, {"since": datetime(2026, 1, 1)},
            {"precision": "fp8"}, {"teacher_size": 8, "teacher_backbone": "timm:b"},
        ],
    )  # fmt: skip
    def test_a_value_that_cannot_be_used_is_named(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(SettingsError, match=f"The policy cannot be used: {next(iter(wrong))}"):
            policy_of(**wrong)

    @pytest.mark.parametrize("told", [{"teacher_weights": "w"}, {"teacher_size": 64}, {"teacher_options": {"a": 1}}])
    def test_what_is_said_of_a_teacher_needs_its_backbone(self, told: dict[str, Any]) -> None:
        with pytest.raises(SettingsError, match="are of a teacher_backbone: name it"):
            policy_of(**told)
        assert policy_of(teacher_backbone="timm:b", **told).teacher_backbone == "timm:b"

    def test_settings_written_before_there_were_all_of_them_are_the_same(self) -> None:
        policy = policy_of(options={"epochs": 3})
        earlier = policy.settings()
        del earlier["semantics"], earlier["teacher_options"], earlier["options"]["ema_decay"]
        assert policy.has_settings(earlier)
        assert not policy_of(options={"epochs": 3, "ema_decay": 0.9}).has_settings(earlier)
        assert not policy_of(options={"epochs": 3}, semantics="/words.npz").has_settings(earlier)
        assert not policy.has_settings(earlier | {"gone": 1}), "it was made with something that there is no more"

    def test_what_starts_one_is_none_of_its_settings(self) -> None:
        same = policy_of(every_hours=3, since=NOW), policy_of(after_pairs=9, enabled=False)
        assert same[0].settings() == same[1].settings()
        assert policy_of(options={"seed": 1}).settings() != policy_of().settings()

    def test_none_or_a_damaged_one_is_named(self, gallery: Gallery) -> None:
        with pytest.raises(GalleryError, match=r"no retraining policy.*sbka retrain set"):
            RetrainingPolicy.load(gallery.root)
        (gallery.root / "retraining.json").write_text('{"photos": 3')
        with pytest.raises(GalleryError, match=r"retraining.json is damaged"):
            RetrainingPolicy.load(gallery.root)


class TestData:
    def test_unseen_categories_are_left_out(self, data: Path) -> None:
        assert seen_categories(data / "photos", None) == ["cat", "dog", "teapot"]
        assert seen_categories(data / "photos", Split.load(data / "split.json")) == ["cat", "dog"]
        assert seen_categories(data / "photos", Split("s", ("dog",), ("cat",))) == ["dog"]

    def test_the_fingerprint_names_files_split_and_accepted_verdicts(self, data: Path, draw: Draw) -> None:
        policy = policy_of(data, split=data / "split.json")
        first = data_fingerprint(policy, pairs_of(HOUR))
        assert data_fingerprint(policy, pairs_of(HOUR)) == first

        draw(data / "photos" / "teapot" / "2.png", 8)
        rejected = replace(pairs_of(HOUR)[0], sketch="f" * 32, verdict="rejected")
        assert data_fingerprint(policy, [*pairs_of(HOUR), rejected]) == first, "neither is trained on"

        found = {first, data_fingerprint(policy, []), data_fingerprint(policy_of(data), pairs_of(HOUR))}
        os.utime(data / "sketches" / "dog" / "1.png", ns=(5, 5))
        found.add(data_fingerprint(policy, pairs_of(HOUR)))
        draw(data / "photos" / "cat" / "2.png", 9)
        found.add(data_fingerprint(policy, pairs_of(HOUR)))
        assert len(found) == 5

    def test_the_fingerprint_names_the_files_beside_the_pictures_and_the_teacher(self, data: Path) -> None:
        words, older = data / "words.npz", data / "older"
        words.write_bytes(b"1")
        older.mkdir()
        manifest = Manifest(
            name="older", backbone="timm:x", preprocessing={}, dim=4, fingerprint="f1", weights_digest="d"
        )
        (older / "manifest.json").write_text(manifest.model_dump_json())
        found = [data_fingerprint(policy_of(data), []), data_fingerprint(policy_of(data, semantics=words), [])]
        words.write_bytes(b"22")
        found.append(data_fingerprint(policy_of(data, semantics=words), []))
        found.append(data_fingerprint(policy_of(data, teacher=older), []))
        (older / "manifest.json").write_text(manifest.model_copy(update={"fingerprint": "f2"}).model_dump_json())
        found.append(data_fingerprint(policy_of(data, teacher=older), []))
        assert len(set(found)) == 5

    def test_drawings_are_data_and_so_are_photos_alone(self, data: Path) -> None:
        drawn = data / "drawn"
        drawn.mkdir()
        line = '{"word": "x", "drawing": [[[0, 9], [0, 9]]]}\n'
        for name in ("cat", "dog", "teapot"):
            (drawn / f"{name}.ndjson").write_text(line)
        first = data_fingerprint(policy_of(data, sketches=drawn), [])
        (drawn / "cat.ndjson").write_text(2 * line)
        second = data_fingerprint(policy_of(data, sketches=drawn), [])
        alone = data_fingerprint(policy_of(data, sketches=None), [])
        assert len({first, second, alone}) == 3

    def test_a_policy_that_could_not_begin_is_refused(self, data: Path) -> None:
        check_data(policy_of(data))
        for wrong in (
            {"photos": data / "none"}, {"weights": data / "none"}, {"gate": {"held_out": data / "none"}},
            {"split": data / "none.json"}, {"semantics": data / "none"}, {"knowledge_names": data / "none"},
        ):  # fmt: skip
            with pytest.raises(DatasetError, match="none"):
                check_data(policy_of(data, **wrong))

    def test_a_gate_measures_on_nothing_that_is_trained_on(self, data: Path, draw: Draw) -> None:
        for held_out in (data / "sketches", data / "linked"):
            (data / "linked").mkdir(exist_ok=True)
            if not (data / "linked" / "cat").exists():
                (data / "linked" / "cat").symlink_to(data / "sketches" / "cat")
            with pytest.raises(DatasetError, match=r"held-out sketches in .* are trained on, such as .*cat/1\.png"):
                check_data(policy_of(data, gate={"held_out": held_out}))
        # Sketches of a category that the split keeps unseen are not trained on, nor are any where all are made.
        (data / "linked" / "cat").unlink()
        (data / "linked" / "teapot").symlink_to(data / "sketches" / "teapot")
        check_data(policy_of(data, split=data / "split.json", gate={"held_out": data / "linked"}))
        check_data(policy_of(data, sketches=None, gate={"held_out": data / "sketches"}))
        draw(data / "others" / "cat" / "1.png", 9)
        check_data(policy_of(data, gate={"held_out": data / "others"}))


class TestRecords:
    def test_one_is_begun_once_and_finished_once(self, gallery: Gallery, data: Path) -> None:
        policy = policy_of(data)
        FeedbackLog(gallery.root).add(STROKES, "/p/1.jpg", "accepted")
        begun = begin_retraining(gallery, policy, "retrain-1", "by hand", NOW)
        assert (begun.status, begun.pairs, begun.old_fingerprint) == ("running", 1, gallery.fingerprint)
        assert begun.data == data_fingerprint(policy, FeedbackLog(gallery.root).read())
        assert begin_retraining(gallery, policy, "retrain-1", "again", NOW + HOUR) == begun

        results = {"metrics": {"mAP@all": 0.5}, "gate": {"passed": True}, "new_fingerprint": "m2"}
        ended = finish_retraining(gallery, "retrain-1", "done", NOW + HOUR, **results)
        assert finish_retraining(gallery, "retrain-1", "failed", NOW + 2 * HOUR) == ended
        assert read_retrainings(gallery) == [ended]
        assert (ended.finished, ended.metrics, ended.new_fingerprint) == (NOW + HOUR, {"mAP@all": 0.5}, "m2")
        assert [path.name for path in (gallery.root / "retrainings").glob("*.json")] == [
            "20240510T120000Z-retrain-1.json"
        ]

    def test_a_second_one_cannot_begin_while_one_runs(self, gallery: Gallery, data: Path) -> None:
        begin_retraining(gallery, policy_of(data), "retrain-1", "by hand", NOW)
        with pytest.raises(JobError, match="retrain-1"):
            begin_retraining(gallery, policy_of(data), "retrain-2", "by hand", NOW)
        finish_retraining(gallery, "retrain-1", "failed", NOW)
        begin_retraining(gallery, policy_of(data), "retrain-2", "by hand", NOW + HOUR)
        assert [record.job for record in read_retrainings(gallery)] == ["retrain-1", "retrain-2"]

    def test_an_unknown_job_cannot_be_finished(self, gallery: Gallery) -> None:
        with pytest.raises(GalleryError, match=r"no retraining by the job retrain-7"):
            finish_retraining(gallery, "retrain-7", "done", NOW)

    def test_records_whose_job_is_over_are_settled(self, gallery: Gallery, data: Path) -> None:
        begin_retraining(gallery, policy_of(data), "retrain-1", "by hand", NOW)
        assert settle_retrainings(gallery, lambda _: None, NOW) == []
        (settled,) = settle_retrainings(gallery, lambda job: ("failed", f"{job} is gone."), NOW + HOUR)
        assert (settled.status, settled.message, settled.finished) == ("failed", "retrain-1 is gone.", NOW + HOUR)
        assert settle_retrainings(gallery, lambda _: ("failed", ""), NOW) == []

    def test_a_damaged_record_is_named(self, gallery: Gallery) -> None:
        (gallery.root / "retrainings").mkdir()
        (gallery.root / "retrainings" / "x.json").write_text("{")
        with pytest.raises(GalleryError, match=r"x.json is damaged"):
            read_retrainings(gallery)

    def test_the_outlook_of_a_gallery_reads_all_this(self, gallery: Gallery, data: Path) -> None:
        policy = policy_of(data, after_pairs=1, every_hours=1, drift_above=0.5)
        policy.save(gallery.root)
        before = outlook_of(gallery, NOW)
        assert before.reason is not None
        assert before.reason.trigger == "schedule"
        begin_retraining(gallery, policy, "retrain-1", "by hand", NOW)
        assert "retrain-1" in outlook_of(gallery, NOW + HOUR).blocked
        finish_retraining(gallery, "retrain-1", "refused", NOW + HOUR)
        assert outlook_of(gallery, NOW + 30 * HOUR).reason is None, "the data are the same"
        FeedbackLog(gallery.root).add(STROKES, "/p/1.jpg", "accepted")
        after = outlook_of(gallery, NOW + 30 * HOUR).reason
        assert after is not None
        assert after.trigger == "feedback"


class TestRegistry:
    def test_galleries_are_found_until_they_are_taken_out(self, tmp_path: Path) -> None:
        one, two = (Gallery.create_or_open(tmp_path / part / "gallery", "m1", "same") for part in ("a", "b"))
        workspace = tmp_path / "workspace"
        assert registered(workspace) == []
        for gallery in (one, two, one):
            register(workspace, gallery)
        assert sorted(registered(workspace)) == [one.root, two.root]
        for _ in range(2):
            unregister(workspace, one)
        assert registered(workspace) == [two.root]

    def test_a_damaged_entry_does_not_hide_the_others(self, gallery: Gallery, tmp_path: Path, caplog: Any) -> None:
        register(tmp_path, gallery)
        (tmp_path / "retraining" / "a.json").write_text("{")
        assert registered(tmp_path) == [gallery.root]
        assert "a.json is damaged" in caplog.text
