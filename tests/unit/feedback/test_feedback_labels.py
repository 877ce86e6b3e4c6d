"""Only accepted sketches of categories that may be learned become training data, and what is left out is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sbka_milvus.feedback import FeedbackLog, labelled_sketches, stored_queries

Draw = Callable[..., Path]
SEEN = ("hot-air balloon", "cat", "dog")


def test_the_category_is_the_one_given_else_the_folder_of_the_photos(log: FeedbackLog, draw: Draw) -> None:
    given = log.add(draw(1), "/p/pile/1.jpg", "accepted", "Cat")
    by_folder = log.add(draw(2), "/p/Hot-Air_Balloon/1.jpg", "accepted")
    found, notes = labelled_sketches(log, SEEN)
    assert {(image.path, image.category) for image in found} == {
        (log.sketch_file(given), "cat"),
        (log.sketch_file(by_folder), "hot-air balloon"),
    }
    assert [image.path for image in found] == sorted(image.path for image in found)
    assert notes == ()


def test_the_category_given_last_counts(log: FeedbackLog, draw: Draw) -> None:
    log.add(draw(1), "/p/cat/1.jpg", "accepted", "cat")
    log.add(draw(1), "/p/cat/2.jpg", "accepted", "dog")
    log.add(draw(1), "/p/cat/3.jpg", "accepted")
    (image,), _ = labelled_sketches(log, SEEN)
    assert image.category == "dog"


def test_unseen_categories_never_come_in_and_are_counted(log: FeedbackLog, draw: Draw) -> None:
    log.add(draw(1), "/p/teapot/1.jpg", "accepted")
    log.add(draw(2), "/p/pile/1.jpg", "accepted", "Tea pot")
    log.add(draw(3), "/p/teapot/1.jpg", "accepted", "cat")  # said to be a cat, and yet found right for a teapot
    log.add(draw(4), "/p/cat/1.jpg", "accepted")
    log.add(draw(4), "/p/cat/2.jpg", "rejected", "teapot")
    fine = log.add(draw(5), "/p/cat/1.jpg", "accepted")
    log.add(draw(5), "/p/teapot/1.jpg", "rejected")
    found, notes = labelled_sketches(log, (*SEEN, "teapot"), unseen=("tea_pot",))
    assert [image.path for image in found] == [log.sketch_file(fine)]
    assert notes == ("Feedback sketches left out (category kept unseen by the split): 4.",)


def test_what_else_is_left_out_is_counted(log: FeedbackLog, draw: Draw) -> None:
    log.add(draw(1), "/p/pile/1.jpg", "accepted")
    log.add(draw(2), "/p/cat/1.jpg", "accepted")
    log.add(draw(2), "/p/dog/1.jpg", "accepted")
    lost = log.add(draw(3), "/p/dog/1.jpg", "accepted")
    log.sketch_file(lost).unlink()
    log.add(draw(4), "/p/dog/1.jpg", "rejected")
    log.add(draw(5), "/p/dog/1.jpg", "accepted")
    log.add(draw(5), "/p/dog/1.jpg", "rejected")
    found, notes = labelled_sketches(log, SEEN)
    assert found == []
    assert notes == (
        "Feedback sketches left out (accepted for photos of several folders): 1.",
        "Feedback sketches left out (category not trained on): 1.",
        "Feedback sketches left out (file gone): 1.",
    )


def test_queries_are_the_distinct_sketches_newest_first(log: FeedbackLog, draw: Draw) -> None:
    one, two, three = (log.add(draw(number), "/p/cat/1.jpg", "rejected") for number in (1, 2, 3))
    log.add(draw(1), "/p/cat/2.jpg", "accepted")
    log.sketch_file(two).unlink()
    assert stored_queries(log) == [log.sketch_file(one), log.sketch_file(three)]
