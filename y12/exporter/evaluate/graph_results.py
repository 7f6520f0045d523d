"""What a graph finds in images, in ONNX Runtime: as COCO's figures want it, and as the runtime would give it."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.exporter.data.classes import ClassMap
from y12.exporter.data.dataset import KINDS_OF_TASK, Dataset, Sample
from y12.exporter.evaluate.evaluate_options import ValOptions
from y12.exporter.evaluate.evaluation_set import EvaluationSet, classes_of
from y12.exporter.evaluate.fit import detect_options, kinds_for
from y12.exporter.evaluate.predictions import CocoResults, Wanted
from y12.exporter.graph.measurable import measurable
from y12.exporter.parallel import in_order
from y12.runtime.artefact.manifest import ONNX_KEY, Manifest
from y12.runtime.backends.onnx_runtime import OrtExecutor, threads_at_hand
from y12.runtime.executor import Executor
from y12.runtime.options import DetectOptions
from y12.runtime.results.detections import Detections
from y12.runtime.session import Runtime
from y12.runtime.tasks import default_options

__all__ = ["CONF", "USED_FLOOR", "Outcome", "Results", "detections_of", "outcome_of"]

CONF = 0.25  # of the detections that stand in for labels: the usual threshold of use
USED_FLOOR = 0.01  # of the results as used: lower than any threshold of use, and still few boxes

Results = Sequence[Mapping[str, Any]]
Progress = Callable[[int, int], None]
Part = TypeVar("Part")


@dataclass(frozen=True)
class Outcome:
    """What a graph finds.

    Attributes:
        results: in COCO's form, above 0.001 and with several classes to a box, as COCO's figures want them; of a
            classifier the best class of each image as category_id.
        sizes_hw: (height, width) of each image, by its id.
        category_ids: of the results, by the model's class ids.
        kinds: what the results tell: "bbox", "segm", "keypoints" or "obb"; nothing of a classifier.
        labelled: those of them that there are labels of.
        used: the boxes that the runtime's own options leave above `USED_FLOOR`; empty where they were not asked for.
    """

    results: Results
    sizes_hw: Mapping[int, tuple[int, int]]
    category_ids: tuple[int | None, ...] = ()
    kinds: tuple[str, ...] = ()
    used: Results = ()
    labelled: tuple[str, ...] = ()

    @property
    def sure(self) -> list[Mapping[str, Any]]:
        """The results above `CONF`; of a classifier all of them."""
        return [result for result in self.results if result.get("score", 1.0) > CONF]

    def of(self, image_ids: set[int]) -> "Outcome":
        """Return what was found in some of the images."""
        results, used = ([r for r in each if r["image_id"] in image_ids] for each in (self.results, self.used))
        sizes_hw = {i: hw for i, hw in self.sizes_hw.items() if i in image_ids}
        return replace(self, results=results, sizes_hw=sizes_hw, used=used)

    def as_used(self) -> "Outcome":
        """Return it with the results as used in the place of the others."""
        return replace(self, results=self.used)


def outcome_of(
    graph: onnx.ModelProto,
    manifest: Manifest,
    evaluation_set: EvaluationSet,
    *,
    used: bool = False,
    every_kind: bool = False,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Return what a graph without NMS finds in ONNX Runtime, as `y12-val` does.

    Args:
        graph: of any precision; its metadata does not count.
        manifest: of the model.
        evaluation_set: the images.
        used: return the results as used, too; the network runs once for both.
        every_kind: return masks and keypoints also where the labels have none, for agreement between graphs.
        wanted: the objects that figures are about, as `CocoResults` has it; None returns and draws all.
        progress: called as images are done with how many are, and how many there are.

    Raises:
        Y12Error: an image cannot be used, or the graph cannot be run.
    """
    with _runtime(graph, manifest, evaluation_set.bits) as runtime:
        if manifest.task == "classify":
            return _classified(runtime, evaluation_set, progress)
        classes = _classes(evaluation_set, manifest.names)
        options = [detect_options(ValOptions(), None, classes)]
        if used:
            options.append(_as_used(default_options(manifest), classes))
        if manifest.output == "end2end":
            options = [replace(one, iou=1.0) for one in options]  # no box overlaps another more: nothing is suppressed
        labelled = _kinds(evaluation_set, manifest)
        kinds = _kinds(replace(evaluation_set, labels=None), manifest) if every_kind else labelled
        outcome = _detected(runtime, evaluation_set, options, (classes, kinds, wanted), progress)
        return replace(outcome, labelled=tuple(kind for kind in labelled if kind in outcome.kinds))


def detections_of(
    graph: onnx.ModelProto, manifest: Manifest, images: Sequence[Path], bits: int | None = None
) -> list[Detections]:
    """Return what a graph without NMS finds in images at the task's usual thresholds; `bits` as `Runtime` has them."""
    with _runtime(graph, manifest, bits) as runtime:
        return [runtime.infer(image) for image in images]


