"""A picture of a network: one box a row of its YAML, columns by stride, and lines to the rows that each reads."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from y12.exporter.model.rows import LayerSpec, ModelSpec
from y12.exporter.report.svg import LOOKS, add, file_of, name

__all__ = ["diagram_of"]

_BOX_WIDTH, _BOX_HEIGHT, _STEP, _COLUMN = 312, 24, 34, 112
_TOP, _LEFT = 56, 24
# How modules are drawn; every other one is "other".
_KINDS = {
    "fp16": ("A2C2f", "AreaAttn", "C2PSA", "PSA", "SpatialAttn", "TransformerStage"),
    "int8": ("C2f", "C2fCIB", "C3k2", "Conv", "PatchEmbed", "RELAN", "SCDown", "SepConv7x7", "SPPF"),
    "fp32": ("Aggregate", "ChannelAttn", "Concat"),
}
_WORDS = {"fp16": "attention", "int8": "convolution", "fp32": "joins and gates", "other": "head, upsampling"}


def diagram_of(spec: ModelSpec) -> str:
    """Draw a network as the text of an .svg file.

    Rows run from the top to the bottom in their order; further to the right a map is coarser, as the heading of each
    column says. Every box names its row, module, repeats and channels.
    """
    strides = sorted({layer.stride for layer in spec.layers[:-1]})
    width = 2 * _LEFT + _COLUMN * (len(strides) - 1) + _BOX_WIDTH + 40
    svg = ET.Element("svg", {"viewBox": f"0 0 {width} {_TOP + _STEP * len(spec.layers) + 12}", "class": "diagram"})
    svg.attrib |= {"width": str(width), "height": str(_TOP + _STEP * len(spec.layers) + 12)}
    name(svg, f"The rows of {spec.name}")
    _headings(svg, strides)
    places = {layer.index: _place(layer, strides) for layer in spec.layers}
    *rows, head = spec.layers
    for source, layer in _reads(spec):
        (_down if layer is head else _line)(svg, places[source], places[layer.index])
    for layer in rows:
        _box(svg, layer, *places[layer.index])
    _box(svg, head, *places[head.index], width=_COLUMN * (len(strides) - 1) + _BOX_WIDTH)
    return file_of(svg)


def _place(layer: LayerSpec, strides: list[float]) -> tuple[float, float]:
    """Return a row's left upper corner; the head has all columns."""
    column = strides.index(layer.stride) if layer.stride in strides else 0
    return _LEFT + _COLUMN * column, _TOP + _STEP * layer.index


def _headings(svg: ET.Element, strides: list[float]) -> None:
    left = float(_LEFT)
    for kind, words in _WORDS.items():
        add(svg, "rect", kind, x=left, y=8, width=12, height=12, rx=3)
        add(svg, "text", "text", words, x=left + 18, y=18.5)
        left += 40 + 7 * len(words)
    for column, stride in enumerate(strides):
        add(svg, "text", "quiet", f"stride {stride:g}", x=_LEFT + _COLUMN * column, y=44)


def _reads(spec: ModelSpec) -> Iterator[tuple[int, LayerSpec]]:
    """Yield what each row reads, with the row; the image is not drawn."""
    for layer in spec.layers:
        for source in layer.sources:
            if source >= 0:
                yield source, layer


def _line(svg: ET.Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line down the boxes' left edge to the next row, or along their right edge to a later one."""
    (x1, y1), (x2, y2) = start, end
    if y2 - y1 <= _STEP:
        x1, x2 = x1 + 14, x2 + 14
        path = f"M{x1:g} {y1 + _BOX_HEIGHT:g} L{x2:g} {y2:g}"
    else:
        x1, x2 = x1 + _BOX_WIDTH, x2 + _BOX_WIDTH
        y1, y2 = y1 + _BOX_HEIGHT / 2, y2 + _BOX_HEIGHT / 2
        bend = max(x1, x2) + 8 + (y2 - y1) * 0.06
        path = f"M{x1:g} {y1:g} C{bend:g} {y1:g} {bend:g} {y2:g} {x2:g} {y2:g}"
    add(svg, "path", "line", d=path)


def _down(svg: ET.Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line from a box's right edge down to the head, which lies below all columns."""
    x, y = start[0] + _BOX_WIDTH, start[1] + _BOX_HEIGHT / 2
    add(svg, "path", "line", d=f"M{x:g} {y:g} C{x + 24:g} {y:g} {x + 12:g} {y + 30:g} {x - 8:g} {end[1]:g}")


def _box(svg: ET.Element, layer: LayerSpec, x: float, y: float, width: float = _BOX_WIDTH) -> None:
    kind = next((kind for kind, modules in _KINDS.items() if layer.module in modules), "other")
    add(svg, "rect", "paper", x=x, y=y, width=width, height=_BOX_HEIGHT, rx=4, stroke=LOOKS[kind]["fill"])
    add(svg, "rect", kind, x=x, y=y, width=6, height=_BOX_HEIGHT, rx=3)
    add(svg, "text", "text", _label(layer), x=x + 12, y=y + 16.5)


def _label(layer: LayerSpec) -> str:
    words = [f"{layer.index}", layer.module.removeprefix("nn.")]
    if layer.repeats > 1:
        words.append(f"x{layer.repeats}")
    if layer.channels:
        words.append(f"{layer.channels} channels")
    area = layer.args.get("area", 1)
    if area != 1:
        words.append(f"{area} bands" if isinstance(area, int) else f"{area[0]}x{area[1]} areas")
    return " ".join(words)
