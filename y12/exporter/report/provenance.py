"""When an export was made, how, with what, and in place of what: for the report, and for nothing in the artefact."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from y12.errors import OptionsError
from y12.text import is_text, shown, visible

__all__ = ["EPOCH_VARIABLE", "Made", "Replaced", "is_date_set", "made_now", "replaced_in"]

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch
_PACKAGES = ("y12", "torch", "onnx", "onnxsim", "onnxruntime", "onnxruntime-gpu", "numpy")
_LONGEST_REPORT = 64 << 20  # bytes; a report of some thousand layers has one megabyte
_LONGEST_VERDICT = 1000


@dataclass(frozen=True)
class Made:
    """How an export came about.

    Attributes:
        date: in UTC, such as "2026-11-30T15:36:55Z"; that of SOURCE_DATE_EPOCH where it is set.
        command: the command line as it was given, quoted for a shell; empty where Python asked for the export.
        versions: of Python and of the packages that took part, by name.
    """

    date: str
    command: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Replaced:
    """An export whose place another one takes.

    Attributes:
        verdict: on it, as its report has it; "unknown" where it has no report that can be read.
        date: of it; empty where its report has none.
    """

    verdict: str
    date: str = ""

    @property
    def was_verified(self) -> bool:
        """Whether something was proved of it."""
        return self.verdict.startswith("verified")

    def __str__(self) -> str:
        """Return it in words."""
        return f"an export {f'of {self.date}' if self.date else 'without a date'}: {self.verdict}"


def made_now(command: str) -> Made:
    """Return how an export that begins now comes about.

    Raises:
        OptionsError: SOURCE_DATE_EPOCH is set to what is no time.
    """
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Made(_date(), command, versions)


def is_date_set() -> bool:
    """Return whether the same export is to give the same report, byte for byte: how long it took is left out then."""
    return bool(os.environ.get(EPOCH_VARIABLE))


def _date() -> str:
    text = os.environ.get(EPOCH_VARIABLE, "")
    try:
        moment = datetime.fromtimestamp(int(text), UTC) if text else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise OptionsError(
            f"{EPOCH_VARIABLE}: expected seconds since 1970, found {shown(text)}; set it right, or unset it"
        ) from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def replaced_in(folder: Path, names: Sequence[str]) -> Replaced | None:
    """Return what lies where an export is to be written; None where nothing does.

    Args:
        folder: to write to.
        names: of the files to write, one of which ends in ".report.json".
    """
    if not any((folder / name).is_file() for name in names):
        return None
    report = next(folder / name for name in names if name.endswith(".report.json"))
    try:
        if report.stat().st_size > _LONGEST_REPORT:
            return Replaced("unknown")
        data = json.loads(report.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Replaced("unknown")
    verdict = data.get("verdict") if isinstance(data, dict) else None
    if not is_text(verdict):
        return Replaced("unknown")
    made = data.get("made")
    date = made.get("date") if isinstance(made, dict) else None
    return Replaced(visible(verdict, _LONGEST_VERDICT), visible(date, 40) if is_text(date) else "")
