"""`make release`: what it refuses, each in one line; two builds that differ; what it tags."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import release  # noqa: E402  (a script, not a package)

NAMES = ("pyproject.toml", "CITATION.cff", "docker/compose.yaml")
PINNED_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def commit(root, *words):
    who = ("-c", "user.name=y12", "-c", "user.email=y12@example.org")
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "x", *words], cwd=root, check=True, env=os.environ | PINNED_GIT)


def rewrite(root, name, old, new):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


@pytest.fixture
def checkout(tmp_path):
    """A checkout that is ready for 0.2.0: the files that name the version, as they are but for it."""
    root = tmp_path / "y12"
    (root / "docker").mkdir(parents=True)
    current = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in NAMES:
        (root / name).write_text((ROOT / name).read_text().replace(current, "0.2.0"))
    dated = [line for line in (root / "CITATION.cff").read_text().splitlines() if not line.startswith("date-released")]
    (root / "CITATION.cff").write_text("\n".join([*dated, 'date-released: "2026-12-24"', ""]))
    (root / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 0.2.0 - 2026-12-24\n### Added\n- a\n\n## 0.1.0 - 2026-12-01\n- b\n"
    )
    (root / ".gitignore").write_text("dist/\n")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    commit(root)
    return root


def refusal(root, version="0.2.0", step="build"):
    command = [sys.executable, ROOT / "scripts" / "release.py", step, version, "--root", root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stdout + done.stderr
    return done.stderr.removeprefix("release: ").rstrip("\n")


def test_a_checkout_that_is_ready_is_not_refused(checkout):
    release.check(checkout, "0.2.0")


@pytest.mark.parametrize("version", ["", "v0.2.0", "0.2", "0.2.0; rm -rf x", "0.2.0-rc1"])
def test_no_version(checkout, version):
    assert refusal(checkout, version).startswith(
        f"expected a version such as 0.2.0 or 0.2.0rc1, found {version!r}; do: "
    )


WRONG = [  # (file, what stands there, what is written, the refusal)
    ("pyproject.toml", '"0.2.0"', '"0.1.9"', "expected version 0.2.0 in pyproject.toml, found 0.1.9; do: "),
    ("CITATION.cff", "version: 0.2.0", "version: 0.1.9", "expected version 0.2.0 in CITATION.cff, found 0.1.9; do: "),
    ("CITATION.cff", "\nversion: 0.2.0", "", "expected version 0.2.0 in CITATION.cff, found none; do: "),
    ("docker/compose.yaml", "y12-runtime:0.2.0", "y12-runtime:0.1.9",
     "expected version 0.2.0 in docker/compose.yaml, found 0.1.9; do: "),
    ("CHANGELOG.md", "## 0.2.0 - 2026-12-24\n### Added\n- a\n", "",
     "expected CHANGELOG.md to begin with '## 0.2.0 - YYYY-MM-DD', found '## 0.1.0 - 2026-12-01'; do: "),
    ("CHANGELOG.md", "0.2.0 - 2026-12-24", "0.2.0 - unreleased", "found '## 0.2.0 - unreleased'; do: "),
    ("CHANGELOG.md", "\n- a", "", "expected changes below '## 0.2.0 - 2026-12-24' in CHANGELOG.md, found none; do: "),
    ("CITATION.cff", "2026-12-24", "2026-12-25",
     "expected date-released: 2026-12-24 in CITATION.cff, as CHANGELOG.md has it, found 2026-12-25; do: "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "message"), WRONG)
def test_what_stands_elsewhere_or_is_missing(checkout, name, old, new, message):
    rewrite(checkout, name, old, new)
    commit(checkout)
    assert message in refusal(checkout)


def test_a_dirty_tree(checkout):
    (checkout / "new.txt").touch()
    assert refusal(checkout) == "expected a clean work tree, found '?? new.txt'; do: git commit, or git stash"


def test_a_tag_on_another_commit(checkout):
    subprocess.run(["git", "tag", "v0.2.0"], cwd=checkout, check=True)
    commit(checkout, "--allow-empty", "-m", "later")
    assert refusal(checkout).startswith("expected no tag v0.2.0 but on this commit (")


def builds(*contents):
    """A builder that gives one content after the other for the wheel."""
    left = list(contents)
    return lambda *_: {"y12-0.2.0-py3-none-any.whl": left.pop(0), "y12-0.2.0.tar.gz": b"sdist"}


def test_two_builds_that_differ_are_refused_and_where():
    assert release.packages(ROOT, "0.2.0", builds(b"same", b"same"))["y12-0.2.0.tar.gz"] == b"sdist"
    with pytest.raises(
        release.ReleaseError, match=r"found y12-0.2.0-py3-none-any.whl to differ from byte 2 on \(4 and 5"
    ):
        release.packages(ROOT, "0.2.0", builds(b"same", b"saint"))


def test_a_build_of_another_version_is_refused():
    with pytest.raises(release.ReleaseError, match=r"expected y12-0.3.0"):
        release.packages(ROOT, "0.3.0", builds(b"same", b"same"))


def built(root):
    """What `make dist` leaves, of packages with a content of ours."""
    (root / "dist" / "packages").mkdir(parents=True)
    (root / "dist" / "packages" / "y12-0.2.0.tar.gz").write_bytes(b"sdist")
    release.write_sums(root / "dist")
    (root / "dist" / "commit").write_text(release.git(root, "rev-parse", "HEAD") + "\n")


def test_what_was_built_is_tagged_and_nothing_else(checkout):
    assert "found no SHA256SUMS; do: make dist" in refusal(checkout, step="tag")
    built(checkout)
    (checkout / "dist" / "packages" / "y12-0.2.0.tar.gz").write_bytes(b"other")
    assert "expected packages/y12-0.2.0.tar.gz in" in refusal(checkout, step="tag")
    (checkout / "dist" / "packages" / "y12-0.2.0.tar.gz").write_bytes(b"sdist")
    commit(checkout, "--allow-empty", "-m", "later")
    assert "expected dist of this commit (" in refusal(checkout, step="tag")
    (checkout / "dist" / "commit").write_text(release.git(checkout, "rev-parse", "HEAD") + "\n")
    assert release.git(checkout, "tag") == ""
    who = {"GIT_COMMITTER_NAME": "y12", "GIT_COMMITTER_EMAIL": "y12@example.org"}
    command = [sys.executable, ROOT / "scripts" / "release.py", "tag", "0.2.0", "--root", checkout]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | who)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("  git push origin v0.2.0\n")
    assert (
        release.git(checkout, "for-each-ref", "--format=%(objecttype) %(refname)", "refs/tags")
        == "tag refs/tags/v0.2.0"
    )


@pytest.mark.exhaustive  # builds the real package twice
def test_the_real_package_is_the_same_twice():
    python = ROOT / ".venv-release" / "bin" / "python"
    if not python.exists():
        pytest.skip("the environment of a release is not here: make dist makes it")
    code = "import release, sys; print(*release.packages(release.ROOT, sys.argv[1]))"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = subprocess.run(
        [python, "-c", code, version], cwd=ROOT / "scripts", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".whl") == done.stdout.count(".tar.gz") == 1
