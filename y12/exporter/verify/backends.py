"""What can run a network in a verification: the torch model beside the runtime's executors."""

import numpy as np
import torch
from numpy.typing import NDArray

from y12.exporter.model.detector import Detector

__all__ = ["TorchExecutor"]


class TorchExecutor:
    """The model itself in FP32, as an `Executor`: the reference of every verification."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._device = next(detector.parameters()).device

    @property
    def description(self) -> str:
        """What runs, in words."""
        return f"torch {torch.__version__} FP32 ({'CPU' if self._device.type == 'cpu' else self._device})"

    @torch.no_grad()
    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for images (B, 3, H, W), RGB in 0-1."""
        outputs = self._detector(torch.from_numpy(images).to(self._device))
        return {name: output.cpu().numpy() for name, output in outputs.items()}

    def close(self) -> None:
        """Nothing to free."""