class _Once(threading.local):
    """Runs a network once where the same images come twice in a row in a thread, as they do for two sets of thresholds.

    Each thread has an object of its own, around one executor.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._images: NDArray[np.float32] | None = None
        self._outputs: dict[str, NDArray[np.float32]] = {}

    @property
    def description(self) -> str:
        return self._executor.description

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        if self._images is None or not np.array_equal(images, self._images):
            self._outputs, self._images = self._executor.run(images), images
        return self._outputs

    def close(self) -> None:
        self._executor.close()


@contextmanager
def _runtime(graph: onnx.ModelProto, manifest: Manifest, bits: int | None) -> Iterator[Runtime]:
    """Open a graph as y12-val opens its file."""
    described = onnx.ModelProto()
    described.CopyFrom(measurable(graph))
    del described.metadata_props[:]
    own = replace(manifest.of_predictions, engine={}, thresholds=None)
    described.metadata_props.add(key=ONNX_KEY, value=own.to_json())
    with tempfile.TemporaryDirectory(prefix="y12-") as folder:
        path = Path(folder, "evaluation set.onnx")
        path.write_bytes(described.SerializeToString())
        executor = OrtExecutor(path, "cpu", threads=1, integers=manifest.is_for_cpu)
        with Runtime(path, _Once(executor), bits=bits) as runtime:
            yield runtime


def _as_used(options: DetectOptions, classes: ClassMap) -> DetectOptions:
    """Return the artefact's own options, but for a low conf, without classes that the data lacks."""
    return replace(options, conf=USED_FLOOR, classes=options.classes or classes.classes)


def _classes(evaluation_set: EvaluationSet, names: tuple[str, ...]) -> ClassMap:
    if isinstance(evaluation_set.labels, Dataset):
        return classes_of(evaluation_set.labels, names)
    return ClassMap(tuple(range(len(names))), "all")


def _kinds(evaluation_set: EvaluationSet, manifest: Manifest) -> tuple[str, ...]:
    if isinstance(evaluation_set.labels, Dataset):
        return kinds_for(evaluation_set.labels, manifest.task, manifest.kpt_shape)[0]
    kinds = KINDS_OF_TASK[manifest.task]
    return kinds if manifest.kpt_shape is not None else tuple(kind for kind in kinds if kind != "keypoints")


def _detected(
    runtime: Runtime,
    evaluation_set: EvaluationSet,
    options: Sequence[DetectOptions],
    asked: tuple[ClassMap, tuple[str, ...], Wanted | None],
    progress: Progress | None,
) -> Outcome:
    classes, kinds, wanted = asked

    def collect(samples: Sequence[Sample]) -> list[CocoResults]:
        """Return what each of the options gives; as they come one after another, the network runs once for all."""
        collected = [CocoResults(classes, kinds, wanted), *(CocoResults(classes, ()) for _ in options[1:])]
        for one, own in zip(collected, options, strict=True):
            for sample, found in zip(samples, _found(runtime, samples, own), strict=True):
                one.keep(sample, found)
        return collected

    collected = [CocoResults(classes, kinds), *(CocoResults(classes, ()) for _ in options[1:])]
    for parts in _over(runtime, evaluation_set.samples, collect, progress):
        for whole, part in zip(collected, parts, strict=True):
            whole.add(part)
    full = collected[0]
    used = collected[1].results if len(collected) > 1 else ()
    return Outcome(full.results, full.sizes_hw, classes.category_ids, full.kinds_to_evaluate, used)


def _classified(runtime: Runtime, evaluation_set: EvaluationSet, progress: Progress | None) -> Outcome:
    results, sizes_hw = [], {}

    def classify(samples: Sequence[Sample]) -> list[tuple[Sample, Detections]]:
        return list(zip(samples, _found(runtime, samples, runtime.options), strict=True))

    for part in _over(runtime, evaluation_set.samples, classify, progress):
        for sample, classification in part:
            sizes_hw[sample.image_id] = classification.image_hw
            results.append({"image_id": sample.image_id, "category_id": int(classification.class_id[0])})
    return Outcome(results, sizes_hw, used=results)


def _found(runtime: Runtime, samples: Sequence[Sample], options: DetectOptions) -> list[Detections]:
    return runtime.infer_batch([sample.path for sample in samples], options)


def _over(
    runtime: Runtime,
    samples: Sequence[Sample],
    work: Callable[[Sequence[Sample]], Part],
    progress: Progress | None,
) -> Iterator[Part]:
    """Yield what `work` gives of so many images as the network takes at least, in their order."""
    size = runtime.manifest.profile.batch.min
    chunks = [samples[start : start + size] for start in range(0, len(samples), size)]
    done = 0
    for chunk, part in zip(chunks, in_order(work, chunks, threads_at_hand()), strict=True):
        yield part
        done += len(chunk)
        if progress is not None:
            progress(done, len(samples))
