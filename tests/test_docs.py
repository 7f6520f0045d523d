"""What the documents say must be there, and they may speak of nothing but the project."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [t for t in targets if not (document.parent / t).exists()] == []


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_commands_are_in_the_readme(command: str) -> None:
    assert f"`{command} " in (ROOT / "README.md").read_text()


def options_of(command: str) -> set[str]:
    """Return a command's options; of one that has commands of its own, also theirs."""
    command_of = import_module(SCRIPTS[command].split(":")[0]).COMMAND
    inner = [import_module(module).COMMAND for module, _ in getattr(command_of, "commands", {}).values()]
    own = [one.parser() for one in (command_of, *(inner if command != "y12" else ()))]
    return {"--help"} | {name for parser in own for param in parser.params for name in param.opts}


def test_options_in_the_documents_are_the_command_s() -> None:
    """Every option on a line of a document behind a command's name is one that the command has."""
    shown = [
        (document.name, command.replace("y12 ", "y12-"), option)
        for document in DOCUMENTS
        if document.name != "CHANGELOG.md"  # which also tells what is gone
        for command, rest in re.findall(r"\b(y12[- ][a-z]+)\b([^`|\n]*)", document.read_text())
        if command.replace("y12 ", "y12-") in SCRIPTS
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", rest)
    ]
    assert len(shown) > 40
    assert [found for found in shown if found[2] not in options_of(found[1])] == []


def messages() -> str:
    """Return every text in the product, with a mark for what is put into it."""
    texts = []
    for file in ROOT.glob("y12/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_lines_in_troubleshooting_are_the_product_s() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (`.+`) \|", text, re.MULTILINE)
    lines = [line for row in rows for line in re.findall(r"`([^`]+)`", row)]
    assert len(lines) >= 15
    said = messages()
    assert [line for line in lines if line not in said] == []


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for d in DOCUMENTS for t in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", d.read_text(), re.MULTILINE)}
    assert {a or b for a, b in named} <= targets


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(p.name[:4]) for p in DECISIONS.glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("record", sorted(DECISIONS.glob("0*.md")), ids=lambda p: p.name)
def test_a_decision_is_short_and_says_what_why_and_what_was_measured(record: Path) -> None:
    lines = record.read_text().splitlines()
    assert len(lines) <= 30
    assert lines[0].startswith(f"# {int(record.name[:4])}. ")
    parts = [found[1] for line in lines if (found := re.match(r"\*\*(\w+)\b[^*]*\*\*", line))]
    assert list(dict.fromkeys(parts)) == ["Decision", "Reason", "Figures"]
    assert f"\n- [{int(record.name[:4])}]({record.name}) " in (DECISIONS / "README.md").read_text()


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_help_names_every_option_with_words(command: str) -> None:
    module, function = SCRIPTS[command].split(":")
    code = f"import sys; from {module} import {function} as main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {command} ")
    sections = done.stdout.split("\n\n")
    rows = [row for section in sections for row in re.split(r"\n  (?=\S)", section) if row.startswith("-")]
    assert len(rows) > 3
    assert [row for row in rows if not re.search(r"\s\s\S", row)] == []
