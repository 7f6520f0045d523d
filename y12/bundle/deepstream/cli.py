"""y12-bundle deepstream: a folder that deepstream-app runs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.common import put, say
from y12.runtime.cli.options import NMS, OUTPUT, number, option

RUN = "Where it runs"


@dataclass(frozen=True, kw_only=True)
class DeepStream(Options):
    """What can be asked of it."""

    least_mib: ClassVar[int] = 0

    artefact: Annotated[
        str,
        typer.Argument(
            metavar="ARTEFACT",
            show_default=False,
            help="a detector with NMS in its graph (y12-export --nms): an .onnx, or an engine of full TensorRT",
        ),
    ]
    output: Annotated[
        Path, option("--output", metavar="DIR", panel=OUTPUT, help="folder to write: a new one, or empty")
    ]
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="replace an earlier bundle of the same model in DIR")
    ] = False
    conf: Annotated[
        float | None,
        option(
            "--conf",
            "--conf-thres",
            parser=number,
            metavar="SCORE",
            panel=NMS,
            help="drop objects scored below this (default: the graph's own, which cannot be gone below)",
        ),
    ] = None
    sources: Annotated[
        list[str] | None,
        option(
            "--source",
            metavar="URI",
            panel=RUN,
            help="what to look at, such as file:///a.mp4 or rtsp://camera/stream; again for each further one "
            "(default: DeepStream's sample video)",
        ),
    ] = None
    parser_library: Annotated[
        str | None,
        option(
            "--parser-library",
            metavar="PATH",
            panel=RUN,
            help="the library with the parser, on the machine that runs it (default: packed: in the folder; "
            "split: DeepStream's own)",
        ),
    ] = None

    def run(self) -> int:
        """Write the folder, and say what is in it."""
        from y12.bundle.deepstream.make import CHECK, DeepStreamOptions, make_bundle

        options = DeepStreamOptions(self.conf, tuple(self.sources or ()), self.parser_library)
        files, notes = make_bundle(self.artefact, self.output, options, self.exist_ok)
        for note in notes:
            say(f"note: {note}")
        put(*(f"wrote        {path}" for path in files))
        put(
            f"next         {self.output / CHECK}, where DeepStream is; then deepstream-app -c deepstream_app_config.txt"
        )
        return 0


COMMAND = Command(
    "deepstream",
    "Write what DeepStream needs to run a detector.",
    DeepStream,
    completion=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
