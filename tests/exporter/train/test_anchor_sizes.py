"""Anchors that the images of a run could not hold are refused before its first step."""

from pathlib import Path

import pytest
import yaml

from y12.errors import OptionsError
from y12.exporter.train.datasets import DataChoice
from y12.exporter.train.examples.options import UNCHANGED
from y12.exporter.train.initial import NetworkChoice
from y12.exporter.train.options import TuneOptions
from y12.exporter.train.scenes.write import write_shapes
from y12.exporter.train.tune import Tune, tune


def test_training_at_a_size_smaller_than_an_anchor_is_refused(tmp_path: Path) -> None:
    convs = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(3)]
    head = [[[2], 1, "AnchorDetect", ["nc", [[[30, 40], [65, 40]]]]]]
    data = {"nc": 10, "scales": {"n": [1.0, 1.0, 64]}, "backbone": convs, "head": head}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    write_shapes(tmp_path / "scenes", seed=5, count=2, side=96)
    job = Tune(
        DataChoice(tmp_path / "scenes" / "data.yaml", augment=UNCHANGED),
        tmp_path / "run",
        network=NetworkChoice(str(tmp_path / "mine.yaml")),
        imgsz=64,
        options=TuneOptions(epochs=1, batch=1, accelerator="cpu"),
    )
    with pytest.raises(OptionsError, match=r"the image's 64 x 64 pixels, found 1 of level 0 \(65 x 40\); take a"):
        tune(job, print, lambda *_: None)
    assert not list((tmp_path / "run").glob("*.safetensors"))
