"""Triton's python backend: an encoded image in, the objects in it out. Written by y12-bundle; needs y12 and its extra.

Each request is answered for itself: an image that cannot be read is an error of its request, and of no other in the
batch. `config.pbtxt` names the network, which lies beside this file.
"""

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from y12.errors import InputError
from y12.runtime.options import GpuOptions
from y12.runtime.preprocess.images import MAX_PIXELS, image_from_bytes
from y12.runtime.results.detections import Detections
from y12.runtime.results.tensors import column_of, outputs_of, stacked
from y12.runtime.session import Runtime


class TritonPythonModel:
    """What Triton calls, in a process of its own for each instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the network on the device of this instance; what is wrong with it refuses the model."""
        file = json.loads(args["model_config"])["parameters"]["artefact"]["string_value"]
        path = Path(args["model_repository"], args["model_version"], file)
        on_gpu = args["model_instance_kind"] == "GPU"
        device = int(args["model_instance_device_id"]) if on_gpu else 0
        self.runtime = Runtime(path, provider="cuda" if on_gpu else "cpu", gpu=GpuOptions(device=device, contexts=1))
        manifest = self.runtime.manifest
        self.outputs = {output.name: output for output in outputs_of(manifest.task, manifest.kpt_shape)}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request of a batch."""
        answers: list[Any] = [None] * len(requests)
        waiting: list[tuple[int, list[Any]]] = []
        pixels = 0
        for i, request in enumerate(requests):
            try:
                images = [image_from_bytes(content, "the image") for content in contents_of(request)]
            except Exception as error:  # whatever it is, it belongs to this request
                answers[i] = refused(error)
                continue
            waiting.append((i, images))
            pixels += sum(image.shape[0] * image.shape[1] for image in images)
            if pixels > MAX_PIXELS // 2:  # decoded, they would fill the memory
                self.run(requests, waiting, answers)
                waiting, pixels = [], 0
        if waiting:
            self.run(requests, waiting, answers)
        return answers

    def run(self, requests: list[Any], waiting: list[tuple[int, list[Any]]], answers: list[Any]) -> None:
        """Run the network on the images of several requests, and on each request's alone where that fails."""
        try:
            found = self.runtime.infer_batch([image for _, images in waiting for image in images])
        except Exception as error:
            if len(waiting) == 1:
                answers[waiting[0][0]] = refused(error)
                return
            for one in waiting:
                self.run(requests, [one], answers)
            return
        start = 0
        for i, images in waiting:
            stop = start + len(images)
            answers[i] = self.answer(requests[i], found[start:stop])
            start = stop

    def answer(self, request: Any, found: list[Detections]) -> Any:
        """Return what is asked for of a request's images; rows of those with fewer objects are filled up."""
        wanted = [self.outputs[name] for name in request.requested_output_names()]
        columns = {output.name: [column_of(one, output) for one in found] for output in wanted}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(output.name, stacked(output, columns[output.name])) for output in wanted]
        )

    def finalize(self) -> None:
        """Free the network."""
        self.runtime.close()


def contents_of(request: Any) -> list[bytes]:
    """Return the encoded images of a request."""
    return [bytes(content) for content in pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1)]


def refused(error: Exception) -> Any:
    """Return the answer to a request that failed: what is wrong with its image, or with the network."""
    codes = pb_utils.TritonError  # not there while the file is loaded
    code = codes.INVALID_ARG if isinstance(error, InputError) else codes.INTERNAL
    return pb_utils.InferenceResponse(error=codes(str(error) or type(error).__name__, code))
