"""Read source: what an annotation says a variable holds, and which files deal with TensorRT at all."""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

OPAQUE = ("Any", "object")


class Vendor(NamedTuple):
    """What an expression is: the module, a class, an instance, or a callable of `owner` ("": a function)."""

    kind: str
    name: str = ""
    owner: str = ""


MODULE = Vendor("module")
UNKNOWN = Vendor("unknown")
Env = dict[str, Vendor]


def annotated(annotation: ast.expr | None) -> Vendor | None:
    """Read an annotation: `tensorrt.X`, `tensorrt.X | None`, ModuleType, or one that hides what is inside."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotated(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.BinOp):
        return annotated(annotation.left) or annotated(annotation.right)
    if isinstance(annotation, ast.Name):
        return {"ModuleType": MODULE, **dict.fromkeys(OPAQUE, UNKNOWN)}.get(annotation.id)
    if isinstance(annotation, ast.Attribute) and ast.unparse(annotation).startswith("tensorrt."):
        return Vendor("instance", ast.unparse(annotation).removeprefix("tensorrt."))
    return None


def vendor_returns(trees: Iterable[ast.AST]) -> Env:
    """The functions that say they return a vendor object."""
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    found = {node.name: annotated(node.returns) for node in functions}
    return {name: vendor for name, vendor in found.items() if vendor and vendor.kind == "instance"}


def mentions_vendor(tree: ast.AST) -> bool:
    """True where a file deals with the bindings at all."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "trt")
        or (isinstance(node, ast.alias) and node.name.split(".")[0] in ("tensorrt", "tensorrt_rtx"))
        for node in ast.walk(tree)
    )


def expressions_in(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions directly inside, through keywords, comprehensions and the like."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif not isinstance(child, ast.stmt):
            yield from expressions_in(child)


def instance_of(recorded_type: str) -> Vendor | None:
    """Read a recorded type: vendor classes are single capitalised names."""
    name = recorded_type.rpartition("::")[2]  # some types are recorded by their C++ names
    is_class = name.isidentifier() and name[0].isupper() and name != "None"
    return Vendor("instance", name) if is_class else None
