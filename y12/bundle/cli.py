"""y12-bundle: an artefact as a folder that other software serves."""

import sys
from collections.abc import Sequence

from y12.runtime.cli.app import run
from y12.runtime.cli.groups import CommandGroup

COMMANDS = {
    "triton": ("y12.bundle.triton.cli", "model repositories for Triton Inference Server"),
    "deepstream": ("y12.bundle.deepstream.cli", "what DeepStream needs to run a detector with NMS in its graph"),
    "web": ("y12.bundle.web.cli", "a page that runs it in the browser, for any host of files"),
}
COMMAND = CommandGroup("y12-bundle", "Write an artefact as a folder that other software serves.", COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Call the command that is named first, or list all, and give the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(COMMAND.parser(), "y12-bundle", arguments if set(arguments) - {"--"} else ["--help"])


if __name__ == "__main__":
    sys.exit(main())
