import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import first_copies

PHOTOS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["", "1", "2", "3"])), max_size=12
)


def test_the_doubles_of_sketchy_count_once():
    categories = ["cow", "cow", "cow", "ant"]
    uris = [
        "/s/EXTEND_image_sketchy_ready/cow/n1_1.jpg",
        "/s/256x256/photo/tx_000000000000_ready/cow/n1_1.jpg",
        "/s/EXTEND_image_sketchy_ready/cow/n1_2.jpg",
        "/s/EXTEND_image_sketchy_ready/ant/n1_1.jpg",
    ]
    assert first_copies(categories, uris).tolist() == [False, True, True, True]


def test_equal_contents_count_once_in_a_category_and_stay_in_another():
    kept = first_copies(["cow", "cow", "ant"], ["b.jpg", "a.jpg", "c.jpg"], ["f0", "f0", "f0"])
    assert kept.tolist() == [False, True, True]


def test_doubles_of_doubles_are_doubles():
    # d has the name of c, c the content of b, b the name of a.
    uris = ["1/a.jpg", "2/a.jpg", "3/b.jpg", "4/b.jpg"]
    assert first_copies(["x"] * 4, uris, ["h1", "h2", "h2", "h3"]).tolist() == [True, False, False, False]
    # The chain closes only with the last photo, whose content and name join two groups.
    assert first_copies(["x"] * 3, ["1/a.jpg", "2/b.jpg", "3/b.jpg"], ["h1", "h2", "h1"]).tolist() == [
        True,
        False,
        False,
    ]


def test_unknown_contents_are_not_taken_as_equal():
    assert first_copies(["x", "x"], ["a.jpg", "b.jpg"], ["", ""]).all()


def test_an_empty_gallery_has_no_doubles():
    assert first_copies([], []).shape == (0,)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(PHOTOS, st.randoms(use_true_random=False))
def test_one_of_each_group_stays_whatever_the_order(photos, random):
    uris = [f"{number:02d}/{name}.jpg" for number, (_, name, _) in enumerate(photos)]
    kept = first_copies([c for c, _, _ in photos], uris, [h for _, _, h in photos])
    names = {(category, name) for category, name, _ in photos}
    assert kept.sum() <= len(names)
    assert {category for category, _, _ in photos} == {photos[row][0] for row in np.flatnonzero(kept)}
    order = list(range(len(photos)))
    random.shuffle(order)
    again = first_copies(
        [photos[row][0] for row in order], [uris[row] for row in order], [photos[row][2] for row in order]
    )
    assert again.tolist() == kept[order].tolist()


def test_numbers_that_differ_are_refused():
    with pytest.raises(InvalidValue, match="2 categories for 1 photos"):
        first_copies(["a", "b"], ["1.jpg"])
    with pytest.raises(InvalidValue, match="Give one for each"):
        first_copies(["a"], ["1.jpg"], [])
