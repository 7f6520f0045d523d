"""Command lines that the documents show, as somebody would copy them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_OURS = re.compile(r"(y12(-\w+)?|python|make)$")
# What the lines of other programs begin with, and why no test here runs them.
ELSEWHERE = {
    "docker": "a daemon",
    "docker/build.sh": "a daemon",
    "sudo": "a daemon",
    "docker/scripts/install_packages.sh": "tests/docker runs what it does",
    "docker/scripts/install_y12.sh": "tests/docker runs what it does",
    "docker/scripts/build_kernels.sh": "tests/docker runs what it does",
    "export": "sets a variable for docker",
    "trtexec": "NVIDIA's, and a GPU",
    "tensorrt_rtx": "NVIDIA's, and a GPU",
    "cmake": "NVIDIA's headers",
    "ffmpeg": "for what cmake built",
    "build/detect": "built by cmake",
}


@dataclass(frozen=True)
class Line:
    """One command line of a document.

    Attributes:
        document: where it stands, such as "docs/int8.md".
        words: as a shell splits them, without variables set before.
    """

    document: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document}: {shlex.join(self.words)}"


def command_lines() -> list[Line]:
    """Return every line of a block that a shell would run, of whatever program."""
    return [
        Line(document.relative_to(ROOT).as_posix(), words)
        for document in DOCUMENTS
        for language, block in _BLOCK.findall(document.read_text())
        for words in _lines(language, block)
    ]


def python_blocks() -> dict[str, list[str]]:
    """Return the blocks of Python in each document that has any, in their order."""
    found = {
        document.relative_to(ROOT).as_posix(): [block for language, block in blocks if language == "python"]
        for document in DOCUMENTS
        if (blocks := _BLOCK.findall(document.read_text()))
    }
    return {document: blocks for document, blocks in found.items() if blocks}


def ours(lines: list[Line]) -> list[Line]:
    """Return those of y12, of Python and of make."""
    return [line for line in lines if _OURS.match(line.words[0])]


def _lines(language: str, block: str) -> list[tuple[str, ...]]:
    lines = block.replace("\\\n", " ").splitlines()
    if language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    elif language not in ("", "sh", "bash"):
        return []
    split = [_words(line) for line in lines]
    return [words for words in split if words and (_OURS.match(words[0]) or words[0] in ELSEWHERE)]


def _words(line: str) -> tuple[str, ...]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a drawing, no command
        return ()
    while words and re.match(r"[A-Z][A-Z0-9_]*=", words[0]):
        del words[0]
    return tuple(words)
