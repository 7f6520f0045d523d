"""The args of a row, by position and by name, as values of one module's arguments. No torch here."""

from collections.abc import Mapping
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.signature import Arg, Signature
from y12.exporter.model.values import fixed, is_value, nearest
from y12.text import shown

__all__ = ["bound_args"]


def bound_args(
    module: str, signature: Signature, args: object, named: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return every argument of a row by name, defaults filled in, channels not yet scaled.

    Args:
        module: the row's module.
        signature: how its args are read.
        args: as they stand in the row.
        named: further ones, by name.
        values: what a bare word can stand for.

    Raises:
        ModelSpecError: one is missing, unknown, given twice or of another kind; the message does not name the row.
    """
    if not isinstance(args, list | tuple):
        raise ModelSpecError(f"args of {module} must be a list, found {shown(args)}")
    names = [arg.name for arg in signature.args]
    known = ", ".join(names)
    positional, implied = signature.arranged(list(args))
    if len(positional) > len(signature.args):
        raise ModelSpecError(f"{module} takes at most {len(signature.args)} args ({known}), found {len(args)}")
    by_name = dict(zip(names, positional, strict=False))
    for name, value in (*implied.items(), *named.items()):
        if name not in names:
            raise ModelSpecError(
                f"{module} has no argument {shown(name)}{nearest(name, [*names, 'bit'])}; it has {known}, and bit"
            )
        if name in by_name:
            raise ModelSpecError(f"{module} '{name}' is given twice, as {shown(by_name[name])} and {shown(value)}")
        by_name[name] = value
    return {arg.name: _value(arg, by_name, module, values) for arg in signature.args}


def _value(arg: Arg, given: Mapping[str, Any], module: str, values: Mapping[str, Any]) -> Any:
    if arg.name not in given:
        if arg.default is ...:
            raise ModelSpecError(f"{module} needs the argument '{arg.name}'")
        return arg.default
    value = given[arg.name]
    if isinstance(value, str) and value in values:
        value = values[value]
    elif isinstance(value, str) and value not in arg.choices:
        # The field writes None as a bare word, which YAML reads as a string.
        if value == "None" and is_value(None, arg.types):
            return None
        known = [*values, *map(str, arg.choices)]
        raise ModelSpecError(
            f"{module} '{arg.name}': unknown name {shown(value)}{nearest(value, known)}; known: {', '.join(known)}"
        )
    if not is_value(value, arg.types) or (arg.choices and value not in arg.choices):
        types = arg.types if isinstance(arg.types, tuple) else (arg.types,)
        expected = " or ".join(map(str, arg.choices) if arg.choices else map(_type_name, types))
        raise ModelSpecError(f"{module} '{arg.name}' must be {expected}, found {shown(value)}")
    if is_value(value, (int, float)) and not arg.minimum <= value <= arg.maximum:
        raise ModelSpecError(f"{module} '{arg.name}' must be from {arg.minimum} to {arg.maximum}, found {shown(value)}")
    return fixed(value)


def _type_name(kind: type) -> str:
    return "null" if kind is type(None) else kind.__name__
