"""Networks brought through the stages of an export, once a session: tracing and building take seconds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import onnxsim
import pytest
import torch
from colour_network import make_folder as make_folder
from colour_network import make_yaml as make_yaml
from label_files import make_artefact as make_artefact
from label_files import make_coco as make_coco
from label_files import make_yolo as make_yolo

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.engine.build_engine import BuildOptions, BuiltEngine, bindings_for_build, engine_from_onnx
from y12.exporter.engine.inspect import EngineFacts, facts_of
from y12.exporter.graph.rtx.write_for_rtx import write_for_rtx
from y12.exporter.graph.simplify import OWN_PASSES, quiet_native_output, simplify
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.cast import CastReport, cast_to_fp16
from y12.exporter.trace.deploy import deploy_from_detector
from y12.exporter.trace.to_onnx import TraceOptions, onnx_from_deploy
from y12.runtime.artefact.manifest import AxisRange, InputProfile
from y12.runtime.backends.tensorrt.executor import Bindings


def profile_of(*hw: int, batch: tuple[int, int, int] = (1, 1, 1), sides: int = 1) -> InputProfile:
    """Shapes around (height, width); `sides` > 1 lets each side be that much smaller or larger."""
    spans = [AxisRange(side // sides, side, side * sides) for side in hw]
    return InputProfile(AxisRange(*batch), *spans)


@dataclass
class Stages:
    """A detector, and what each stage makes of it when it is asked for."""

    detector: Detector
    profile: InputProfile
    opset: int = 20
    checked: bool = True  # compare the simplified graph with the traced one, as an export does

    @cached_property
    def traced(self) -> onnx.ModelProto:
        return onnx_from_deploy(deploy_from_detector(self.detector), TraceOptions(self.profile, self.opset))

    @cached_property
    def simplified(self) -> onnx.ModelProto:
        if self.checked:
            return simplify(self.traced, self.profile)[0]
        with quiet_native_output():
            graph: onnx.ModelProto = onnxsim.simplify(self.traced, check_n=0)[0]
        for own_pass in OWN_PASSES:
            own_pass(graph)
        return graph

    @cached_property
    def cast(self) -> tuple[onnx.ModelProto, CastReport]:
        return cast_to_fp16(self.simplified)

    @property
    def typed(self) -> onnx.ModelProto:
        return self.cast[0]

    @cached_property
    def for_rtx(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self.typed)
        write_for_rtx(model)
        return model

    def build(self, model: onnx.ModelProto | None = None) -> BuiltEngine:
        model = self.for_rtx if model is None else model
        return engine_from_onnx(model.SerializeToString(), BuildOptions(self.profile), bindings_for_build("rtx"))

    @cached_property
    def facts(self) -> EngineFacts:
        return facts_of(self.build().layers, self.for_rtx)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Beside another worker, second threads that wait for the first ones take many times as long as they help."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # ONNX Runtime's, in commands that tests start too
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def rtx() -> Bindings:
    """TensorRT-RTX, which builds with no GPU."""
    pytest.importorskip("tensorrt_rtx")
    return bindings_for_build("rtx")


@pytest.fixture(scope="session")
def armor_file(shared: Path) -> Path:
    return shared / "checkpoints" / "trained" / "rmArmor-yolov12n.pt"


@pytest.fixture(scope="session")
def armor(armor_file: Path) -> Stages:
    """The really trained network, at 640x640."""
    return Stages(detector_from_checkpoint(read_checkpoint(armor_file)), profile_of(640, 640))


@pytest.fixture(scope="session")
def seeded_n() -> Stages:
    """yolov12n with seeded weights, at 640x640: needs no material from outside."""
    return Stages(seeded_detector(spec_from_name("yolov12n")), profile_of(640, 640))


@pytest.fixture(scope="session")
def stages_of() -> Callable[..., Stages]:
    """Make the stages of another network."""
    return Stages


@pytest.fixture(scope="session")
def make_profile() -> Callable[..., InputProfile]:
    """`profile_of`."""
    return profile_of
