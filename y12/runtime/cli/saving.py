"""Annotated pictures: files that are whole or not there, never over an input or another run's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, OutputError
from y12.files import write_atomically
from y12.runtime.cli.places import RunFolders
from y12.runtime.cli.video_out import VideoWriter

if TYPE_CHECKING:
    from y12.runtime.cli.sources import Frame, Source
    from y12.runtime.results.detections import Detections

__all__ = ["Saver", "write_jpeg"]

QUALITY = 95  # JPEG


class Saver:
    """Save annotated pictures into a run's own folder: NAME_annotated.jpg of an image, NAME_annotated.mp4 of a video.

    Two inputs of one name give NAME_annotated_2. Close it, also after a failure: a video is whole only then.

    Args:
        folder: created where it is missing.
        inputs: files that are never written over, and whose numbering decides the names.
        folders: of the run, which say where it really goes.

    Raises:
        OutputError: there can be no such folder.
    """

    needs_image = needs_masks = True

    def __init__(self, folder: Path, inputs: "Sequence[Source]", folders: RunFolders | None = None) -> None:
        self.place = (folders or RunFolders()).make(folder)
        self._taken = {path.resolve() for path in inputs if isinstance(path, Path)}
        self._paths: dict[Source, Path] = {}
        self._video: VideoWriter | None = None
        self.count = self._pending = 0  # pictures that were saved; those of a video that is not finished

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish a video that is being written.

        Raises:
            OutputError: it cannot be.
        """
        video, self._video = self._video, None
        if video is not None:
            video.close()
            self.count += self._pending
        self._pending = 0

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Draw and write a picture; give the file, as `saved`.

        Raises:
            InputError: as `save`.
            OutputError: as `save`.
        """
        from y12.runtime.results.draw import annotated

        path = self.save(frame.path, frame.number, annotated(frame.load_and_keep(), found), frame.time_s)
        return {"saved": str(path)}

    def path_of(self, source: "Source", number: int | None) -> Path:
        """Return where the picture of `source` goes, or those of a video, which have a number."""
        if source not in self._paths:
            self._paths[source] = self._free_path(source, ".jpg" if number is None else ".mp4")
        return self._paths[source]

    def save(
        self, source: "Source", number: int | None, image_bgr: NDArray[np.uint8], time_s: float | None = None
    ) -> Path:
        """Write the picture of `source`, of a video the frame `number` and its time, and give the file's path.

        Raises:
            InputError: a video's pictures change their size.
            OutputError: the folder cannot be written to.
        """
        path = self.path_of(source, number)
        if self._video is not None and self._video.path != path:
            self.close()
        if number is None:
            write_jpeg(path, image_bgr)
            self.count += 1
        else:
            if self._video is None:
                height, width = image_bgr.shape[:2]
                self._video = VideoWriter(path, (height, width))
            self._video.write(image_bgr, time_s)
            self._pending += 1
        return path

    def _free_path(self, source: "Source", suffix: str) -> Path:
        """Find a name that no other input of this call uses and that is no input itself."""
        stem = f"{source.stem}_annotated"
        attempt, candidate = 1, self.place / f"{stem}{suffix}"
        while (key := candidate.resolve()) in self._taken:
            attempt += 1
            candidate = self.place / f"{stem}_{attempt}{suffix}"
        self._taken.add(key)
        return candidate


def write_jpeg(path: Path, image_bgr: NDArray[np.uint8]) -> None:
    """Write a picture.

    Raises:
        InputError: JPEG holds none of its size.
        OutputError: it cannot be written there.
    """
    import cv2

    done, content = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise InputError(f"{path}: a picture of shape {image_bgr.shape} cannot be written as JPEG")
    write_atomically(path, content.tobytes(), OutputError)
