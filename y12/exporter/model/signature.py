"""How a row of a model YAML is to be read for one module: its arguments, and what it makes of channels and strides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["MAX_CHANNELS", "Arg", "ArgType", "Signature"]

MAX_CHANNELS = 16384

ArgType = type | tuple[type, ...]


@dataclass(frozen=True)
class Arg:
    """One argument of a module: its name, the types it may have, and the default (`...`: it must be given).

    A number lies from `minimum` to `maximum`; `choices` lists all values where there are few.
    """

    name: str
    types: ArgType
    default: Any = ...
    choices: tuple[Any, ...] = ()
    minimum: float = 1
    maximum: float = MAX_CHANNELS


@dataclass(frozen=True)
class Signature:
    """How a row `[from, repeats, module, args]` is to be read for one module.

    Attributes:
        args: the row's arguments, in order.
        repeats: "chain" puts `repeats` copies one after the other, "inner" hands the number to the module as `n`,
            "once" refuses more than one; so does a module without `c2`.
        many: whether `from` is a list of rows.
        widths: the args that are numbers of channels, scaled by width and max_channels; a module whose output
            channels are one of them, `c2`, can be repeated.
        stride: the factor by which the output map is smaller than the input (0.5: twice as large).
        head: the task the module is a head of; empty where it is no head.
        bit: whether its convolutions have their Bit form where the YAML does not say.
        arranged: given a row's args, returns those by position and those by name that they stand for.
        problem: given the channels of all inputs and the args, says what is wrong with them; empty where nothing is.
    """

    args: tuple[Arg, ...]
    repeats: Literal["chain", "inner", "once"] = "chain"
    many: bool = False
    widths: tuple[str, ...] = ("c2",)
    stride: Callable[[Mapping[str, Any]], float] = lambda _args: 1
    head: str = ""
    bit: bool = False
    arranged: Callable[[list[Any]], tuple[list[Any], dict[str, Any]]] = lambda args: (args, {})
    problem: Callable[[tuple[int, ...], Mapping[str, Any]], str] = lambda _channels, _args: ""

    @property
    def gives_c2(self) -> bool:
        """Whether the output has `c2` channels; else it has those of the inputs together, or is a head's."""
        return "c2" in self.widths
