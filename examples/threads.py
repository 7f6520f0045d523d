"""Several threads share one engine: each calls `infer`, as the handlers of a server do.

    python examples/threads.py model.engine images/*.jpg [--threads 4]

A Runtime may be called from any thread. On a GPU each call takes a worker of its own (a stream with its memory), so
that copies and kernels of several calls overlap; a thread that finds none free waits. Results are those of one thread.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from y12 import Runtime, Y12Error


def main() -> int:
    """Parse the command line, run all images, and say how fast."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artefact", help="an .engine or .onnx made by y12-export")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    try:
        with Runtime(arguments.artefact) as runtime, ThreadPoolExecutor(arguments.threads) as pool:
            runtime.infer(arguments.images[0])  # the first call allocates and captures
            start = perf_counter()
            for path, found in zip(arguments.images, pool.map(runtime.infer, arguments.images), strict=True):
                print(path, len(found), *sorted(set(found.class_name)))
            seconds = perf_counter() - start
    except Y12Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(arguments.images) / seconds:.1f} images/s on {runtime.description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
