"""Ask what is known against the pinned packages (pip-audit), or say that nobody could be asked.

Exit code 0: asked, and nothing is known; 1: something is; 3: no source of advisories answered.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from resolve import PINS

SOURCES = ("osv", "pypi")


def pins(files: tuple[Path, ...]) -> list[str]:
    """Return the lines of pins of some files."""
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if re.match(r"[\w.-]+==", line)]


def ask(source: str, requirements: Path, timeout: int) -> subprocess.CompletedProcess[str]:
    """Ask one source; what is installed here is not looked at."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", source, "--timeout", str(timeout), "--progress-spinner", "off"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answered(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether a source told anything: pip-audit also ends with 1 where it could not ask."""
    return done.returncode == 0 or "known vulnerabilit" in done.stderr


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return in a few words why a source told nothing."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[-1])[:160] if lines else f"exit code {done.returncode}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", nargs="+", default=SOURCES, choices=SOURCES, help="asked in turn (default: all)")
    parser.add_argument("--timeout", type=int, default=15, help="seconds for an answer (default: %(default)s)")
    asked = parser.parse_args()
    lines = pins(PINS)
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "pins.txt")
        requirements.write_text("\n".join(lines) + "\n")
        for source in asked.source:
            done = ask(source, requirements, asked.timeout)
            if answered(done):
                sys.stdout.write(
                    f"{done.stdout}audit: {source} was asked of {len(lines)} pins: {done.stderr.strip()}\n"
                )
                return done.returncode
            sys.stdout.write(f"audit: {source} did not answer: {reason(done)}\n")
    sys.stdout.write(f"audit: no source of advisories could be asked, so that nothing is known of {len(lines)} pins\n")
    return 3


if __name__ == "__main__":
    sys.exit(main())
