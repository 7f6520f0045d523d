"""Whether a plan can run with the TensorRT that is installed and on the GPU at hand, and what to rebuild if not.

What the plan's own bytes tell (flavour, version, whole or not, the GPUs in y12's manifest) is said with no GPU;
what only TensorRT knows is turned into advice here, so that every refusal ends with the command that mends it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from y12.errors import ArtefactError, ExecutorError
from y12.installing import install_command
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.plan import PRODUCTS, PlanHeader, network_name_in_plan, plan_problem, read_plan_header

__all__ = ["Environment", "check_target", "check_version", "checked_header", "load_advice", "targets_in_plan"]

REBUILD_FULL = "export again on this GPU with y12-export --format engine --tensorrt full"
# What TensorRT-RTX says of a plan that it refuses (EngineInvalidityDiagnostics), and what to do about it.
_UPGRADE = "OLD_CUDA_RUNTIME"  # the command depends on what is installed
ADVICE = {
    "VERSION_MISMATCH": "export again with y12-export --format engine --tensorrt rtx",
    "OLD_CUDA_DRIVER": "update the NVIDIA driver",
    "INSUFFICIENT_GPU_MEMORY": "free GPU memory, or export with a smaller --batch or --imgsz",
    "MALFORMED_ENGINE": "copy the engine again, or export it again",
    "CUDA_ERROR": "check with nvidia-smi that the driver works",
}
_TARGETS = re.compile(r"SM (\d+(?:, \d+)*)(?: \(|$)")


@dataclass(frozen=True)
class Environment:
    """Where a plan is to run.

    Attributes:
        flavour: of the TensorRT that is installed, "full" or "rtx".
        version: its version, such as "1.7.1.116".
        gpu: the GPU in words, such as "NVIDIA L4, SM 89".
        sm: its compute capability, tens and ones.
        known_sms: those TensorRT-RTX can build for; empty for full TensorRT, which builds for the GPU at hand.
    """

    flavour: str
    version: str
    gpu: str
    sm: int
    known_sms: tuple[int, ...] = ()


def checked_header(plan: bytes, flavour: str) -> PlanHeader:
    """Read a plan's header, and refuse what cannot be a whole plan of `flavour`, "auto" for any.

    Raises:
        ArtefactError: the bytes are no whole plan.
        ExecutorError: it is a plan of the other flavour.
    """
    problem = plan_problem(plan)
    header = read_plan_header(plan)
    if problem or header is None:
        raise ArtefactError(problem or "expected a TensorRT plan: export again")
    if flavour not in ("auto", header.flavour):
        raise ExecutorError(
            f"expected a plan for {PRODUCTS.get(flavour, flavour)}, found one of {header.product}: "
            f"choose {header.flavour} or auto"
        )
    return header


def check_version(header: PlanHeader, installed: str) -> None:
    """Refuse a plan that the installed release does not run, where its header decides that: in TensorRT-RTX.

    A plan of full TensorRT may have been built version-compatible, which its header does not tell.

    Raises:
        ExecutorError: it is a plan of another release.
    """
    if header.flavour == "rtx" and installed.split(".")[:3] != [str(part) for part in header.version[:3]]:
        release = ".".join(map(str, header.version[:3]))
        raise ExecutorError(
            f"expected an engine of TensorRT-RTX {installed}, which is installed, found one of {header.product}: "
            "TensorRT-RTX runs its own release's engines only, so export again or install that release "
            f"(y12-export --format engine --tensorrt rtx, or pip install 'tensorrt-rtx-cu13=={release}.*')"
        )


def targets_in_plan(plan: bytes) -> tuple[int, ...]:
    """Return the compute capabilities that y12 built a TensorRT-RTX plan for; () where the plan does not tell."""
    name = network_name_in_plan(plan)
    manifest = None
    if name is not None:
        try:
            manifest = Manifest.from_network_name(name)
        except ArtefactError:  # damaged: whoever needs the manifest will say so
            return ()
    targets = _TARGETS.match(manifest.engine.get("gpus", "")) if manifest else None
    return tuple(int(sm) for sm in targets[1].split(", ")) if targets else ()


def check_target(targets: Sequence[int], environment: Environment) -> None:
    """Refuse a TensorRT-RTX plan on a GPU that it was not built for.

    Args:
        targets: of `targets_in_plan`; empty where unknown, then TensorRT-RTX decides.
        environment: where it is to run.

    Raises:
        ExecutorError: it was built for others, or TensorRT-RTX does not know the GPU at all.
    """
    if environment.known_sms and environment.sm not in environment.known_sms:
        raise ExecutorError(
            f"expected a GPU of {_sms(environment.known_sms)}, found {environment.gpu}: {_other_product(environment)}"
        )
    if targets and environment.sm not in targets:
        raise ExecutorError(
            f"expected a GPU of {_sms(targets)}, which the engine was built for, found {environment.gpu}: "
            f"{_rebuild_for(environment)}"
        )


def load_advice(header: PlanHeader, environment: Environment, reasons: Sequence[str] = ()) -> str:
    """Say what to do about a plan that TensorRT would not load.

    Args:
        header: the plan's.
        environment: where it was to run.
        reasons: members of EngineInvalidityDiagnostics, as TensorRT-RTX names them.
    """
    built = f"It was built by {header.product}, found {environment.version} on {environment.gpu}"
    if header.flavour == "full":
        return f"{built}: a plan runs on the kind of GPU and with the version that built it, so {REBUILD_FULL}"
    if "UNSUPPORTED_CC" in reasons:
        known = not environment.known_sms or environment.sm in environment.known_sms
        return f"{built}: {_rebuild_for(environment) if known else _other_product(environment)}"
    advice = [_advice(reason) for reason in reasons if reason in (*ADVICE, _UPGRADE)] or [ADVICE["MALFORMED_ENGINE"]]
    return f"{built}: {'; '.join(advice)}"


def _advice(reason: str) -> str:
    return install_command("rtx", "gpu", upgrade=True) if reason == _UPGRADE else ADVICE[reason]


def _rebuild_for(environment: Environment) -> str:
    return f"export again with y12-export --format engine --tensorrt rtx --sm {environment.sm}"


def _other_product(environment: Environment) -> str:
    return f"TensorRT-RTX has no code for SM {environment.sm}; {REBUILD_FULL}"


def _sms(sms: Sequence[int]) -> str:
    *most, last = map(str, sms)
    return f"SM {', '.join(most)} or {last}" if most else f"SM {last}"
