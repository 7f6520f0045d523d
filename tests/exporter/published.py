"""The outputs that came with the published checkpoints, and how near ours must be."""

import copy

import numpy as np
import torch

BOX_PX, SCORE = 2e-2, 1e-4  # two right implementations differ by up to 3e-3 px and 3e-5
PROBABILITY = 1e-6  # a thousand classes: 1e-5 of a logit moves a probability of 1e-3 by 1e-8, one of 0.1 by 1e-6
LIMITS = {"boxes": BOX_PX, "keypoints": BOX_PX, "probabilities": PROBABILITY}  # of all else: SCORE


def noise_of(h, w, batch=1):
    return np.random.Generator(np.random.PCG64(7)).random((batch, 3, h, w), dtype=np.float32)


def published_answers(path):
    """Return (images (1, 3, H, W), outputs by our names) for each input the file has outputs of."""
    data = np.load(path)
    if "input_bgr_u8" in data:
        rgb = data["input_bgr_u8"].reshape(640, 640, 3)[..., ::-1]
        inputs = {"": rgb.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    else:
        sizes = {key.split(".")[0] for key in data}
        inputs = {f"{size}.": noise_of(*map(int, size.split("x"))) for size in sorted(sizes)}
    names = {"pred": "output0", "prob": "output0", "proto": "protos"}
    return [
        (
            images,
            {
                name: data[prefix + published_name]
                for published_name, name in names.items()
                if prefix + published_name in data
            },
        )
        for prefix, images in inputs.items()
    ]


def exact_answers(detector, images):
    """Return what a detector makes of each image alone, in float64: rounding is out of it, and so is the processor."""
    exact = copy.deepcopy(detector).double()
    with torch.no_grad():
        alone = [exact(torch.from_numpy(image[None]).double()) for image in images]
    return {name: torch.cat([one[name] for one in alone]).numpy() for name in alone[0]}


def assert_parity(outputs, published, exact, nc):
    """The network is the published one, and `outputs` as near to its answer in float64 as FP32 comes on any processor.

    The first is said of the float64 answers, which no processor moves: within `LIMITS` of the published outputs.
    These are one FP32 rounding of them, ours are another, and a network may amplify both: yolov12n-turbo's scores at
    256x416 are 5.9e-5 off as published, and up to 1.0e-4 in ONNX Runtime, by the processor. Held to one another they
    may be 1.4e-4 apart, and both right. So ours are held to float64, within the limit or twice the published outputs'
    own error: of 150 inputs changed in the last bit none is further off in ONNX Runtime, three are in torch. Together
    with the first comparison, a wrong network cannot make its own limit larger than twice the plain one.
    """
    own = errors(published, exact, nc)
    assert_within(own, limits_of(own), "the published outputs")
    allowed = {key: max(limit, 2 * own[key]) for key, limit in limits_of(own).items()}
    assert_within(errors(outputs, exact, nc), allowed, "ours")


def errors(outputs, expected, nc):
    """Return the largest difference of each kind of value, {(output, kind): difference}."""
    assert outputs.keys() == expected.keys()
    worst = {}
    for name, exact in expected.items():
        assert outputs[name].shape == exact.shape
        apart = np.abs(outputs[name].astype(np.float64) - exact)
        for kind, rows in rows_of(name, exact, nc).items():
            worst[name, kind] = apart[:, rows].max()
    return worst


def rows_of(name, values, nc):
    """Return the rows of each kind of value that an output has."""
    rows = np.arange(values.shape[1])
    if name == "protos" or values.ndim == 2:
        return {"prototypes" if name == "protos" else "probabilities": rows}
    kinds, extra = {"boxes": rows[:4], "scores": rows[4 : 4 + nc]}, rows[4 + nc :]
    if len(extra) == 17 * 3:  # keypoints: x, y, visibility
        visible = (extra - extra[0]) % 3 == 2
        return {**kinds, "keypoints": extra[~visible], "visibilities": extra[visible]}
    return {**kinds, "coefficients": extra} if len(extra) else kinds


def limits_of(worst):
    """Return the plain limit of each entry."""
    return {key: LIMITS.get(key[1], SCORE) for key in worst}


def assert_within(worst, limits, whose):
    """No difference is beyond its limit; NaN is."""
    beyond = {key: (value, limits[key]) for key, value in worst.items() if not value <= limits[key]}
    assert not beyond, f"{whose}, from float64 (found, limit): {beyond}"
