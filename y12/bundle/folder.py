"""A bundle on disk: a folder that is written whole or not at all, and never over what somebody else has put there."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from y12.errors import OutputError
from y12.files import first_of
from y12.text import shown

__all__ = ["CONTENTS", "write_folder"]

CONTENTS = "bundle.json"  # in each bundle: of which kind and model it is, and its files
_MAX_BYTES = 4 << 20  # of it

Content = bytes | Path  # of a file: what it holds, or where that lies


def write_folder(folder: Path, kind: str, model: str, files: Mapping[str, Content], exist_ok: bool = False) -> None:
    """Write a bundle: beside its place first, then renamed into it.

    Args:
        folder: where; made, with those above it.
        kind: of the bundle, such as "triton".
        model: its name.
        files: by their paths inside it, such as "python/model/1/model.py".
        exist_ok: put it in the place of an earlier bundle of this kind and model, which is gone then.

    Raises:
        OutputError: there is something else; or it cannot be written.
    """
    said = {"kind": kind, "model": model, "files": sorted(files)}
    try:
        _check_place(folder, said, exist_ok)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".y12-bundle-", dir=folder.parent))
        try:
            _write(staging / "new", {**files, CONTENTS: json.dumps(said, indent=2).encode() + b"\n"})
            _put_in_place(staging / "new", folder, staging / "old")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"--output: cannot write to '{folder}' ({reason}); name another folder") from error


def _check_place(folder: Path, said: Mapping[str, object], exist_ok: bool) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"--output: expected a folder or nothing at '{folder}', found a file or a link; name another")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not exist_ok:
        raise OutputError(
            f"--output: expected an empty folder or nothing at '{folder}', found files; name another folder, or add "
            "--exist-ok to replace an earlier bundle"
        )
    before = _contents(folder)
    for key in ("kind", "model"):
        if before.get(key) != said[key]:
            raise OutputError(
                f"--output: expected a bundle of the {key} {shown(said[key])} at '{folder}', found "
                f"{shown(before.get(key)) if before else f'no {CONTENTS}, so none of y12-bundle'}; name another folder"
            )
    files = before.get("files")
    own = {CONTENTS, *(files if isinstance(files, list) else ())}
    there = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts
    )
    if others := [name for name in there if name not in own]:
        raise OutputError(
            f"--output: expected what an earlier bundle wrote at '{folder}', found {first_of(others)} too; "
            "move what is yours, or name another folder"
        )


def _contents(folder: Path) -> dict[str, object]:
    """Return what the bundle in a folder says of itself; nothing where it says nothing that can be read."""
    path = folder / CONTENTS
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: Path, files: Mapping[str, Content]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
        if path.suffix == ".sh":
            path.chmod(path.stat().st_mode | 0o111)


def _put_in_place(made: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        os.rename(made, folder)
        return
    os.rename(folder, old)
    try:
        os.rename(made, folder)
    except BaseException:
        os.rename(old, folder)
        raise
