"""Count what moves through a video: `stream` reads, runs the network and does the NMS at the same time.

    python examples/video.py model.engine video.mp4 [--batch 4]

Takes an .onnx too. One line a frame: its number and what is in it.
"""

import argparse
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from y12 import Runtime, Y12Error
from y12.runtime.preprocess.video import images_from_video


def main() -> int:
    """Parse the command line and tell what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artefact", help="an .engine or .onnx made by y12-export")
    parser.add_argument("video", type=Path)
    parser.add_argument("--batch", type=int, help="frames at a time; default: the fewest that the network takes")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    frames = (frame.image_bgr for frame in images_from_video(arguments.video))
    try:
        with (
            Runtime(arguments.artefact) as runtime,
            closing(runtime.stream(frames, batch=arguments.batch)) as found,
        ):
            for number, detections in enumerate(found):
                seen = Counter(detections.class_name)
                total += seen
                print(number, ", ".join(f"{count} {name}" for name, count in seen.most_common()) or "nothing")
    except Y12Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("in all:", dict(total.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
