"""A run's figures for others' viewers: TensorBoard's events, and MLflow's runs."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from y12.errors import OutputError
from y12.exporter.train.loop import StepLog
from y12.files import write_atomically
from y12.text import one_line

__all__ = ["EVENTS_FOLDER", "RUN_ID_FILE", "Tracker", "losses_of", "opened_trackers"]

EVENTS_FOLDER, RUN_ID_FILE = "tensorboard", "mlflow-run-id.txt"
_MLFLOW_EVERY = 10  # steps


class Tracker(Protocol):
    """Is told the figures of a run."""

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Take note of figures after a step, by names such as "loss/box"."""

    def close(self) -> None:
        """Write what has not been written."""


def opened_trackers(names: tuple[str, ...], folder: Path, step: int, options: Mapping[str, Any]) -> list[Tracker]:
    """Return the trackers of a run.

    Args:
        names: of "tensorboard" and "mlflow"; their packages are there.
        folder: the run's.
        step: how many steps are done: what was told of later ones is void.
        options: what the run was asked for.

    Raises:
        OutputError: MLflow cannot be reached.
    """
    openers: dict[str, Callable[[Path, int, Mapping[str, Any]], Tracker]] = {
        "tensorboard": _TensorBoard,
        "mlflow": _MLflow,
    }
    return [openers[name](folder, step, options) for name in names]


def losses_of(log: StepLog) -> dict[str, float]:
    """Return a step's figures by the names that trackers are told."""
    return {"learning_rate": log.lr, **{f"loss/{name}": value for name, value in log.losses.items()}}


class _TensorBoard:
    def __init__(self, folder: Path, step: int, _options: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / EVENTS_FOLDER), purge_step=step + 1 if step else None)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """Tells MLflow; of the losses every tenth step's, as each is a request to a server."""

    def __init__(self, folder: Path, step: int, options: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as with ONNX Runtime's: unless the user has set it
        import mlflow

        self._mlflow = mlflow
        kept = folder / RUN_ID_FILE
        run_id = kept.read_text(encoding="utf-8").strip() if step and kept.is_file() else None
        with self._translated():
            run = mlflow.start_run(run_id=run_id, run_name=folder.name)
            if run_id is None:
                mlflow.log_params({name: str(value) for name, value in options.items()})
        write_atomically(kept, f"{run.info.run_id}\n".encode())

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        if "learning_rate" not in figures or step % _MLFLOW_EVERY == 0:
            with self._translated():
                self._mlflow.log_metrics(dict(figures), step=step)

    def close(self) -> None:
        with self._translated():
            self._mlflow.end_run()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._mlflow.exceptions.MlflowException as error:
            raise OutputError(
                f"--mlflow: expected MLflow to take the run's figures, found: {one_line(str(error))}; --resume without "
                "it goes on where the run was saved last"
            ) from error
