import copy
import math

import pytest
import torch
from torch import nn

from y12.errors import OptionsError
from y12.exporter.train.optimizer import Ema, learning_rate, optimizer_for
from y12.exporter.train.options import OptimizerOptions, TuneOptions

OPTIONS = OptimizerOptions(lr=1e-2, final=0.1, warmup=4)


def test_the_rate_rises_then_falls_along_half_a_cosine() -> None:
    rates = [learning_rate(step, 15, OPTIONS) for step in range(15)]
    assert rates[:4] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2])
    assert rates[4] == pytest.approx(1e-2)
    assert rates[9] == pytest.approx((1e-2 + 1e-3) / 2)  # halfway
    assert rates[14] == pytest.approx(1e-3)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_short_run_warms_up_for_half_of_it() -> None:
    assert learning_rate(0, 1, OPTIONS) == pytest.approx(1e-2)
    assert [learning_rate(step, 4, OPTIONS) for step in range(2)] == pytest.approx([5e-3, 1e-2])


def test_only_weights_of_convolutions_decay_and_frozen_ones_are_left_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    network[2].requires_grad_(False)
    decayed, rest = optimizer_for(network, OptimizerOptions(weight_decay=0.3)).param_groups
    assert [p.shape for p in decayed["params"]] == [network[0].weight.shape]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    assert len(rest["params"]) == 3


def test_the_average_follows_its_equation() -> None:
    network = nn.BatchNorm2d(2)
    ema = Ema(network, 0.9)
    expected = copy.deepcopy(network.state_dict())
    for step in range(3):
        with torch.no_grad():
            network.weight += 1.0
            network.running_mean += 2.0
            network.num_batches_tracked += 1
        ema.update(network, step)
        decay = 0.9 * (1 - math.exp(-(step + 1) / 500))
        for name in ("weight", "running_mean"):
            expected[name] = decay * expected[name] + (1 - decay) * network.state_dict()[name]
    found = ema.network.state_dict()
    assert torch.allclose(found["weight"], expected["weight"])
    assert torch.allclose(found["running_mean"], expected["running_mean"])
    assert found["num_batches_tracked"] == 3
    assert not ema.network.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "--lr: expected a number from 0 to 1, found 0.0"),
        ({"lr": math.nan}, "--lr: expected a number from 0 to 1, found nan"),
        ({"weight_decay": 2.0}, "--weight-decay: expected a number from 0 to 1"),
        ({"ema": 1.5}, "--ema: expected"),
        ({"warmup": -1}, "expected warmup >= 0"),
        ({"clip": 0.0}, "clip > 0"),
    ],
)
def test_bad_optimizer_options(options: dict, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        OptimizerOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs: expected a whole number from 1"),
        ({"batch": 2.5}, "--batch: expected a whole number"),
        ({"freeze": -1}, "--freeze: expected a whole number from 0"),
        ({"precision": "8"}, "--precision: expected one of auto, 32, bf16, found '8'"),
        ({"accelerator": "tpu"}, "--device: expected auto, cpu or cuda, found 'tpu'"),
    ],
)
def test_bad_training_options(options: dict, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        TuneOptions(**options)
