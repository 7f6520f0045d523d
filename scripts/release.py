"""Make what is released, and tag it; uploading is left to the workflow that the tag starts.

usage: release.py build VERSION   sdist and wheel, built twice and compared, with SBOMs, into the folder dist
       release.py tag VERSION     tag the commit that they were built from

The work tree must be clean, and every place that names y12's version must name this one.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUMS, COMMIT = "SHA256SUMS", "commit"
# Every place that names the version of what is released, and how.
PLACES = {
    "pyproject.toml": r'^version = "([^"]+)"$',
    "CITATION.cff": r'^version: "?([^"\s]+)"?$',
    "docker/compose.yaml": r"^ +image: y12-\w+:(\S+)$",
}
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
# What a build must not depend on: its second run has another of each, and another folder.
SURROUNDINGS = (
    {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "umask": "022"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1", "umask": "077"},
)


class ReleaseError(Exception):
    """What was expected, what was found, what to do: one line."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def git(root: Path, *words: str) -> str:
    """Return what git says; nothing where it fails."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def run(*words: object, cwd: Path | None = None, **variables: str) -> None:
    """Run a program, and show what it says only where it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise ReleaseError(
            f"expected {words[0]} {' '.join(map(str, words[1:4]))} to succeed, it ended with {done.returncode}"
        )


def check_clean(root: Path) -> None:
    """Refuse a checkout with changes, or none."""
    if not git(root, "rev-parse", "HEAD"):
        raise ReleaseError(f"expected a git checkout with a commit, found none in {root}; do: git clone")
    changed = git(root, "status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ReleaseError(
            f"expected a clean work tree, found {changed[0].strip()!r}{more}; do: git commit, or git stash"
        )


def check_version(root: Path, version: str) -> None:
    """Refuse what is no version, and a place that names another."""
    if not _VERSION.fullmatch(version):
        raise ReleaseError(
            f"expected a version such as 0.2.0 or 0.2.0rc1, found {version!r}; do: make release VERSION=…"
        )
    for name, pattern in PLACES.items():
        found = re.findall(pattern, (root / name).read_text(), re.MULTILINE)
        other = next((one for one in found or ["none"] if one != version), None)
        if other is not None:
            raise ReleaseError(
                f"expected version {version} in {name}, found {other}; do: write {version} there, commit"
            )


def check_changelog(root: Path, version: str) -> str:
    """Refuse a changelog whose first section is not this version's, dated and with something in it; return the date."""
    heading, _, body = (root / "CHANGELOG.md").read_text().partition("\n## ")[2].partition("\n")
    found = re.fullmatch(rf"{re.escape(version)} - (\d{{4}}-\d\d-\d\d)", heading)
    if found is None:
        raise ReleaseError(
            f"expected CHANGELOG.md to begin with '## {version} - YYYY-MM-DD', found '## {heading}'; "
            "do: write it, commit"
        )
    if not re.search(r"^- ", body.partition("\n## ")[0], re.MULTILINE):
        raise ReleaseError(f"expected changes below '## {heading}' in CHANGELOG.md, found none; do: write them, commit")
    dated = re.findall(r'^date-released: "?([\d-]+)"?$', (root / "CITATION.cff").read_text(), re.MULTILINE)
    if dated != [found[1]]:
        raise ReleaseError(
            f"expected date-released: {found[1]} in CITATION.cff, as CHANGELOG.md has it, found "
            f"{', '.join(dated) or 'none'}; do: write it there, commit"
        )
    return found[1]


def check_tag(root: Path, version: str) -> None:
    """Refuse a version that was tagged elsewhere."""
    tagged, head = git(root, "rev-parse", f"refs/tags/v{version}^{{commit}}"), git(root, "rev-parse", "HEAD")
    if tagged and tagged != head:
        raise ReleaseError(
            f"expected no tag v{version} but on this commit ({head[:12]}), found it on {tagged[:12]}; "
            "do: take the next version"
        )


def check(root: Path, version: str) -> None:
    """Refuse what cannot be released."""
    check_version(root, version)
    check_clean(root)
    check_changelog(root, version)
    check_tag(root, version)


