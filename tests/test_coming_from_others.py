"""The page for those who come from other tools names what there is."""

import re
from pathlib import Path

from y12.runtime.cli.infer import COMMAND
from y12.runtime.results.detections import Detections
from y12.runtime.session import Runtime

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "coming-from-others.md").read_text()
OPTIONS = {name for param in COMMAND.parser().params for name in param.opts}
NOT_INFERS = {"--save-json"}  # of y12-val


def tables():
    """Yield the second and third column of each row, which speak of y12."""
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield " ".join(line.strip("|").split(" | ")[1:])


def test_options_are_those_of_y12_infer():
    named = {
        option
        for text in (*tables(), PAGE.split("## Ultralytics")[0])
        for option in re.findall(r"--[a-z][a-z-]+", text)
    }
    assert len(named) > 20
    assert named - NOT_INFERS <= OPTIONS
    own = {"--help", "--version", "--install-completion", "--show-completion", "--conf-thres", "--iou-thres"}
    of_y12 = {"--recursive", "--task", "--timeout", "--keep", "--shard", "--resume"}  # which other tools have not
    of_y12 |= {"--reduced-decode", "--sha256", "--offline", "--plain-http", "--max-download"}
    assert OPTIONS - own - of_y12 - {"artefact", "sources"} == named - NOT_INFERS  # and none was forgotten


def test_attributes_are_there():
    found = Detections.empty()
    named = {name for text in tables() for name in re.findall(r"\bfound\.([a-z_]+)", text)}
    assert len(named) > 20
    assert [name for name in named if not hasattr(found, name)] == []
    assert {name for text in tables() for name in re.findall(r"\brt\.([a-z_]+)", text)} == {"timings"}
    assert "self.timings" in Path(Runtime.__init__.__code__.co_filename).read_text()


def test_the_readme_and_the_results_lead_there():
    for document in ("README.md", "docs/results.md", "docs/deployment.md"):
        assert "coming-from-others.md" in (ROOT / document).read_text()
