"""What an export leaves on disk: all files or none, written to a hidden folder first, renamed into place at the end.

The hidden folder is locked for as long as its export lives. One that nobody has locked is of an export that was killed:
the next one finishes the renaming where that had begun, and removes it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from y12.errors import OptionsError, OutputError
from y12.exporter.engine.build_engine import BuiltEngine
from y12.exporter.export_config import ExportConfig
from y12.exporter.report.attestation import provenance_json
from y12.exporter.report.charts import curve_svg
from y12.exporter.report.page import page_from_report
from y12.exporter.report.pictures import Picture
from y12.exporter.report.provenance import Replaced, is_date_set, replaced_in
from y12.exporter.report.report import ExportReport
from y12.runtime.artefact.manifest import Manifest
from y12.text import visible

__all__ = [
    "ExportedArtefact",
    "Outputs",
    "files_of",
    "left_behind",
    "output_folder",
    "stem_of",
    "what_is_replaced",
    "write_files",
]


PREFIX = ".y12-"
REPLACED = "replaced"  # in the hidden folder: older files, while the new ones are moved into place
_LEFT = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")  # as tempfile names them


class Outputs:
    """Collects files for one folder.

    Args:
        folder: where they shall lie.
        staging: where they wait for `commit`, in the same file system.
    """

    def __init__(self, folder: Path, staging: Path) -> None:
        self._folder, self._staging = folder, staging
        self._names: list[str] = []

    @property
    def paths(self) -> list[str]:
        """Where the files will lie, in the order they were added."""
        return [self.path(name) for name in self._names]

    def path(self, name: str) -> str:
        """Return where a file of this name will lie."""
        return str(self._folder / name)

    def add(self, name: str, content: bytes) -> None:
        """Write a file to where it waits.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        try:
            (self._staging / name).write_bytes(content)
        except OSError as error:
            raise _refused(self._folder, error) from error
        self._names.append(name)

    def commit(self) -> None:
        """Move every file into place, over older ones of the same name.

        Raises:
            OutputError: one cannot be replaced.
        """
        for path in self.paths:
            if Path(path).is_dir():  # found before the first file is moved
                raise OutputError(
                    f"--output: expected a file or nothing at '{path}', found a folder; name another folder"
                )
        replaced = self._staging / REPLACED
        try:
            replaced.mkdir()
            # The artefact goes first and comes last: what lies there is never a new one with the files of an old one.
            for name in self._names:
                with suppress(FileNotFoundError):
                    os.replace(self._folder / name, replaced / name)
            for name in reversed(self._names):
                os.replace(self._staging / name, self._folder / name)
        except BaseException as error:
            self._undo(replaced)
            if isinstance(error, OSError):
                raise _refused(self._folder, error) from error
            raise

    def _undo(self, replaced: Path) -> None:
        """Take back what was moved, and put back what it replaced."""
        for name in self._names:
            with suppress(OSError):
                if not (self._staging / name).exists():
                    os.replace(self._folder / name, self._staging / name)
            with suppress(OSError):
                os.replace(replaced / name, self._folder / name)


