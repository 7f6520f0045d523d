"""y12 in a program that keeps its frames on the GPU with pycuda: nothing is copied to the host but the results.

    python examples/pycuda_detect.py model.engine photo.jpg

pycuda must work in the GPU's *primary* context, which y12 and TensorRT use too: `pycuda.autoprimaryctx` retains it,
`pycuda.autoinit` would make another one, in which y12's addresses mean nothing.
"""

import argparse
import sys

import numpy as np

from y12 import Runtime, Y12Error
from y12.errors import MissingPackageError
from y12.runtime.preprocess.images import image_from

try:
    import pycuda.autoprimaryctx
    import pycuda.driver as cuda
    from pycuda import gpuarray
except ModuleNotFoundError:
    sys.exit(f"error: {MissingPackageError('pycuda', 'pycuda', 'this example')}")


def main() -> int:
    """Parse the command line, put the photograph on the GPU, and find what is on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("engine", help="an .engine made by y12-export")
    parser.add_argument("image")
    arguments = parser.parse_args()
    try:
        # (H, W, 3) uint8 BGR; a camera or a decoder would write it on the GPU itself
        photo = np.ascontiguousarray(image_from(arguments.image))
        stream = cuda.Stream()
        frame = gpuarray.to_gpu_async(photo, stream=stream)  # has __cuda_array_interface__, which is all y12 asks for
        stream.synchronize()  # pycuda's arrays do not say which stream fills them, so y12 cannot wait for it
        with Runtime(arguments.engine) as runtime:
            found = runtime.infer(frame)
            for name, score, box in zip(found.class_name, found.confidence, found.xyxy, strict=True):
                print(f"{name} {score:.3f}", *(f"{side:.1f}" for side in box))
            print(f"on {runtime.description}, beside pycuda on {pycuda.autoprimaryctx.device.name()}")
    except Y12Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
