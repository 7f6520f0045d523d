"""The design's own words: its model YAML as it stands, its rule of scaling, its parameters (docs/design.md)."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import y12
from tests.each import each
from y12.errors import ModelSpecError, OptionsError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.metadata import yaml_of_spec
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.model.build import detector_from_spec, seeded_detector
from y12.exporter.model.builders import hybrid_yaml
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.scaling import Ratios
from y12.exporter.model.spec import models_dir, spec_from_name
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions

DESIGN = Path(__file__).with_name("bitfalcon.yaml")  # its author's rows, unchanged
SCALES = {"n": (0.33, 0.25, 256), "s": (0.33, 0.50, 256), "m": (0.67, 0.75, 512), "l": (1.0, 1.0, 768)}
CHANNELS = [64, 128, 128, 256, 256, 512, 512, 768, 768, 768]
REPEATS = [1, 1, 3, 1, 6, 1, 6, 1, 3, 1]


def small(model, tmp_path, **changes):
    return ExportConfig(
        model,
        shapes=ShapeOptions(((64, 64),)),
        verify=VerifyOptions(max_images=1, allow_inconclusive=True),
        output=tmp_path,
        **changes,
    )


@pytest.mark.parametrize("scale", SCALES)
def test_its_rows_have_the_repeats_and_channels_of_its_formula(scale):
    depth, width, limit = SCALES[scale]
    spec = spec_from_name(str(DESIGN), scale=scale)
    backbone = spec.layers[: len(CHANNELS)]
    assert [row.channels for row in backbone] == [-(-min(int(c * width), limit) // 8) * 8 for c in CHANNELS]
    assert [row.repeats for row in backbone] == [max(int(n * depth), 1) for n in REPEATS]
    assert (spec.strides, spec.nc, spec.layers[-1].sources) == ((8, 16, 32), 2, (15, 11, 7))


def test_rows_that_go_nowhere_are_left_out_in_one_line_with_what_was_meant():
    spec = spec_from_name(str(DESIGN), scale="n")
    assert spec.notes[0] == (
        "bitfalcon.yaml: nothing reads rows 16 (AreaAttn), 17 (Conv), left out; "
        "BitDetect reads [15, 11, 7]: was [17, 13, 9] meant?"
    )
    assert (spec.unread, len(spec.layers)) == ((16, 17), 17)


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_file_has_its_rows_with_the_head_at_the_attended_maps(scale):
    data = yaml.safe_load(DESIGN.read_text())
    data["head"] = [[[17, 13, 9], *data["head"][0][1:]]]
    shipped = spec_from_name(f"bitfalcon-{scale}")
    assert spec_from_yaml(data, "design", shipped.name, scale=scale).layers == shipped.layers
    assert shipped.unread == ()


@pytest.mark.parametrize("scale", SCALES)
def test_a_parent_and_a_scale_are_the_file_of_that_scale(tmp_path, scale):
    shutil.copy(DESIGN, tmp_path)
    by_option = spec_from_name(str(tmp_path / "bitfalcon.yaml"), scale=scale)
    for name in (f"bitfalcon{scale}.yaml", f"bitfalcon-{scale}.yaml"):
        assert spec_from_name(str(tmp_path / name)) == by_option
    states = [seeded_detector(spec_from_name(str(tmp_path / f"bitfalcon{scale}.yaml"))).state_dict(), None]
    states[1] = seeded_detector(by_option).state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["bitfalconl.yaml", "bitfalcon-l.yaml"])
def test_the_file_itself_may_carry_the_scale_in_its_name(tmp_path, name):
    """As `model=yolov12l.yaml` does: the file has all scales, its name says which."""
    shutil.copy(DESIGN, tmp_path / name)
    spec = spec_from_name(str(tmp_path / name))
    assert (spec, spec.name) == (spec_from_name(str(DESIGN), scale="l"), "bitfalcon-l")
    shutil.copy(DESIGN, tmp_path / "model.yaml")
    with pytest.raises(ModelSpecError, match=r"model.yaml: which scale\?"):
        spec_from_name(str(tmp_path / "model.yaml"))


@pytest.mark.parametrize(("precision", "form"), [("fp32", "onnx"), ("fp16", "engine"), ("int8", "onnx")])
def test_it_is_exported_and_verified(tmp_path, precision, form):
    int8 = Int8Options(photos_dir(), limit=2) if precision == "int8" else None
    result = y12.export(small(str(DESIGN), tmp_path, scale="n", precision=precision, format=form, int8=int8))
    report = json.loads((tmp_path / f"{Path(result.artefact).stem}.report.json").read_text())
    assert any("was [17, 13, 9] meant?" in note for note in report["notes"])
    assert any(note.startswith("attention heads by default: row 12: 3 of 32 channels") for note in report["notes"])
    assert result.report.verification is not None
    if form == "engine":
        assert (result.report.engine.attentions_expected, result.report.engine.attentions_fused) == (1, 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("scale", SCALES)
def test_it_is_verified_in_int8_at_full_size(tmp_path, scale):
    """With two classes, hardly a random score of the larger scales passed the threshold that INT8 is judged at."""
    config = ExportConfig(
        str(DESIGN), scale=scale, format="engine", precision="int8", int8=Int8Options(photos_dir()), output=tmp_path
    )
    assert y12.export(config).report.verification.comparisons[0].verdict == "equal within tolerance"


def test_files_of_before_say_their_rule_and_rows_and_load(tmp_path):
    """A file written by y12 holds every row resolved; RELAN's stride stood in the second place once."""
    spec = spec_from_name("bitfalcon-n")
    detector = seeded_detector(spec)
    write_checkpoint(tmp_path / "now.safetensors", detector)
    assert detector_from_checkpoint(read_checkpoint(tmp_path / "now.safetensors")).spec.layers == spec.layers
    before = yaml.safe_load(yaml_of_spec(spec_from_name("yolov12n-lite")))
    for row in before["backbone"]:
        if row[2] in ("RELAN", "SepConv7x7"):
            stride = row[3][2] if row[2] == "RELAN" else row[3][1]
            row[3] = [row[3][0], stride]
    assert spec_from_yaml(before, "before", "yolov12n-lite").layers == spec_from_name("yolov12n-lite").layers


