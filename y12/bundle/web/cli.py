"""y12-bundle web: a page that runs the model in the browser, as a folder for any host of files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from y12.runtime.cli.app import Command, Options, main_of
from y12.runtime.cli.common import put
from y12.runtime.cli.options import OUTPUT, option

PAGE = "The page"


@dataclass(frozen=True, kw_only=True)
class Web(Options):
    """What can be asked of y12-bundle web."""

    least_mib: ClassVar[int] = 0

    artefact: Annotated[
        str, typer.Argument(metavar="ARTEFACT", show_default=False, help="an .onnx made by y12-export --nms")
    ]
    output: Annotated[Path, option("--output", metavar="DIR", panel=OUTPUT, help="folder to write: new, or empty")]
    exist_ok: Annotated[
        bool, option("--exist-ok", panel=OUTPUT, help="replace an earlier bundle of the same model in DIR")
    ] = False
    webgpu: Annotated[
        bool,
        option(
            "--webgpu",
            panel=PAGE,
            help="let the page run the model on a GPU too, where the browser has one (27 MB more)",
        ),
    ] = False
    onnxruntime_web: Annotated[
        Path | None,
        option(
            "--onnxruntime-web",
            metavar="FILE.tgz",
            panel=PAGE,
            help="npm's package of ONNX Runtime Web, of the version that y12 knows (default: from the user's cache, or "
            "from registry.npmjs.org, or where $npm_config_registry says)",
        ),
    ] = None

    def run(self) -> int:
        """Write the folder."""
        from y12.bundle.web.write import write_web

        names = write_web(self.artefact, self.output, self.onnxruntime_web, webgpu=self.webgpu, exist_ok=self.exist_ok)
        put(f"wrote {len(names)} files to {self.output}: README.md in it says how to host them")
        return 0


COMMAND = Command(
    "web",
    "Write an .onnx that ends in NMS (y12-export --nms) as a page that runs it in the browser.",
    Web,
    completion=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
