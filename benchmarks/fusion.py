"""Which attentions the FP16 engines fuse, of every task and scale: `python benchmarks/fusion.py > docs/fusion.md`.

Each engine is a real export of a seeded network, as `y12-export NAME --format engine --half --no-verify` makes it.
Progress goes to stderr; the exit code is 1 where an attention is not fused or a convolution is not FP16.
"""

import contextlib
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.export_config import ExportConfig
from y12.exporter.export_pipeline import export

SCALES = "nsmlx"
ONE_SCALE = ("yolo26", "yolov10")  # of these y12 knows scale n alone; they are exported end to end
NETWORKS = (  # "*" is the scale
    *(f"yolov12*{task}" for task in ("", "-seg", "-pose", "-obb", "-cls", "-multitask", "-p6", "-p6-seg")),
    *(f"yolov12*-v1{task}" for task in ("", "-seg", "-pose", "-obb", "-cls")),
    *(f"yolo11*{task}" for task in ("", "-seg", "-pose", "-obb")),
    *(f"yolov8*{task}" for task in ("", "-seg", "-pose", "-obb")),
    "yolo26*",
    "yolo26*-seg",
    "yolov10*",
)


def facts_of(name: str) -> tuple[EngineFacts, str]:
    """Export one network and give what its engine is, and what built it."""
    with tempfile.TemporaryDirectory() as folder:
        config = ExportConfig(
            name, random_weights=True, format="engine", precision="fp16", verify=None, output=Path(folder)
        )
        report = export(config, lambda _stage: contextlib.nullcontext()).report
    assert report.engine is not None
    return report.engine, report.builder


def is_right(facts: EngineFacts) -> bool:
    """Return whether everything that should be fused is, and every convolution computes in FP16."""
    return facts.attentions_fused == facts.attentions_expected and set(facts.convolutions_by_precision) == {"fp16"}


def main() -> int:
    """Print the table as Markdown and give the exit code."""
    rows, wrong, builders = [], [], set()
    for network in NETWORKS:
        cells = []
        for scale in SCALES:
            name = network.replace("*", scale)
            if scale != "n" and network.startswith(ONE_SCALE):
                cells.append("")
                continue
            started = time.perf_counter()
            facts, builder = facts_of(name)
            builders.add(builder)
            if not is_right(facts):
                wrong.append(name)
            cells.append(f"{facts.attentions_fused} of {facts.attentions_expected}, {facts.kernels}")
            print(f"{name}: {cells[-1]} ({time.perf_counter() - started:.0f} s)", file=sys.stderr, flush=True)
        rows.append(f"| {network} | {' | '.join(cells)} |")
    built = f"{', '.join(sorted(builders))}, y12 {metadata.version('y12')}"
    print(f"""# Fused attention
`python benchmarks/fusion.py` (about half an hour on one core): softmax attentions that are one fused kernel, of all
there are, and the kernels of the engine; FP16, 640x640 (classifiers 224x224), batch 1,
{built}. Every convolution of every engine computes in FP16{"" if not wrong else ", but see below"}.
YOLOv8 has no attention; YOLO26 and YOLOv10 are exported end to end. yolov12-lite, bitfalcon and yolov12-hybrid have the
same figures on [their pages](models).

| network | {" | ".join(SCALES)} |
| --- |{" --- |" * len(SCALES)}""")
    print("\n".join(rows))
    if wrong:
        print(f"\nNot as they should be: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