def test_lite_is_two_ratios():
    ratios = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0)}
    for scale, (depth, width) in ratios.items():
        assert (
            spec_from_name(f"yolov12{scale}-lite").layers
            == spec_from_name("yolov12-lite", ratios=Ratios(depth, width)).layers
        )
    built = y12.models.lite(num_classes=80, depth=0.33, width=0.50)
    assert isinstance(built, nn.Module)
    assert built.spec.layers == spec_from_name("yolov12s-lite").layers


@pytest.mark.parametrize("task", ["detect", "segment", "heatmap", "anchors"])
def test_the_hybrid_s_rows_are_the_shipped_ones_where_its_stages_are(task):
    spec = spec_from_yaml(hybrid_yaml((2, 2, 4, 2), 4, None), "hybrid", "x", scale="n", task=task)
    suffix = {"detect": "", "segment": "-seg"}.get(task, f"-{task}")
    assert spec.layers == spec_from_name(f"yolov12n-hybrid{suffix}").layers


@pytest.mark.parametrize(
    ("stages", "patch_size"), [((1, 1, 1, 1, 1), 2), ((2, 2, 4, 2), 4), ((1, 1, 1), 8), ([1, 2], 16), ([2], 32)]
)
def test_a_hybrid_of_any_patches_has_its_three_strides(stages, patch_size):
    spec = spec_from_yaml(hybrid_yaml(stages, patch_size, 4), "hybrid", "x", scale="n")
    assert (spec.layers[0].stride, spec.strides) == (patch_size, (8, 16, 32))
    blocks = [row.repeats for row in spec.layers if row.module == "TransformerStage"]
    assert blocks == [max(round(n * 0.5), 1) for n in stages]
    finer = [row.stride for row in spec.layers if row.module == "UpConv"]
    assert finer == {2: [], 4: [], 8: [], 16: [8], 32: [16, 8]}[patch_size]


