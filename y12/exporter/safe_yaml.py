"""A stranger's YAML, read as plain values within bounds; nothing in it is executed."""

from pathlib import Path
from typing import Any

import yaml

from y12.errors import Y12Error

__all__ = ["mapping_from_yaml"]

_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


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
        _check_tokens(text, path, error_type, max_depth)
        data = yaml.safe_load(text)
    except error_type:
        raise
    # Besides YAMLError, the YAML library lets through whatever Python raises for a bad number, date or boolean.
    except Exception as error:
        raise error_type(f"{path}: not readable as YAML: {' '.join(str(error).split()):.200}") from error
    if not isinstance(data, dict):
        raise error_type(f"{path}: expected a mapping with {keys}, found {type(data).__name__}")
    return data


def _check_tokens(text: str, path: Path, error_type: type[Y12Error], max_depth: int) -> None:
    """Refuse what costs much more to read than its size tells."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):  # in a few hundred bytes it can stand for gigabytes
            raise error_type(f"{path}: YAML aliases are not allowed here")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > max_depth:
            raise error_type(f"{path}: expected at most {max_depth} lists within each other")