def build_once(root: Path, folder: Path, surroundings: dict[str, str]) -> dict[str, bytes]:
    """Build sdist, and from it the wheel, of a fresh clone; return their bytes by name."""
    variables = dict(surroundings)
    mask = variables.pop("umask")
    epoch = git(root, "log", "-1", "--format=%ct")
    clone, out = folder / "y12", folder / "out"
    script = f'umask {mask} && git clone --quiet "$1" "$2" && exec "$3" -m build --no-isolation --outdir "$4" "$2"'
    run("sh", "-c", script, "build", root, clone, sys.executable, out, SOURCE_DATE_EPOCH=epoch, **variables)
    return {file.name: file.read_bytes() for file in sorted(out.iterdir())}


def same(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    """Refuse two builds that differ."""
    if first.keys() != second.keys():
        raise ReleaseError(
            f"expected two builds to make the same files, found {', '.join(first)} and {', '.join(second)}"
        )
    for name in first:
        if first[name] != second[name]:
            pairs = zip(first[name], second[name], strict=False)
            at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first[name]), len(second[name])))
            raise ReleaseError(
                f"expected two builds to be the same bytes, found {name} to differ from byte {at} on "
                f"({len(first[name])} and {len(second[name])} bytes); do: diffoscope"
            )


Builder = Callable[[Path, Path, dict[str, str]], dict[str, bytes]]


def packages(root: Path, version: str, build: Builder = build_once) -> dict[str, bytes]:
    """Return sdist and wheel, of two builds that agree."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(suffix=" two") as two:
        first, second = (
            build(root, Path(place), around) for place, around in zip((one, two), SURROUNDINGS, strict=True)
        )
    same(first, second)
    expected = {f"y12-{version}.tar.gz", f"y12-{version}-py3-none-any.whl"}
    if first.keys() != expected:
        raise ReleaseError(f"expected {' and '.join(sorted(expected))}, found {', '.join(first)}")
    return first


def write_sums(dist: Path) -> None:
    """Write the SHA-256 of every package and SBOM, as sha256sum reads them."""
    files = sorted(file for file in dist.glob("*/*") if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(dist)}\n" for file in files]
    (dist / SUMS).write_text("".join(lines))


def check_sums(dist: Path) -> None:
    """Refuse a folder whose files are not those that were built."""
    if not (dist / SUMS).is_file():
        raise ReleaseError(f"expected what was built in {dist}, found no {SUMS}; do: make dist VERSION=…")
    for line in (dist / SUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        file = dist / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise ReleaseError(f"expected {name} in {dist} as it was built, found it changed; do: make dist VERSION=…")


def make(root: Path, version: str) -> None:
    """Build, check and describe everything, in the folder dist."""
    check(root, version)
    dist = root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    (dist / "packages").mkdir(parents=True)
    for name, content in packages(root, version).items():
        (dist / "packages" / name).write_bytes(content)
        say(f"built twice, the same: {name}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    run(sys.executable, "-m", "twine", "check", "--strict", *(dist / "packages").iterdir())
    say("twine check --strict: passed")
    epoch = git(root, "log", "-1", "--format=%ct")
    run(sys.executable, ROOT / "scripts" / "sboms.py", dist / "sbom", SOURCE_DATE_EPOCH=epoch)
    say(f"SBOMs: {len(list((dist / 'sbom').iterdir()))}, CycloneDX, of each extra and image")
    write_sums(dist)
    (dist / COMMIT).write_text(f"{git(root, 'rev-parse', 'HEAD')}\n")


def tag(root: Path, version: str) -> None:
    """Tag the commit that dist was built from."""
    check(root, version)
    check_sums(root / "dist")
    built, head = (root / "dist" / COMMIT).read_text().strip(), git(root, "rev-parse", "HEAD")
    if built != head:
        raise ReleaseError(
            f"expected dist of this commit ({head[:12]}), found it of {built[:12]}; do: make dist VERSION=…"
        )
    if not git(root, "rev-parse", f"refs/tags/v{version}"):
        run("git", "tag", "--annotate", f"v{version}", "--message", f"y12 {version}", cwd=root)
    say(f"tagged v{version} on {head[:12]}. Nothing was uploaded; that is left to .github/workflows/release.yml:")
    say(f"  git push origin v{version}")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("build", "tag"))
    parser.add_argument("version")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    asked = parser.parse_args()
    try:
        (make if asked.step == "build" else tag)(asked.root.resolve(), asked.version)
    except ReleaseError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
