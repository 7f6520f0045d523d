"""The documents as a site: every link leads somewhere, and nothing is loaded from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
pytest.importorskip("mkdocs")
from site_pages import fitted  # noqa: E402  (a script, not a package)

MADE_OF = (
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "mkdocs.yml",
    "docs",
    "scripts",
    "y12",
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_every_document_is_a_page(site):
    documents = {path.relative_to(ROOT / "docs") for path in ROOT.glob("docs/**/*.md")}
    pages = {path.relative_to(site) for path in site.glob("**/index.html")}
    wanted = {(d.parent if d.stem in ("README", "index") else d.with_suffix("")) / "index.html" for d in documents}
    assert wanted <= pages
    assert {Path(name, "index.html") for name in ("changelog", "security", "contributing", "licence")} <= pages


def test_nothing_is_loaded_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:)?//|<link\b[^>]*\bhref=["']?https?://"""
    )
    assert [page.name for page in site.glob("**/*.html") if loads.search(page.read_text())] == []


def test_the_reference_has_what_is_public(site):
    import y12

    page = (site / "api" / "index.html").read_text()
    missing = [name for name in y12.__all__ if name not in ("__version__", "models") and f">{name}<" not in page]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "page", "expected"),
    [
        ("[a](docs/int8.md#x)", "index.md", "[a](int8.md#x)"),
        ("[a](CHANGELOG.md)", "index.md", "[a](changelog.md)"),
        ("[a](../CHANGELOG.md)", "int8.md", "[a](changelog.md)"),
        ("[a](../benchmarks.md#int8)", "decisions/0016-accuracy-budget.md", "[a](../benchmarks.md#int8)"),
        ("[a](../../README.md)", "decisions/README.md", "[a](../index.md)"),
        ("see [`verify.py`](../y12/exporter/verify/verify.py).", "architecture.md", "see `verify.py`."),
        ("![p](bitfalcon.svg)", "models/bitfalcon.md", "![p](bitfalcon.svg)"),
        ("[a](https://example.org/x) [b](#c)", "int8.md", "[a](https://example.org/x) [b](#c)"),
    ],
)
def test_links_are_made_to_fit(text, page, expected):
    assert fitted(text, page) == expected


@pytest.mark.exhaustive  # builds the site twice more
@pytest.mark.parametrize("broken", ["[x](nowhere.md)", "[x](int8.md#no-such-heading)"])
def test_a_broken_link_fails_the_build(tmp_path, broken):
    for name in MADE_OF:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "data.md").open("a") as document:
        document.write(f"\n{broken}\n")
    assert build(tmp_path, tmp_path / "site").returncode != 0
