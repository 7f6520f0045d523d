"""Hold source files against the stubs of one release of TensorRT, with mypy.

mypy takes `hasattr` for a promise, and checks what follows on either answer. Here each release is known, and so is the
answer: a first run looks each guard's attribute up, and in a second one the guards stand as True or False, so that
mypy leaves out what that release never reaches and knows what came with a name that was asked for.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUBS = Path(__file__).parent / "stubs"
RELEASES = tuple(sorted(path.name for path in STUBS.iterdir()))
GUARD = re.compile(r'hasattr\(([\w.]+), "(\w+)"\)')
LACKS = re.compile(r'has no attribute "(\w+)"')
# Of the installed packages none is read: numpy alone takes longer than all the rest, and `make check` reads it.
OPTIONS = (
    *("--config-file=", "--strict", "--no-warn-return-any", "--no-site-packages", "--ignore-missing-imports"),
    *("--follow-imports=silent", "--no-error-summary", f"--cache-dir={ROOT / '.mypy_cache' / 'tensorrt'}"),
)

Place = tuple[Path, int]  # a file and a line
Guards = frozenset[tuple[Place, str]]  # the attributes asked for, by where


@dataclass(frozen=True)
class Held:
    """Sources, held against one release: what does not fit, and the guards whose attribute it has not."""

    problems: Mapping[Place, str]
    lacking: Guards


def stub_of(release: str) -> str:
    return (STUBS / release / "tensorrt" / "__init__.pyi").read_text(encoding="utf-8")


def hold(files: Iterable[Path], stub: str, scratch: Path) -> Held:
    """Check `files` where TensorRT is what `stub` says; what only mypy reads is written below `scratch`."""
    package = scratch / "stubs" / "tensorrt" / "__init__.pyi"
    package.parent.mkdir(parents=True)
    package.write_text(stub + "".join(f"{name} = Any\n" for name in _classes_elsewhere(stub)))
    sources = {path: path.read_text(encoding="utf-8") for path in files}
    looked_up = _mypy({path: GUARD.sub(r"bool(\1.\2)", text) for path, text in sources.items()}, scratch)
    lacking = guards(sources) & {(place, found[1]) for place, text in looked_up for found in LACKS.finditer(text)}
    answered = {path: _answered(path, text, lacking) for path, text in sources.items()}
    return Held(dict(_mypy(answered, scratch)), lacking)


def guards(files: Iterable[Path]) -> Guards:
    """Every `hasattr` of `files`."""
    lines = ((path, n, line) for path in files for n, line in enumerate(path.read_text().splitlines(), 1))
    return frozenset(((path, n), name) for path, n, line in lines for _, name in GUARD.findall(line))


def _answered(path: Path, text: str, lacking: Guards) -> str:
    lines = enumerate(text.split("\n"), 1)
    return "\n".join(GUARD.sub(lambda m, n=n: str(((path, n), m[2]) not in lacking), line) for n, line in lines)


def _classes_elsewhere(stub: str) -> list[str]:
    """Classes that another release has: an annotation may name them, and there is no object of theirs to check."""
    classes = [set(re.findall(r"^class (\w+)", text, re.MULTILINE)) for text in (stub, *map(stub_of, RELEASES))]
    return sorted(set.union(*classes) - classes[0])


def _mypy(sources: Mapping[Path, str], scratch: Path) -> list[tuple[Place, str]]:
    """Run mypy on files that read otherwise than they do on disk: each error's place, and what it says."""
    shadows: list[str] = []
    for number, (path, text) in enumerate(sources.items()):
        (scratch / f"{number}.py").write_text(text, encoding="utf-8")
        shadows += ["--shadow-file", str(path), str(scratch / f"{number}.py")]
    command = [
        sys.executable,
        "-m",
        "mypy",
        *OPTIONS,
        *shadows,
        *map(str, sources),
        str(scratch / "stubs" / "tensorrt" / "__init__.pyi"),
    ]
    environment = {**os.environ, "MYPYPATH": str(scratch / "stubs")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = re.findall(r"^([^:\n]+):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == bool(found), done.stdout + done.stderr
    return [((ROOT / path, int(line)), text) for path, line, text in found]


def taken_on_trust(path: Path) -> Iterator[tuple[Place, str]]:
    """What mypy would not look into: names that are computed, arguments that are spread, objects of no class."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name(id="getattr" | "setattr" as name)):
                yield (path, node.lineno), f"{name}: write the attribute"
            case ast.Call(func=ast.Attribute(), args=args, keywords=keywords):
                if any(isinstance(a, ast.Starred) for a in args) or any(k.arg is None for k in keywords):
                    yield (path, node.lineno), "* or **: spell the arguments out"
            case ast.arg(annotation=said) | ast.AnnAssign(annotation=said) | ast.FunctionDef(returns=said):
                if said is not None and ast.unparse(said).strip("'") in ("Any", "ModuleType"):
                    yield (path, node.lineno), f"{ast.unparse(said)} hides what it is: name the class"
    for n, line in enumerate(text.splitlines(), 1):
        if "# type: ignore" in line:
            yield (path, n), "type: ignore"
        if line.count("hasattr(") != len(GUARD.findall(line)):
            yield (path, n), 'expected hasattr(object, "name")'