@contextmanager
def output_folder(folder: Path) -> Iterator[Outputs]:
    """Open a folder for the outputs, made if need be; what was not committed is gone afterwards.

    It is tried before the work begins, so that an hour's work does not end at a read-only folder.

    Raises:
        OutputError: it cannot be made or written.
    """
    with ExitStack() as undo:
        try:
            for missing in [p for p in (*reversed(folder.parents), folder) if not p.exists()]:
                undo.callback(_remove_if_empty, missing)  # an export that failed leaves no empty folders either
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):  # nobody takes a new folder for one that was left, before it is locked
                _sweep(folder)
                staging = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
                undo.callback(shutil.rmtree, staging, ignore_errors=True)
                undo.enter_context(_locked(staging))
        except OSError as error:
            raise _refused(folder, error) from error
        yield Outputs(folder, staging)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with the process; say whether it was had.

    Where the file system knows no locks, it is had at once when it is waited for, and never otherwise.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield wait
        else:
            yield True
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what killed exports of this user left."""
    with suppress(OSError):  # a folder that cannot be listed can still be written to
        for left in folder.iterdir():
            if _LEFT.fullmatch(left.name):
                _sweep_one(left)


def _sweep_one(left: Path) -> None:
    with suppress(OSError):
        if left.is_symlink() or left.stat().st_uid != os.getuid():
            return
        with _locked(left, wait=False) as is_stale:
            if not is_stale:
                return
            if (left / REPLACED).is_dir():  # it had everything, and was putting it into place
                for file in [path for path in left.iterdir() if path.is_file()]:
                    os.replace(file, left.parent / file.name)
            shutil.rmtree(left, ignore_errors=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _refused(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"--output: cannot write to '{folder}' ({error.strerror}); name another folder")


@dataclass(frozen=True)
class ExportedArtefact:
    """What an export made, before it is written.

    Attributes:
        graph: the ONNX graph.
        built: the engine; None without one.
        manifest: of the artefact.
        pictures: for the report's page.
    """

    graph: onnx.ModelProto
    built: BuiltEngine | None
    manifest: Manifest
    pictures: tuple[Picture, ...]


def files_of(stem: str, *, engine: bool, curve: bool) -> list[str]:
    """Return the names of an export's files, the artefact asked for first."""
    endings = [".engine", ".engine.json"] * engine + [".onnx"] + [".curve.svg"] * curve
    return [stem + ending for ending in (*endings, ".report.html", ".report.json", ".provenance.json")]


def stem_of(config: ExportConfig, own_stem: str, *, given: bool) -> str:
    """Return what the artefacts' names begin with: `own_stem` is the source's, which is `given` where it is an .onnx.

    Raises:
        OptionsError: an artefact would take the place of the file it is made from.
    """
    suffix = ("" if config.precision == "fp32" else f"_{config.precision}") + "_cpu" * config.is_for_cpu
    stem = own_stem.removesuffix(suffix).removesuffix("_cpu" * config.is_for_cpu) + suffix
    own = config.output / f"{stem}.onnx"
    if given and isinstance(config.model, str) and own.resolve() == Path(config.model).resolve():
        raise OptionsError(f"--output: '{stem}.onnx' would overwrite the file it is made from; name another folder")
    return stem


def what_is_replaced(config: ExportConfig, stem: str) -> Replaced | None:
    """Return the export whose place this one is to take; None where there is none.

    Raises:
        OptionsError: it was verified, and what is to take its place is not to be.
    """
    names = files_of(stem, engine=config.format == "engine", curve=False)
    found = replaced_in(config.output, names)
    if found is not None and found.was_verified and config.verify is None and not config.overwrite:
        raise OptionsError(
            f"--no-verify: expected nothing that was verified at '{config.output / names[0]}', found "
            f"{visible(found, 120)}; name another --output, or add --overwrite"
        )
    return found


def left_behind(folder: Path, stem: str, written: Sequence[str]) -> list[str]:
    """Return a note where files of an earlier export of the same name stay beside those that are written."""
    known = files_of(stem, engine=True, curve=True)
    left = [name for name in known if name not in written and (folder / name).is_file()]
    if not left:
        return []
    return [
        f"of an earlier export, and not what this report tells of: {', '.join(left)} in '{folder}'; remove what is old"
    ]


def write_files(outputs: Outputs, stem: str, artefact: ExportedArtefact, report: ExportReport) -> ExportReport:
    """Write the artefact, its manifest, its report and where all of it is from; return the report, with SHA-256."""
    contents: dict[str, bytes] = {}
    if artefact.built is not None:
        contents[f"{stem}.engine"] = artefact.built.plan
        contents[f"{stem}.engine.json"] = artefact.manifest.to_json(indent=2).encode()
    contents[f"{stem}.onnx"] = artefact.graph.SerializeToString()
    if report.budget is not None:
        contents[f"{stem}.curve.svg"] = curve_svg(report.budget).encode()
    report = replace(report, sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    told = report.without_times if is_date_set() else report
    contents[f"{stem}.report.html"] = page_from_report(told, artefact.pictures).encode()
    contents[f"{stem}.report.json"] = told.to_json().encode()
    written = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    versions = {} if report.made is None else report.made.versions
    contents[f"{stem}.provenance.json"] = provenance_json(written, artefact.manifest, versions).encode()
    for name, content in contents.items():
        outputs.add(name, content)
    outputs.commit()
    return report
