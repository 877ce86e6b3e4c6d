"""The silent progress takes whatever a pipeline reports."""

from __future__ import annotations

from sbka_milvus.progress import Progress, SilentProgress


def test_it_shows_nothing(capfd):
    progress: Progress = SilentProgress()
    with progress.stage("Embedding photos", 3, "photos") as advance:
        advance()
        advance(2, "loss 1.23")
    with progress.stage("Finding photos") as advance:
        advance(1)
    progress.say("done")

    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
