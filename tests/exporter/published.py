"""The outputs that came with the published checkpoints, and how near ours must be."""

import numpy as np

BOX_PX, SCORE = 2e-2, 1e-4  # two right implementations differ by up to 3e-3 px and 3e-5
PROBABILITY = 1e-6  # a thousand classes: 1e-5 of a logit moves a probability of 1e-3 by 1e-8, one of 0.1 by 1e-6


def noise_of(h, w, batch=1):
    return np.random.Generator(np.random.PCG64(7)).random((batch, 3, h, w), dtype=np.float32)


def published_answers(path):
    """Give (images (1, 3, H, W), outputs by our names) for each input the file has outputs of."""
    data = np.load(path)
    if "input_bgr_u8" in data:
        rgb = data["input_bgr_u8"].reshape(640, 640, 3)[..., ::-1]
        inputs = {"": rgb.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    else:
        sizes = {key.split(".")[0] for key in data}
        inputs = {f"{size}.": noise_of(*map(int, size.split("x"))) for size in sorted(sizes)}
    names = {"pred": "output0", "prob": "output0", "proto": "protos"}
    return [
        (images, {ours: data[prefix + theirs] for theirs, ours in names.items() if prefix + theirs in data})
        for prefix, images in inputs.items()
    ]


def assert_parity(found, expected, nc):
    """Boxes and keypoints within 2e-2 px; scores, visibilities, mask coefficients and prototypes within 1e-4."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].shape == expected[name].shape
    if "protos" in expected:
        np.testing.assert_allclose(found["protos"], expected["protos"], rtol=0, atol=SCORE)
    ours, theirs = found["output0"], expected["output0"]
    if theirs.ndim == 2:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=PROBABILITY)
        return
    rows = theirs.shape[1]
    limits = np.full(rows, SCORE)
    limits[:4] = BOX_PX
    extra = np.arange(4 + nc, rows)
    if len(extra) == 17 * 3:  # keypoints: x, y, visibility
        limits[extra[(extra - extra[0]) % 3 != 2]] = BOX_PX
    worst = np.abs(ours - theirs).max(axis=(0, 2))
    assert (worst <= limits).all(), {i: float(worst[i]) for i in np.flatnonzero(worst > limits)}
