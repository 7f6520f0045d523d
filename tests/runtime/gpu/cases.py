"""Networks that are a function, images for them, and what must be found: for the tests of the GPU pipeline."""

from itertools import product

import numpy as np

from tests.runtime.kernels.references.letterbox import letterboxed
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.tasks import task_for

HW = (64, 96)
ANCHORS = 126  # of strides 8, 16 and 32
NAMES = ("red", "green", "blue", "gray", "odd")
LAYOUTS = {  # task: rows beside the box and the scores
    "detect": (0, {}),
    "segment": (4, {}),
    "pose": (6, {"kpt_shape": (2, 3)}),
    "obb": (1, {}),
    "multitask": (10, {"kpt_shape": (2, 3)}),  # in outputs of their own
}
FORMS = [*((task, "distances") for task in LAYOUTS), *product(("detect", "segment"), ("anchors", "heatmap"))]


def manifest_of(task="detect", batch=(1, 1, 4), **changes) -> Manifest:
    sides = (AxisRange(side, side, side) for side in HW)
    values = {"task": task, "names": NAMES, "strides": (8, 16, 32)} | LAYOUTS[task][1] | changes
    return Manifest(profile=InputProfile(AxisRange(*batch), *sides), **values)


def answer_of(manifest: Manifest, seed: int = 3, anchors: int = ANCHORS):
    """A network that finds different objects in different images: boxes by chance, scores by what is in the image."""
    rng = np.random.default_rng(seed)
    objectness = manifest.localisation == "anchors"
    extras = LAYOUTS[manifest.task][0]
    boxes = np.concatenate([rng.uniform((0, 0), HW[::-1], (anchors, 2)), rng.uniform(4, 50, (anchors, 2))], 1).T
    scores = rng.random((len(NAMES) + objectness, anchors))
    others = rng.normal(0, 3, (extras, anchors))
    protos = rng.normal(0, 1, (4, HW[0] // 4, HW[1] // 4)).astype(np.float32)
    columns = rng.integers(0, HW[1], anchors)

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        seen = images[:, 1].mean(axis=1)[:, columns]  # (B, A)
        output0 = np.empty((len(images), 4 + len(scores) + extras, anchors), np.float32)
        output0[:, :4] = boxes
        output0[:, 4 : 4 + len(scores)] = np.round(scores * seen[:, None], 3)
        output0[:, 4 + len(scores) :] = others
        drawn = {"protos": np.stack([protos * (0.5 + image.mean()) for image in images])}
        if manifest.task == "multitask":
            parts = np.split(output0, np.cumsum([4, len(NAMES), 4]), axis=1)
            names = ("boxes", "scores", "mask_coefficients", "keypoints")
            return dict(zip(names, map(np.ascontiguousarray, parts), strict=True)) | drawn
        return {"output0": output0} | (drawn if manifest.task == "segment" else {})

    return answer


def artefact_of(manifest: Manifest, tmp_path) -> Artefact:
    return Artefact(tmp_path / "made-up.engine", "engine", manifest, "a test")


def images_of(rng, sizes):
    """Smooth images, so that a gray level more or less of the letterbox changes no score by much."""
    found = []
    for height, width in sizes:
        slope = np.add.outer(np.linspace(0, rng.uniform(20, 150), height), np.linspace(0, rng.uniform(20, 100), width))
        found.append(np.repeat(slope[..., None], 3, 2).astype(np.uint8))
    return found


def expected_of(manifest: Manifest, answer, images, options: DetectOptions, half: bool = False):
    """What the CPU's path finds in what the letterbox kernel's twin gives."""
    frames = [Letterbox.fit(image.shape[:2], HW) for image in images]
    outputs = answer(letterboxed(images, frames, np.float16 if half else np.float32).astype(np.float32))
    task = task_for(manifest)
    return [
        task.decode({name: array[i] for name, array in outputs.items()}, frame, options)
        for i, frame in enumerate(frames)
    ]


def check_equal(found, expected):
    """Bit for bit the same objects; of masks, but for pixels whose logit is 0 within rounding."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        for part in ("confidence", "class_id", "xyxy", "keypoints", "xywhr"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=part)
            assert getattr(one, part) is None or getattr(one, part).flags.c_contiguous, part
        assert (one.masks is None) == (other.masks is None)
        if other.masks is not None and len(other):
            assert (one.mask != other.mask).mean() < 1e-3
            assert (one.masks.areas > 0).any() or other.image_hw == (1, 1)
