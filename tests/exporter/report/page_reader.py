"""Reads a page as a person does: tables by their headings, texts, and what is drawn."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclass(repr=False)  # of a page it would fill the screen
class Node:
    tag: str
    attributes: dict = field(default_factory=dict)
    parts: list = field(default_factory=list)  # texts and nodes

    @property
    def text(self) -> str:
        whole = "".join(p if isinstance(p, str) else p.text for p in self.parts)
        return " ".join(whole.replace("\N{MINUS SIGN}", "-").split())

    def all(self, *tags, **attributes):
        """Every node below of one of the tags, and with these attributes; `_` in their names is `-`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for part in self.parts:
            if isinstance(part, Node):
                if (not tags or part.tag in tags) and all(part.attributes.get(k) == v for k, v in wanted.items()):
                    yield part
                yield from part.all(*tags, **attributes)

    def one(self, *tags, **attributes) -> "Node":
        found = list(self.all(*tags, **attributes))
        assert len(found) == 1, f"expected one of {tags} with {attributes}, found {len(found)}"
        return found[0]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self._open = [self.root]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs))
        self._open[-1].parts.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag, attrs):
        self._open[-1].parts.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self._open[-1].parts.append(data)


def page_from_text(text: str) -> Node:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader._open == [reader.root]
    return reader.root


def embedded(page: Node) -> dict:
    return json.loads("".join(page.one("script", id="report").parts))


def table(page: Node, name: str) -> dict:
    """Row heading → column heading → text; without column headings, row heading → text."""
    shown = page.one("table", id=name)
    columns = [heading.text for heading in shown.all("th", scope="col")]
    rows = {}
    for row in shown.all("tr"):
        heading = next(row.all("th", scope="row"), None)
        if heading is None:
            continue  # the columns' headings, or a group's
        assert heading.text not in rows
        cells = [cell.text for cell in row.all("td")]
        rows[heading.text] = dict(zip(columns[1:], cells, strict=True)) if columns else cells[0]
    return rows
