"""Ask what is known against the pinned packages (pip-audit), or say that nobody could be asked.

Exit code 0: asked, and nothing is known; 1: something is; 3: no source of advisories answered.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from resolve import PINS

SOURCES = ("osv", "pypi")


def pins(files: tuple[Path, ...]) -> list[str]:
    """Return the lines of pins of some files."""
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if re.match(r"[\w.-]+==", line)]


@dataclass(frozen=True)
class Answer:
    """What a source told.

    Attributes:
        known: a line for each advisory.
        passed_over: the packages that it told nothing of.
        asked: how many packages it told of.
        why_not: where it did not answer at all, why.
    """

    known: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    asked: int = 0
    why_not: str = ""


def ask(source: str, requirements: Path, timeout: int) -> Answer:
    """Ask one source; what is installed here is not looked at."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", source, "--timeout", str(timeout), "--progress-spinner", "off"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    return read(done.stdout, done.stderr)


def read(output: str, errors: str) -> Answer:
    """Return what pip-audit's output comes to.

    Where a source answers nothing, pip-audit either ends with an error, or passes over every package and says that
    nothing is known: both are no answer.
    """
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        lines = [line for line in errors.splitlines() if line.strip()]
        return Answer(why_not=re.sub(r"\s+", " ", lines[-1])[:160] if lines else "it said nothing")
    passed_over = tuple(package["name"] for package in packages if "skip_reason" in package)
    if len(passed_over) == len(packages):
        return Answer(passed_over=passed_over, why_not=f"it knows none of {len(packages)} packages")
    known = tuple(
        f"{package['name']}=={package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
        for package in packages
        for one in package.get("vulns", ())
    )
    return Answer(known, passed_over, len(packages) - len(passed_over))


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


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
            answer = ask(source, requirements, asked.timeout)
            if answer.why_not:
                say(f"audit: {source} did not answer: {answer.why_not}")
                continue
            for line in answer.known:
                say(line)
            untold = f"; nothing was told of {', '.join(answer.passed_over)}" if answer.passed_over else ""
            say(f"audit: {source} told of {answer.asked} packages: {len(answer.known)} advisories{untold}")
            return 1 if answer.known else 0
    say(f"audit: no source of advisories could be asked, so that nothing is known of {len(lines)} pins")
    return 3


if __name__ == "__main__":
    sys.exit(main())
