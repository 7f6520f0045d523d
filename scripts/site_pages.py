"""What makes the documents a site: a hook of mkdocs (`mkdocs.yml` names it).

Documents above `docs` become pages of their own, and links are made to fit: those to a document lead to its page, and
of those to code the text alone is left.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

# Page → document; all others are where they are.
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "code-of-conduct.md": "CODE_OF_CONDUCT.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "licence.md": "LICENSE",
}
_PAGE_OF = {document: page for page, document in PAGES.items()}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"[a-z]+:|#")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose documents lie above `docs`."""
    root = Path(config["config_file_path"]).parent
    for page, document in PAGES.items():
        files.append(File.generated(config, page, content=(root / document).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make the links of a page lead to pages."""
    return fitted(markdown, page.file.src_uri)


def fitted(markdown: str, page: str) -> str:
    """Return a page's text with links that fit the site.

    Args:
        markdown: the document's text.
        page: its path below the site's root, such as "decisions/0001-….md".
    """
    document = PAGES.get(page, f"docs/{page}")

    def link(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        if _ELSEWHERE.match(target):
            return found[0]
        path, anchor, fragment = target.partition("#")
        named = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
        there = _PAGE_OF.get(named, named.removeprefix("docs/") if named.startswith("docs/") else "")
        if not posixpath.splitext(there)[1]:  # code, or a folder
            return str(text)
        return f"{mark}[{text}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor}{fragment})"

    return _LINK.sub(link, markdown)
