"""A stranger's YAML, read as plain values within bounds; nothing in it is executed."""

from pathlib import Path
from typing import Any

import yaml

from y12.errors import Y12Error

try:  # libyaml's, which reads the same values in a tenth of the time; every wheel of PyYAML has it
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

__all__ = ["mapping_from_yaml"]

_MAX_EVENTS = 250_000  # a mapping of 100,000 class names has 200,009; some 10 µs each
_MAX_NUMBER = 64  # characters; PyYAML reads "1:59:59", a number in base 60, in the square of its length


class _Loader(SafeLoader):
    """A safe loader whose numbers are short, and which merges nothing: that takes the square of what is merged."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave "<<" in its place, where it is refused; without aliases nothing needs it."""

    def short_int(self, node: yaml.ScalarNode) -> int:
        return int(self.construct_yaml_int(_short(node)))

    def short_float(self, node: yaml.ScalarNode) -> float:
        return float(self.construct_yaml_float(_short(node)))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.short_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.short_float)


def mapping_from_yaml(
    text: str, path: Path, error_type: type[Y12Error], *, keys: str, max_depth: int
) -> dict[str, Any]:
    """Return the values of a YAML whose outermost one is a mapping.

    Args:
        text: its content; the caller has bounded its size.
        path: where it is from, for messages.
        error_type: what to raise.
        keys: what the mapping is expected to hold, for the message where it is none.
        max_depth: lists and mappings within each other at most.

    Raises:
        error_type: it is no YAML or no mapping, uses aliases, or is too deep.
    """
    try:
        _check_events(text, path, error_type, max_depth)
        data = yaml.load(text, Loader=_Loader)
    except error_type:
        raise
    # Besides YAMLError, the YAML library lets through whatever Python raises for a bad number, date or boolean.
    except Exception as error:
        raise error_type(f"{path}: not readable as YAML: {' '.join(str(error).split()):.200}") from error
    if not isinstance(data, dict):
        raise error_type(f"{path}: expected a mapping with {keys}, found {type(data).__name__}")
    return data


def _check_events(text: str, path: Path, error_type: type[Y12Error], max_depth: int) -> None:
    """Refuse what costs much more to read than its size tells."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):  # in a few hundred bytes it can stand for gigabytes
            raise error_type(f"{path}: YAML aliases are not allowed here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > max_depth:
            raise error_type(f"{path}: expected at most {max_depth} lists within each other")
        if count > _MAX_EVENTS:
            raise error_type(f"{path}: expected at most {_MAX_EVENTS} values, keys, lists and their ends, found more")


def _short(node: yaml.ScalarNode) -> yaml.ScalarNode:
    if len(node.value) > _MAX_NUMBER:
        raise yaml.constructor.ConstructorError(
            None, None, f"expected a number of at most {_MAX_NUMBER} characters, found {len(node.value)}"
        )
    return node
