"""Stands in for Triton's tensorrt backend: the plan is an .onnx, and ONNX Runtime runs it.

Triton runs `backends/tensorrt/model.py` by its python backend where no `libtriton_tensorrt.so` is. The server, its
reading of config.pbtxt and its scheduler are the real ones; what the real backend holds against the plan when it loads
one is held against the graph here.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort  # noqa: TID251
import triton_python_backend_utils as pb_utils

TYPES = {"TYPE_FP32": "tensor(float)", "TYPE_FP16": "tensor(float16)", "TYPE_INT32": "tensor(int32)"}


class TritonPythonModel:
    def initialize(self, args):
        self.config = json.loads(args["model_config"])
        plan = Path(args["model_repository"], args["model_version"], self.config["default_model_filename"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(plan.read_bytes(), options, providers=["CPUExecutionProvider"])
        for kind, nodes in (("input", self.session.get_inputs()), ("output", self.session.get_outputs())):
            graph = {node.name: node for node in nodes}
            for entry in self.config[kind]:
                if problem := self.problem(entry, graph.get(entry["name"])):
                    raise pb_utils.TritonModelException(f"{kind} {entry['name']}: {problem}")

    def problem(self, entry, node):
        if node is None:
            return "not in the graph"
        if TYPES.get(entry["data_type"]) != node.type:
            return f"{entry['data_type']}, the graph has {node.type}"
        batched = self.config["max_batch_size"] > 0
        if batched and isinstance(node.shape[0], int):
            return f"max_batch_size {self.config['max_batch_size']}, the graph's batch is {node.shape[0]}"
        dims, shape = [int(size) for size in entry["dims"]], node.shape[batched:]
        if len(dims) != len(shape) or any(isinstance(s, int) and d != s for d, s in zip(dims, shape, strict=True)):
            return f"dims {dims}, the graph has {shape}"
        return None

    def execute(self, requests):
        names = [entry["name"] for entry in self.config["input"]]
        wanted = [entry["name"] for entry in self.config["output"]]
        parts = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in names] for request in requests
        ]
        found = self.session.run(wanted, {n: np.concatenate([p[i] for p in parts]) for i, n in enumerate(names)})
        responses, start = [], 0
        for part in parts:
            stop = start + len(part[0])
            tensors = [pb_utils.Tensor(name, value[start:stop]) for name, value in zip(wanted, found, strict=True)]
            responses.append(pb_utils.InferenceResponse(tensors))
            start = stop
        return responses
