"""Ask Triton what is in photographs: python client.py IMAGE... Needs `pip install 'tritonclient[http]'`.

Where the process behind the model has died (Triton and its health go on saying ready), the model is unloaded and loaded
again, which Triton allows with --model-control-mode=explicit; then the image is asked for once more.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

BUNDLE = Path(__file__).resolve().parent
MODEL = json.loads((BUNDLE / "bundle.json").read_text())["model"] + "_images"
LABELS = (BUNDLE / "python" / MODEL / "labels.txt").read_text().splitlines()


def main() -> int:
    """Print a line an object; give 1 where an image was refused."""
    parser = argparse.ArgumentParser(description="Ask Triton what is in photographs.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", type=Path, help="a JPEG or PNG")
    parser.add_argument("--url", default="127.0.0.1:8000", help="host and port of HTTP (default: %(default)s)")
    asked = parser.parse_args()
    failed = False
    with http.InferenceServerClient(asked.url) as client:
        for image in asked.images:
            try:
                found = ask(client, image.read_bytes())
            except (InferenceServerException, OSError) as error:
                print(f"{image}: {error}", file=sys.stderr)
                failed = True
                continue
            count = int(found.as_numpy("count")[0, 0])
            print(f"{image}: {count}")
            rows = [found.as_numpy(name)[0] for name in ("classes", "scores", "boxes")]
            for label, score, box in zip(*rows, strict=True):
                print(f"  {LABELS[label]} {score:.3f} at {', '.join(f'{side:.1f}' for side in box)}")
    return int(failed)


def ask(client: http.InferenceServerClient, content: bytes) -> http.InferResult:
    """Return what is in an encoded image; each is a request of its own, so that a bad one fails alone."""
    image = http.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[content]], object))
    try:
        return client.infer(MODEL, [image])
    except InferenceServerException as error:
        if "is not healthy" not in error.message():
            raise
    recover(client)
    return client.infer(MODEL, [image])


def recover(client: http.InferenceServerClient, seconds: float = 30.0) -> None:
    """Unload and load the model: `load` alone changes nothing where its process has died."""
    client.unload_model(MODEL)
    until = time.monotonic() + seconds
    while client.is_model_ready(MODEL) and time.monotonic() < until:
        time.sleep(0.1)
    client.load_model(MODEL)


if __name__ == "__main__":
    sys.exit(main())
