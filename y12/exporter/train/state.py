"""A training run on disk, so that a killed one goes on as if nothing had happened: tensors and JSON, no code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from y12.errors import CheckpointError
from y12.files import write_atomically
from y12.text import shown

__all__ = ["STATE_FILE", "RunState", "load_state", "save_state"]

STATE_FILE = "state.safetensors"
_SCHEMA = 1


@dataclass
class RunState:
    """What a run consists of, besides what its options say.

    Attributes:
        network, average: the weights and their average.
        optimizer: its own tensors are kept; its learning rate follows from the step.
        step: how many steps were done.
        best: the best accuracy so far, 0-1; None before the first measurement.
        best_step: after which step it was measured; 0 before the first measurement.
    """

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float | None = None
    best_step: int = 0


def save_state(folder: Path, state: RunState, options: Mapping[str, Any]) -> None:
    """Write a run's state; a kill while it is written leaves the one before.

    Raises:
        Y12Error: the folder cannot be written.
    """
    header = {
        "schema": _SCHEMA,
        "step": state.step,
        "best": state.best,
        "best_step": state.best_step,
        "options": options,
    }
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(state).items()}
    write_atomically(folder / STATE_FILE, save(tensors, {"run": json.dumps(header)}))


def load_state(folder: Path, state: RunState, options: Mapping[str, Any]) -> None:
    """Bring a run, made anew with the same options, to where a saved one was.

    Args:
        folder: the run's.
        state: is filled.
        options: what the losses depend on; the saved run's must be the same.

    Raises:
        CheckpointError: there is no state, it is damaged, or it is of another run; the first differing option is named.
    """
    path = folder / STATE_FILE
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("run", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping: no __iter__
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected the state of a run, found none ({shown(str(error), 120)})") from error
    _check_header(path, header, options)
    optimizer_keys = [name for name in tensors if name.startswith("optimizer.")]
    expected = {name for name in _tensors(state) if not name.startswith("optimizer.")}
    if set(tensors) - set(optimizer_keys) != expected:
        raise CheckpointError(f"{path}: expected the state of this network, found another's tensors")
    _fill(path, state, tensors)
    state.step, state.best = header["step"], header["best"]
    state.best_step = header.get("best_step", state.step)  # earlier releases did not keep it


def _tensors(state: RunState) -> dict[str, Tensor]:
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    return tensors


def _check_header(path: Path, header: object, options: Mapping[str, Any]) -> None:
    if not isinstance(header, dict) or header.get("schema") != _SCHEMA or type(header.get("step")) is not int:
        raise CheckpointError(f"{path}: expected the state of a run, found something else")
    if header.get("best") is not None and not isinstance(header["best"], float):
        raise CheckpointError(f"{path}: best: expected a number, found {shown(header['best'])}")
    if type(header.get("best_step", 0)) is not int:
        raise CheckpointError(f"{path}: best_step: expected a whole number, found {shown(header['best_step'])}")
    own, saved = json.loads(json.dumps(options)), header.get("options")
    if own == saved:
        return
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path}: expected the options of a run, found {shown(saved)}")
    name = next(name for name in {**own, **saved} if own.get(name) != saved.get(name))
    raise CheckpointError(
        f"{path}: that run had {name} {shown(saved.get(name))}, this one has {shown(own.get(name))}: give the same "
        "options, or another --output"
    )


def _fill(path: Path, state: RunState, tensors: Mapping[str, Tensor]) -> None:
    own = state.optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    try:
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                moments.setdefault(int(index), {})[key] = value
        state.network.load_state_dict(_part(tensors, "network."))
        state.average.load_state_dict(_part(tensors, "average."))
        state.optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: does not fit this network ({shown(str(error), 120)})") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
