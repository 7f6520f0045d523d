"""The figures and diagrams on the pages of single networks: `python benchmarks/architectures.py` writes both.

Each page in docs/models has its table between two marks; beside it lies the diagram of scale n. Kernels are those of
an FP16 engine of TensorRT-RTX, built from seeded weights as `y12-export NAME --format engine --half --no-verify` does.
Name pages (`yolov12-lite`) to write only those; --no-engines keeps the table and writes the diagrams only.
"""

import argparse
import contextlib
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from benchmarks.diagram import diagram_of
from y12.exporter.export_config import ExportConfig
from y12.exporter.export_pipeline import export
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.spec import shipped_yaml, spec_from_name
from y12.exporter.trace.deploy import deploy_from_detector

SCALES, SIDE = "nsmlx", 640
DOCS = Path(__file__).resolve().parents[1] / "docs" / "models"
BEGIN, END = "<!-- figures: written by benchmarks/architectures.py -->", "<!-- end of figures -->"
RAW = " --no-end2end"
PAGES = {  # each page's networks, which has the name of their file; "*" is the scale
    "yolov12-lite": ("yolov12*-lite", "yolov12*-lite-anchors"),
    "bitfalcon": ("bitfalcon-*",),
    "yolov12-hybrid": (
        "yolov12*-hybrid",
        "yolov12*-hybrid-seg",
        "yolov12*-hybrid-heatmap",
        "yolov12*-hybrid-anchors",
    ),
    "yolo26": ("yolo26*", f"yolo26*{RAW}", "yolo26*-seg", f"yolo26*-seg{RAW}"),
    "yolov10": ("yolov10*", f"yolov10*{RAW}"),
}


def size_of(spec: ModelSpec) -> tuple[int, float]:
    """Return the parameters of a network and the floating-point operations of an image, two for a multiplication.

    Counted are convolutions and matrix products of the exported form at 640x640, in thousand millions.
    """
    with torch.device("meta"):
        detector = detector_from_spec(spec)
        parameters = sum(p.numel() for p in detector.parameters())
        with FlopCounterMode(display=False) as counter:
            deploy_from_detector(detector)(torch.zeros(1, 3, SIDE, SIDE))
    return parameters, counter.get_total_flops() / 1e9


def row_of(name: str) -> str:
    """Return a network's row of the table; builds its engine."""
    model = name.removesuffix(RAW)
    parameters, flops = size_of(spec_from_name(model))
    with tempfile.TemporaryDirectory() as folder:
        end2end = False if name.endswith(RAW) else None
        config = ExportConfig(
            model,
            random_weights=True,
            format="engine",
            precision="fp16",
            end2end=end2end,
            verify=None,
            output=Path(folder),
        )
        facts = export(config, lambda _stage: contextlib.nullcontext()).report.engine
    assert facts is not None
    fused = f"{facts.attentions_fused} of {facts.attentions_expected}"
    halves = set(facts.convolutions_by_precision) == {"fp16"}
    precision = "all" if halves else str(dict(facts.convolutions_by_precision))
    row = f"| {name} | {parameters / 1e6:.2f} | {flops:.1f} | {facts.kernels} | {fused} | {precision} |"
    print(row, file=sys.stderr, flush=True)
    return row


def rows_of(name: str) -> str:
    """Return a network's channels, and repeats where there are several, row by row."""
    joins = ("Concat", "nn.Upsample")
    layers = [row for row in spec_from_name(name).layers if row.channels and row.module not in joins]
    cells = (f"{row.index}: {row.channels}{f' x{row.repeats}' if row.repeats > 1 else ''}" for row in layers)
    return f"| {name} | {', '.join(cells)} |"


def write_table(page: Path, names: list[str]) -> None:
    """Put new tables between the page's marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = "\n".join(row_of(name) for name in names)
    head = "| network | parameters, millions | GFLOPs | kernels | attentions fused | convolutions in FP16 |"
    table = f"{head}\n| --- | --- | --- | --- | --- | --- |\n{rows}"
    scales = [name for name in names if name.count("-") == names[0].count("-") and not name.endswith(RAW)]
    widths = "\n".join(rows_of(name) for name in scales)
    table += f"\n\nChannels of each row, and how often it is repeated:\n\n| network | rows |\n| --- | --- |\n{widths}"
    said = f"One image of {SIDE}x{SIDE} pixels; 80 classes, bitfalcon 2. y12 {metadata.version('y12')}, TensorRT-RTX "
    said += f"{metadata.version('tensorrt-rtx-cu13')}."
    page.write_text(f"{before}{BEGIN}\n{said}\n\n{table}\n{END}{after}")


def main() -> None:
    """Write the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", choices=[[], *PAGES], default=[])
    parser.add_argument("--no-engines", action="store_true")
    args = parser.parse_args()
    for page in args.pages or PAGES:
        networks = PAGES[page]
        (DOCS / f"{page}.svg").write_text(diagram_of(spec_from_name(networks[0].replace("*", "n"))))
        if not args.no_engines:
            scales = [scale for scale in SCALES if scale in shipped_yaml(page)["scales"]]
            names = [network.replace("*", scale) for network in networks for scale in scales]
            write_table(DOCS / f"{page}.md", names)


if __name__ == "__main__":
    main()
