"""Which class of the model is which category of the data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from y12.errors import DatasetError
from y12.text import shown

__all__ = ["ClassMap", "class_map"]


@dataclass(frozen=True)
class ClassMap:
    """How classes were matched.

    Attributes:
        category_ids: for each class of the model the category's id; None where the data has no such category.
        how: in words, for the report.
    """

    category_ids: tuple[int | None, ...]
    how: str

    @property
    def classes(self) -> tuple[int, ...] | None:
        """The model's classes that the data knows; None where it knows all."""
        known = tuple(i for i, category in enumerate(self.category_ids) if category is not None)
        return None if len(known) == len(self.category_ids) else known


def class_map(
    names: Sequence[str],
    categories: Sequence[tuple[int, str]],
    origin: str,
    *,
    by_order: bool = False,
    unused: frozenset[int] = frozenset(),
) -> ClassMap:
    """Match by name; where the names differ but there are as many, on request by the order of the categories' ids.

    Args:
        names: the model's class names.
        categories: id and name of the data's categories, in order.
        origin: what to call the data in messages.
        by_order: whether names that differ may be matched by order; names that only count always may.
        unused: ids of categories that no label is of; those that the model does not have are left out.

    Raises:
        DatasetError: there are categories that the model does not have.
    """
    classes = {name: i for i, name in enumerate(names)}
    idle = [name for i, name in categories if i in unused and name not in classes]
    if any(name in classes for _, name in categories) and idle:
        rest = [(i, name) for i, name in categories if name not in idle]
        matched = class_map(names, rest, origin, by_order=by_order)
        return replace(matched, how=f"{matched.how}; left out, as no label is of it: {_listed(idle)}")
    lacking = [name for _, name in categories if name not in classes]
    if not lacking and len(classes) == len(names) and len({name for _, name in categories}) == len(categories):
        ids: list[int | None] = [None] * len(names)
        for category_id, name in categories:
            ids[classes[name]] = category_id
        missing = [name for name, category_id in zip(names, ids, strict=True) if category_id is None]
        left = f"; the data has no {_listed(missing)}" if missing else ""
        return ClassMap(tuple(ids), f"by name, {len(categories)} of the model's {len(names)}{left}")
    own = tuple(name for _, name in categories)
    sides: dict[str, Sequence[str]] = {"data": own, "model": names}
    unnamed = next((side for side in sides if all(map(_is_number, sides[side]))), None)
    if len(own) == len(names) and (by_order or unnamed or own == tuple(names)):
        why = f"id, as the {unnamed} has no names" if unnamed else "order, as names differ or repeat"
        how = f"by {why}: the model's {shown(names[0])} is the data's {shown(own[0])}, …"
        return ClassMap(tuple(category_id for category_id, _ in categories), how)
    remedy = "; y12-val --by-order takes them in their order" if len(categories) == len(names) else ""
    raise DatasetError(
        f"{origin}: expected the model's {len(names)} classes {_listed(names)}; found {len(categories)} classes, "
        f"and the model has no {_listed(lacking) if lacking else 'two classes of one name'}{remedy}"
    )


def _is_number(name: str) -> bool:
    """Return whether a name only counts: "7", or "class7", which models without names of their own have."""
    return name.removeprefix("class").isdigit()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown(name) for name in names[:3]) + more