def test_the_design_s_hybrid_learns_and_is_exported(tmp_path):
    """`TransformerBackbone(patch_size=16)`, `FPNPANNeck(num_heads=4, ...)`, `DetectionHead(anchor_free=True, ...)`."""
    network = y12.models.hybrid(
        stages=[1, 1], patch_size=16, num_heads=4, agg_method="attention", anchor_free=True, iou_loss="ciou"
    )
    torch.manual_seed(0)
    maps = network.train().maps(torch.randn(2, 3, 64, 64))
    sum((m * torch.randn(m.shape)).sum() for m in maps).backward()
    silent = [name for name, p in network.model[:-1].named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    result = y12.export(small(network, tmp_path, format="engine", precision="fp16"))
    assert network.training  # what is exported is a copy
    assert Path(result.artefact).name == "yolov12n-hybrid-p16_fp16.engine"
    assert result.report.engine.attentions_fused == result.report.engine.attentions_expected > 0


def test_heads_too_narrow_are_built_and_told_with_the_number_that_fuses(tmp_path):
    result = y12.export(small(y12.models.hybrid(num_heads=4), tmp_path, format="engine", precision="fp16"))
    (note,) = [note for note in result.report.notes if "heads of 8 channels" in note]
    assert note.endswith("(32 in 4) are not fused by TensorRT; num_heads 2 would be")
    assert note.startswith("row 1 (TransformerStage)")
    facts = result.report.engine
    assert facts.attentions_fused == facts.attentions_expected - 1


@pytest.mark.parametrize("scale", ["n", "s"])
def test_bitfalcon_in_python(scale):
    assert y12.models.bitfalcon(scale=scale).spec.layers == spec_from_name(f"bitfalcon-{scale}").layers


REFUSED = {
    "no such scale": (lambda: y12.models.bitfalcon("q"), "bitfalcon.yaml: unknown scale 'q'; known: n, s, m, l, x"),
    "ratio of 0": (lambda: y12.models.lite(80, 0.0), "--depth: expected a number above 0 and up to 8, found 0.0"),
    "ratio of 100": (
        lambda: y12.models.lite(80, 1.0, 100),
        "--width: expected a number above 0 and up to 8, found 100",
    ),
    "ratio a bool": (lambda: y12.models.lite(80, True), "--depth: expected a number above 0 and up to 8, found True"),
    "patches": (lambda: y12.models.hybrid(patch_size=12), "patch_size must be 2, 4, 8, 16, 32; found 12"),
    "patches a bool": (lambda: y12.models.hybrid(patch_size=True), "patch_size must be 2, 4, 8, 16, 32; found True"),
    "stages too few": (
        lambda: y12.models.hybrid(stages=[2, 2]),
        "stages must be 4 to 16 depths of 1 or more for a patch_size of 4 (strides 4 to 32); found [2, 2]",
    ),
    "stages no numbers": (lambda: y12.models.hybrid(stages=[2, 2, 4, True]), "depths of 1 or more"),
    "heads": (
        lambda: y12.models.hybrid(num_heads=5),
        "row 1: 'num_heads' must divide its 32 channels: one of 1, 2, 4, 8, 16, 32; found 5",
    ),
    "aggregation": (lambda: y12.models.hybrid(agg_method="mean"), "must be attention or concat or sum, found 'mean'"),
    "overlap": (lambda: y12.models.hybrid(iou_loss="iou"), "must be giou or diou or ciou, found 'iou'"),
    "anchors with masks": (
        lambda: y12.models.hybrid(anchor_free=False, task="segment"),
        "anchor_free must be True, False or 'heatmap', and True for task 'segment'; found False for 'segment'",
    ),
    "classes": (lambda: y12.models.lite(0), "nc must be a whole number from 1 to 100000, found 0"),
}


def test_refused_in_one_line():
    def check(case):
        build, reason = case
        with pytest.raises(ModelSpecError) as caught:
            build()
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)

    each(REFUSED.items(), check)


def test_another_network_than_y12_s_is_refused_by_export(tmp_path):
    with pytest.raises(OptionsError, match=r"expected a network of y12.models, .* found a Linear"):
        y12.export(ExportConfig(nn.Linear(2, 2), output=tmp_path))


def test_patches_that_do_not_divide_the_input(tmp_path):
    config = ExportConfig(y12.models.hybrid([1, 1], 16), shapes=ShapeOptions(((72, 72),)), verify=None, output=tmp_path)
    with pytest.raises(
        OptionsError, match=r"expected multiples of the stride 32 .* found 72; the nearest are 64 and 96"
    ):
        y12.export(config)


def test_a_published_network_s_variant_keeps_its_channels(tmp_path):
    text = (models_dir() / "yolov12.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    assert spec_from_name(str(tmp_path / "mine.yaml"), scale="m").layers == spec_from_name("yolov12m").layers
    detector_from_spec(spec_from_name(str(tmp_path / "mine.yaml"), scale="n"))
