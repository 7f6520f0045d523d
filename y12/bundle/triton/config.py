"""A model's config.pbtxt, as a value and as the text that Triton reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CONFIG", "ModelConfig", "Tensor"]

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: of the tensor.
        data_type: as Triton calls it, such as "TYPE_FP32".
        dims: behind the batch axis where there is batching, else all; -1 where one is free.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]

    def text(self, more: str = "") -> str:
        """Return it as protobuf's text format has it."""
        dims = ", ".join(map(str, self.dims))
        return f"{{ name: {_quoted(self.name)} data_type: {self.data_type} dims: [ {dims} ]{more} }}"


@dataclass(frozen=True)
class ModelConfig:
    """What Triton is told of a model.

    Attributes:
        name: of the model, and of its folder.
        runner: which field names what runs it, and what it says: `platform` or `backend`.
        inputs, outputs: of the network.
        max_batch_size: 0 where requests are not put together.
        preferred: sizes of batches that are not waited beyond.
        kind: of its instances, such as "KIND_AUTO".
        instances: how many there are.
        queue: requests that may wait for an instance.
        max_wait_us: microseconds for which the first request of a batch waits for others.
        file: the model's, in each version's folder.
        labels: the output whose values are classes' probabilities; None of others.
        parameters: what `model.py` reads.
    """

    name: str
    runner: tuple[str, str]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    preferred: tuple[int, ...]
    kind: str
    instances: int
    queue: int
    max_wait_us: int
    file: str
    labels: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return config.pbtxt."""
        key, runner = self.runner
        lines = [f"name: {_quoted(self.name)}", f"{key}: {_quoted(runner)}", f"max_batch_size: {self.max_batch_size}"]
        if not self.parameters:
            lines.append(f"default_model_filename: {_quoted(self.file)}")
        lines += [f"input [ {', '.join(tensor.text() for tensor in self.inputs)} ]", "output ["]
        labelled = ' label_filename: "labels.txt"'
        outputs = [tensor.text(labelled if tensor.name == self.labels else "") for tensor in self.outputs]
        lines += ["  " + ",\n  ".join(outputs), "]"]
        lines.append(f"instance_group [ {{ kind: {self.kind} count: {self.instances} }} ]")
        preferred = f"preferred_batch_size: [ {', '.join(map(str, self.preferred))} ] " if self.preferred else ""
        lines.append(
            f"dynamic_batching {{ {preferred}max_queue_delay_microseconds: {self.max_wait_us} "
            f"default_queue_policy {{ max_queue_size: {self._queue_size} }} }}"
        )
        lines += [
            f"parameters {{ key: {_quoted(k)} value {{ string_value: {_quoted(v)} }} }}"
            for k, v in self.parameters.items()
        ]
        return "\n".join(lines) + "\n"

    @property
    def _queue_size(self) -> int:
        """The requests in Triton's queue: beyond it, each busy instance has a batch that waits for it, uncounted."""
        return max(1, self.queue - self.instances * max(1, self.max_batch_size))


def _quoted(text: str) -> str:
    """Return a text as protobuf's text format writes it: what is no plain character by its bytes, in octal."""
    plain = {code for code in range(0x20, 0x7F)} - {ord('"'), ord("\\")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
