"""Optimisers and groups of batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sbka_milvus.training.optimisation import Learner, group_size
from sbka_milvus.training.options import TrainingOptions


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def learner(*parameters: nn.Parameter, **options) -> Learner:
    return Learner(parameters, TrainingOptions(**options))


def test_adam_s_first_step_is_the_rate_whatever_the_gradient() -> None:
    weight = parameter(1.0, 1.0)
    weight.grad = torch.tensor([5.0, -0.01])
    learner(weight, weight_decay=0.0).step(0.1)
    assert weight.tolist() == pytest.approx([0.9, 1.1], abs=1e-4)


def test_adamw_takes_the_decay_off_the_weights() -> None:
    """Where there is no gradient, adam makes one of the decay and adamw does not."""
    moved = {}
    for kind in ("adam", "adamw"):
        weight = parameter(2.0)
        weight.grad = torch.zeros(1)
        learner(weight, optimiser=kind, weight_decay=0.5).step(0.1)
        moved[kind] = weight.item()
    assert moved["adam"] == pytest.approx(1.9, abs=1e-4)  # a whole step of the rate
    assert moved["adamw"] == pytest.approx(2.0 * (1 - 0.1 * 0.5))


def test_only_what_trains_is_taken_and_gradients_are_forgotten() -> None:
    weight, fixed = parameter(1.0), parameter(1.0).requires_grad_(False)
    both = learner(weight, fixed)
    assert both.parameters == [weight]
    assert both.gradients == []
    weight.grad = torch.ones(1)
    assert both.gradients == [weight.grad]
    both.forget()
    assert weight.grad is None


def test_long_gradients_are_shortened_all_together() -> None:
    first, second = parameter(0.0), parameter(0.0)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    learner(first, second, clip_norm=1.0).step(0.1)
    assert [first.grad.item(), second.grad.item()] == pytest.approx([0.6, 0.8], abs=1e-4)
    first.grad, second.grad = torch.tensor([0.3]), torch.tensor([0.4])
    learner(first, second, clip_norm=1.0).step(0.1)
    assert [first.grad.item(), second.grad.item()] == pytest.approx([0.3, 0.4])


def test_it_goes_on_from_its_state() -> None:
    def run(weight: nn.Parameter, own: Learner, steps: range) -> None:
        for step in steps:
            weight.grad = torch.tensor([float(step % 3 - 1)])
            own.step(0.1 / (step + 1))

    whole, stopped = parameter(1.0), parameter(1.0)
    run(whole, learner(whole), range(6))
    first = learner(stopped)
    run(stopped, first, range(3))
    second = learner(stopped)
    second.load_state(first.state())
    run(stopped, second, range(3, 6))
    assert torch.equal(whole, stopped)
    with pytest.raises(ValueError):
        learner(parameter(1.0), parameter(1.0)).load_state(first.state())


@pytest.mark.parametrize(("steps", "accumulate"), [(1, 1), (7, 1), (7, 3), (6, 3), (2, 5)])
def test_groups_make_up_the_epoch(steps: int, accumulate: int) -> None:
    sizes = [group_size(step, accumulate, steps) for step in range(steps)]
    groups, step = [], 0
    while step < steps:
        groups.append(sizes[step])
        assert set(sizes[step : step + sizes[step]]) == {sizes[step]}
        step += sizes[step]
    assert sum(groups) == steps
    assert set(groups[:-1]) <= {accumulate}
    assert 0 < groups[-1] <= accumulate


def test_slow_weights_change_by_their_share_of_the_rate() -> None:
    slow, fast = parameter(1.0), parameter(1.0)
    both = Learner([slow, fast], TrainingOptions(backbone_rate_factor=0.25, weight_decay=0.0), slow=[slow])
    for rate in (0.1, 0.2):
        slow.grad, fast.grad = torch.ones(1), torch.ones(1)
        before = slow.item(), fast.item()
        both.step(rate)
        assert before[0] - slow.item() == pytest.approx(rate / 4, rel=1e-3)
        assert before[1] - fast.item() == pytest.approx(rate, rel=1e-3)
