"""A reader of Dockerfiles as plain as ours are."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
SCRIPTS = sorted((DOCKER / "scripts").glob("*.sh"))


@dataclass
class Stage:
    """One FROM: what it starts from, its name, and its instructions as (word, rest)."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == word]


def stages(path: Path) -> list[Stage]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for instruction in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not instruction.strip():
            continue
        word, _, rest = instruction.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].instructions.append((word, rest.strip()))
    return found


def lineage(stage: Stage, others: list[Stage]) -> list[Stage]:
    """Give a stage and those of this file that it starts from."""
    bases = [other for other in others if other.name == stage.base]
    return [stage, *(lineage(bases[0], others) if bases else [])]


def copied(stage: Stage) -> list[tuple[str, str]]:
    """Give (source, target) of each COPY from the build context."""
    found = []
    for rest in stage.all("COPY"):
        if not rest.startswith("--from"):
            *sources, target = rest.split()
            found += [(source, target) for source in sources]
    return found


def commands(stage: Stage) -> list[tuple[dict[str, str], list[str]]]:
    """Give each command of each RUN as its variables and its words."""
    found = []
    for command in (part for rest in stage.all("RUN") for part in rest.split("&&")):
        words = shlex.split(command)
        variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z][A-Z0-9_]*=", word))
        found.append((variables, words[len(variables) :]))
    return found
