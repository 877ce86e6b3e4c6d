import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import PROTOCOLS, EvaluationPlan
from sbka_milvus.evaluation.plan import metric_names, recall_names


def test_the_default_is_the_plain_protocol_with_intervals():
    plan = EvaluationPlan()
    assert plan.rules is PROTOCOLS["plain"]
    assert metric_names(plan.ks, plan.map_ks) == ["mAP@all", "mAP@200", "mAP@200 lenient", "P@10", "P@25", "P@100"]
    assert plan.resampling is not None
    assert (plan.resampling.level, plan.resampling.over) == (0.95, "queries")
    assert (plan.deduplicate, plan.seen_share) == (False, None)


def test_strict_and_lenient_have_names_of_their_own():
    names = metric_names((), (50, 200))
    assert names == ["mAP@all", "mAP@50", "mAP@50 lenient", "mAP@200", "mAP@200 lenient"]
    assert recall_names() == ["R@1", "R@10", "R@1 in category", "R@10 in category"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"protocol": "voc"}, "'voc' is not known"),
        ({"ks": (0,)}, r"cut-offs of P@K are \[0\]"),
        ({"ks": (5, 5)}, "none twice"),
        ({"map_ks": (-1,)}, "cut-offs of mAP@K"),
        ({"seen_share": 0.0}, "share of seen photos is 0.0"),
        ({"seen_share": 1.5}, "share of seen photos is 1.5"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(arguments, problem):
    with pytest.raises(InvalidValue, match=problem):
        EvaluationPlan(**arguments)
