"""`.github` and what lies beside it: jobs of make targets, actions by hash, least rights."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
BIN = Path(sys.executable).parent
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / "fault.yml", GITHUB / "ISSUE_TEMPLATE" / "wish.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
}


def problems(text):
    """What a workflow has that none of ours may have."""
    workflow = yaml.safe_load(text)
    found = [line.strip() for line in text.splitlines() if "uses:" in line and not _pinned(line)]
    if workflow["permissions"] != {}:
        found.append(f"permissions of all jobs: {workflow['permissions']}")
    for name, job in workflow["jobs"].items():
        found += [f"{name} has no {key}" for key in ("permissions", "timeout-minutes") if key not in job]
        for step in job["steps"]:
            if "run" in step:
                found += [f"{name}: {step['run']}" for _ in [0] if not _is_make(step["run"])]
            if "checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
                found.append(f"{name}: keeps its credentials")
    return found


def _pinned(line):
    return re.search(r"uses: [\w-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)


def _is_make(command):
    program, *words = command.split()
    asked = [word for word in words if "=" not in word]
    return program == "make" and bool(asked) and set(asked) <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_is_make_targets_actions_are_pinned_and_rights_are_few(path):
    assert problems(path.read_text()) == []


PLANTED = [  # (what of checks.yml is written otherwise, how, what is then found)
    (r"@[0-9a-f]{40} # v7.0.1", "@v7", "- uses: actions/checkout@v7"),
    (r" # v7.0.1", "", "- uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"),
    (r"permissions: \{\}", "permissions: write-all", "permissions of all jobs: write-all"),
    (r"run: make docs", "run: mkdocs build", "docs: mkdocs build PYTHON=python"),
    (r"run: make docs", "run: make dosc", "docs: make dosc PYTHON=python"),
    (r"persist-credentials: false", "persist-credentials: true", "check: keeps its credentials"),
    (r"    timeout-minutes: 90\n", "", "test has no timeout-minutes"),
]


@pytest.mark.parametrize(("pattern", "written", "found"), PLANTED)
def test_a_planted_fault_is_found(pattern, written, found):
    text, count = re.subn(pattern, written, (GITHUB / "workflows" / "checks.yml").read_text(), count=1)
    assert count == 1
    assert problems(text) == [found]


def test_only_the_job_that_publishes_may_say_who_it_is_and_it_runs_no_code_of_ours():
    rights = {
        job: rights
        for path in WORKFLOWS
        for job, settings in yaml.safe_load(path.read_text())["jobs"].items()
        if (rights := settings["permissions"]) != {"contents": "read"}
    }
    assert rights == {"publish": {"id-token": "write", "attestations": "write"}}
    publish = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())["jobs"]["publish"]
    assert publish["environment"]["name"] == "pypi"
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]


def test_each_python_that_resolves_is_tested():
    pythons = re.search(r"^PYTHONS = \((.+)\)$", (ROOT / "scripts" / "resolve.py").read_text(), re.MULTILINE)[1]
    job = yaml.safe_load((GITHUB / "workflows" / "checks.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == re.findall(r"[\d.]+", pythons)


def zizmor(folder):
    return subprocess.run(
        [BIN / "zizmor", "--offline", "--quiet", "--no-progress", "--persona", "pedantic", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_zizmor_finds_nothing_and_finds_what_is_planted(tmp_path):
    done = zizmor(GITHUB)
    assert done.returncode == 0, done.stdout
    planted = tmp_path / ".github"
    shutil.copytree(GITHUB, planted)
    release = planted / "workflows" / "release.yml"
    release.write_text(release.read_text().replace('"${GITHUB_REF_NAME#v}"', "${{ github.ref_name }}"))
    done = zizmor(planted)
    assert done.returncode != 0
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas_hold_and_are_the_ones_of_make_check(schema, tmp_path):
    def check(paths):
        command = [BIN / "check-jsonschema", "--quiet", "--builtin-schema", f"vendor.{schema}", *paths]
        return subprocess.run(command, capture_output=True, text=True, check=False).returncode

    assert check(SCHEMAS[schema]) == 0
    assert f"$(SCHEMA).{schema} " in (ROOT / "Makefile").read_text()
    planted = tmp_path / SCHEMAS[schema][0].name
    shutil.copy(SCHEMAS[schema][0], planted)
    planted.write_text(re.sub(r"^(blank_issues_enabled|version|jobs|body|authors):", "\\1-: 0\n\\1s-:",
                              planted.read_text(), flags=re.MULTILINE))  # fmt: skip
    assert check([planted]) != 0


def test_actionlint_finds_nothing():
    found = shutil.which("actionlint", path=str(ROOT / ".venv-actionlint" / "bin")) or shutil.which("actionlint")
    if found is None:
        pytest.skip("actionlint is not here: make actionlint fetches it from GitHub")
    done = subprocess.run([found, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_report_of_a_fault_asks_for_what_the_commands_tell():
    form = (GITHUB / "ISSUE_TEMPLATE" / "fault.yml").read_text()
    for command in ("y12 --version --verbose", "y12-inspect ARTEFACT --json", "Y12_TRACEBACK=1"):
        assert f"`{command}`" in form


def test_a_commit_is_checked_as_make_check_does():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["entry"], hook["pass_filenames"]) == ("local", "make check", False)


def test_one_version_is_cited_and_built():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"], citation["license"]) == (
        project["name"], project["version"], project["license"],
    )  # fmt: skip
