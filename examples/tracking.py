"""Follow objects through a video: y12 finds them, ByteTrack of the package `trackers` says which is which.

    python examples/tracking.py model.onnx video.mp4 [--conf 0.1]

Takes an .engine too. `pip install trackers` into an environment of its own: it brings another OpenCV. One line a frame:
number and class of each object that is followed; then how long each was there. Low confidences are asked for on
purpose: ByteTrack follows with them what it has begun with high ones.
"""

import argparse
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from trackers import ByteTrackTracker

from y12 import Runtime, Y12Error
from y12.runtime.preprocess.video import images_from_video

NOT_YET = -1  # the number of what is not followed: seen for the first time, or with little confidence


def main() -> int:
    """Parse the command line and tell what is followed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artefact", help="an .engine or .onnx made by y12-export")
    parser.add_argument("video", type=Path)
    parser.add_argument("--conf", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=30, help="frames a second, for how long a lost one is kept")
    asked = parser.parse_args()
    tracker = ByteTrackTracker(frame_rate=asked.rate)
    seen: Counter[tuple[int, str]] = Counter()
    frames = (frame.image_bgr for frame in images_from_video(asked.video))
    try:
        with Runtime(asked.artefact) as runtime, closing(runtime.stream(frames, conf=asked.conf)) as found:
            for number, detections in enumerate(found):
                tracked = tracker.update(detections.to_supervision())
                tracked = tracked[tracked.tracker_id != NOT_YET]
                rows = sorted(
                    zip(tracked.tracker_id.tolist(), map(str, tracked.data.get("class_name", ())), strict=True)
                )
                seen.update(rows)
                print(number, ", ".join(f"#{track} {name}" for track, name in rows) or "nothing")
    except Y12Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for (track, name), count in sorted(seen.items()):
        print(f"#{track} {name}: {count} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
