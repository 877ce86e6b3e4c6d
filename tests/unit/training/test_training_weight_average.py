"""The running mean of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sbka_milvus.training.weight_average import WeightAverage


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def put(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.fill_(value)


def values(module: nn.Module) -> set[float]:
    return {round(value, 6) for tensor in module.state_dict().values() for value in tensor.flatten().tolist()}


def test_a_mean_by_hand() -> None:
    module = net()
    put(module, 1.0)
    average = WeightAverage(module, 0.5)
    put(module, 3.0)
    average.update()  # keeps 2/11 in the first change
    put(module, 7.0)
    average.update()  # keeps 3/12 in the second
    first = 2 / 11 * 1 + 9 / 11 * 3
    with average.worn():
        weights = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        assert all(
            value.tolist() == pytest.approx(0.25 * first + 0.75 * 7) for value in map(torch.mean, weights.values())
        )
        assert weights.keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"}
        assert module[1].num_batches_tracked.item() == 7
    assert values(module) == {7.0}, "the network has its own weights again"


def test_in_the_long_run_it_keeps_the_decay() -> None:
    module = net()
    put(module, 0.0)
    average = WeightAverage(module, 0.9)
    for _ in range(200):
        average.update()
    put(module, 1.0)
    average.update()
    with average.worn():
        assert module[0].weight.mean().item() == pytest.approx(0.1)


def test_statistics_of_norms_fit_the_mean_s_features() -> None:
    """Weights that wander between two places: their mean's features have the mean of the statistics."""
    module = net()
    average = WeightAverage(module, 0.99)
    pixels = torch.randn(4000, 3)
    for step in range(1500):
        with torch.no_grad():
            module[0].bias.fill_(1.0 if step % 2 else -1.0)
            module[0].weight.fill_(0.5)
        module.train()
        module(pixels[torch.randperm(4000)[:500]])
        average.update()
    with average.worn():
        feature = module[0](pixels)
        assert module[1].running_mean.tolist() == pytest.approx(feature.mean(0).tolist(), abs=0.1)
        assert module[1].running_var.tolist() == pytest.approx(feature.var(0).tolist(), rel=0.1)


def test_what_is_worn_comes_off_after_an_error_too() -> None:
    module = net()
    average = WeightAverage(module, 0.9)
    put(module, 5.0)
    with pytest.raises(KeyboardInterrupt), average.worn():
        assert values(module) != {5.0}
        raise KeyboardInterrupt
    assert values(module) == {5.0}


def test_it_goes_on_from_its_state() -> None:
    def run(changes: range, average: WeightAverage, module: nn.Module) -> None:
        for number in changes:
            put(module, float(number**2))
            average.update()

    whole, stopped = net(), net()
    first, second = WeightAverage(whole, 0.8), WeightAverage(stopped, 0.8)
    run(range(8), first, whole)
    run(range(3), second, stopped)
    other = WeightAverage(stopped, 0.8)
    other.load_state(second.state())
    run(range(3, 8), other, stopped)
    with first.worn(), other.worn():
        assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), stopped.parameters(), strict=True))
    with pytest.raises((ValueError, RuntimeError)):
        WeightAverage(nn.Linear(2, 2), 0.5).load_state(first.state())
