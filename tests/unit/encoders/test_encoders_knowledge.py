"""The knowledge head against plain formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sbka_milvus.encoders.knowledge import KnowledgeHead


def test_a_plain_head_is_linear() -> None:
    weight = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]])
    head = KnowledgeHead(weight, torch.tensor([0.5, 0.0, -1.0]))
    assert head.n_classes == 3
    assert head(torch.tensor([[2.0, 1.0]])).tolist() == [[4.5, -1.0, 5.5]]


def test_a_scaled_head_gives_cosines_times_the_scale() -> None:
    head = KnowledgeHead(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), scale=10.0)
    logits = head(torch.tensor([[5.0, 0.0], [0.3, 0.4]]))
    assert logits.tolist() == [pytest.approx([6.0, 0.0], abs=1e-5), pytest.approx([10.0, 8.0], abs=1e-5)]


def test_its_logits_are_float32_whatever_the_feature_is() -> None:
    for scale in (0.0, 2.0):
        assert (
            KnowledgeHead(torch.ones(2, 3), scale=scale)(torch.ones(1, 3, dtype=torch.float16)).dtype == torch.float32
        )


def test_a_classifier_becomes_a_head_of_its_own() -> None:
    layer = nn.Linear(4, 3)
    head = KnowledgeHead.from_classifier(layer)
    feature = torch.randn(5, 4)
    expected = layer(feature).detach()
    with torch.no_grad():
        layer.weight.zero_()
    assert torch.allclose(head(feature), expected)
    assert head.weight.requires_grad
    assert head.bias.requires_grad


def test_a_classifier_without_bias_has_bias_zero() -> None:
    head = KnowledgeHead.from_classifier(nn.Linear(4, 3, bias=False))
    assert head.bias.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("classes", "first"), [(1000, 0), (1001, 1)])
def test_the_background_class_of_tensorflow_is_left_out(classes: int, first: int) -> None:
    layer = nn.Linear(2, classes)
    head = KnowledgeHead.from_classifier(layer)
    assert head.n_classes == 1000
    assert torch.equal(head.weight, layer.weight[first:])
    assert torch.equal(head.bias, layer.bias[first:])


def test_heads_know_the_same_where_number_and_names_agree() -> None:
    def head(classes: int, *names: str) -> KnowledgeHead:
        return KnowledgeHead(torch.ones(classes, 2), names=names)

    assert head(2, "a", "b").knows_the_same(head(2, "a", "b"))
    assert head(2, "a", "b").knows_the_same(head(2)), "a classifier does not tell its names"
    assert not head(2, "a", "b").knows_the_same(head(2, "b", "a"))
    assert not head(2).knows_the_same(head(3))


def test_an_untrained_head_is_over_the_same_classes_for_other_features() -> None:
    head = KnowledgeHead.untrained(KnowledgeHead(torch.ones(3, 4), scale=9.0, names=("a", "b", "c")), 5)
    assert head.weight.shape == (3, 5)
    assert (head.names, head.scale) == (("a", "b", "c"), 0.0)
    assert len(set(head.weight.flatten().tolist())) == 15
