"""Several runtimes of one artefact, one a GPU, that share the items of one iterable; outcomes come in the items' order.

    items       dealt out in turn: a batch to the first runtime, the next one to the second, and so on
    a runtime   reads, runs and overlaps as it does alone (`Runtime.outcomes`), `ahead` batches of its own
    outcomes    taken in the same turn: while one is waited for, the others work

A runtime that is slower than the others makes them wait: they are taken for equals.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from typing import Any, Generic, TypeVar

from y12.runtime.artefact.opened import Artefact
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.images import Reading
from y12.runtime.preprocess.reduced import Image
from y12.runtime.session import Runtime
from y12.runtime.stream import AHEAD, Outcome

__all__ = ["Several"]

Item = TypeVar("Item")


class Several:
    """What `Runtime.outcomes` does, by several runtimes.

    Args:
        runtimes: of one artefact, one or more; whoever made them closes them.
    """

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = tuple(runtimes)

    @property
    def artefact(self) -> Artefact:
        """What they run."""
        return self._runtimes[0].artefact

    @property
    def reading(self) -> Reading:
        """How images are read, as they were told."""
        return self._runtimes[0].reading

    def outcomes(
        self,
        items: Iterable[Item],
        load: Callable[[Item], Image],
        options: DetectOptions | None = None,
        *,
        batch: int | None = None,
        ahead: int = AHEAD,
    ) -> Generator[Outcome[Item], None, None]:
        """Give the outcomes of all items, in their order; see `Runtime.outcomes`.

        Raises:
            InputError: as there.
            ExecutorError: as there, of any of the runtimes.
        """
        size = self.artefact.manifest.profile.batch.min if batch is None else batch
        deal = _Deal(items, len(self._runtimes), max(size, 1))
        with ExitStack() as stack:
            how: dict[str, Any] = {"batch": size, "ahead": ahead, "announced": True}
            streams = [
                stack.enter_context(closing(runtime.outcomes(deal.share(i), load, options, **how)))
                for i, runtime in enumerate(self._runtimes)
            ]
            for stream in streams:  # all begin before the first is waited for
                next(stream)
            for stream in cycle(streams):
                for _ in range(size):
                    outcome = next(stream, None)
                    if outcome is None:  # the last batch is behind us: those after it would be empty
                        return
                    yield outcome


class _Failed:
    """In an item's place: what the iterable raised there."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Deal(Generic[Item]):
    """Batches of an iterable, dealt out in turn; each share is read at its own pace, all in the caller's thread."""

    def __init__(self, items: Iterable[Item], count: int, size: int) -> None:
        self._items, self._size = iter(items), size
        self._shares: list[deque[Item | _Failed]] = [deque() for _ in range(count)]
        self._turns = cycle(self._shares)
        self._ended = False

    def share(self, i: int) -> Iterator[Item]:
        """Yield what is dealt out to the runtime `i`; an error of the iterable comes where its item would."""
        own = self._shares[i]
        while True:
            while not own and not self._ended:
                self._deal_a_batch()
            if not own:
                return
            item = own.popleft()
            if isinstance(item, _Failed):
                raise item.error
            yield item

    def _deal_a_batch(self) -> None:
        share = next(self._turns)
        for _ in range(self._size):
            try:
                share.append(next(self._items))
            except StopIteration:
                self._ended = True
                return
            except Exception as error:
                share.append(_Failed(error))
                self._ended = True
                return
