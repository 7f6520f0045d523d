"""y12's own networks in the words of their design: `y12.models.hybrid(stages=(2, 2, 4, 2), patch_size=16)`.

Each function returns a torch.nn.Module with seeded weights, in evaluation mode, which `y12.export` takes; `y12-tune`
trains the same networks by name or from a model YAML. Torch is imported on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from y12.exporter.model.builders import bitfalcon, hybrid, lite

__all__ = ["bitfalcon", "hybrid", "lite"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from y12.exporter.model import builders

        return getattr(builders, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
