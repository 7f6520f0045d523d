"""What a `Detections` is for tools that look at data sets and correct them."""

import os
from typing import TYPE_CHECKING, Any

from y12.runtime.results.objects import Objects

if TYPE_CHECKING:
    import fiftyone

__all__ = ["PassedOn"]


class PassedOn:
    """Methods of `Detections`, which has the fields."""

    def to_fiftyone(self: Objects, filepath: str | os.PathLike[str] | None = None) -> "fiftyone.Sample":
        """Return a sample of FiftyOne with the image and what was found in it: see `fiftyone_sample`.

        Args:
            filepath: the image's; None takes the path that `infer` was given.

        Raises:
            InputError: there is no path.
            Y12Error: FiftyOne is not installed.
        """
        from y12.runtime.results.fiftyone_sample import fiftyone_sample

        return fiftyone_sample(self, filepath)

    def to_label_studio(self: Objects, image: str, model: str = "y12", tolerance: float = 1.0) -> dict[str, Any]:
        """Return a task for Label Studio with what was found as its prediction: see `label_studio_task`.

        Args:
            image: where Label Studio finds the image: a URL, or a path of its local storage.
            model: what the predictions are told to be from.
            tolerance: how far in pixels a mask's polygon may stray to have fewer points.

        Raises:
            InputError: `tolerance` is negative or no number.
        """
        from y12.runtime.results.label_studio import label_studio_task

        return label_studio_task(self, image, model, tolerance)
