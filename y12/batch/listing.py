"""The inputs of a run, written down: which image is in which part never changes, however often the run is begun again.

    _y12/inputs-00000.parquet   a row group for each unit of images, so many units a file
    a part                      so many units that follow each other; what is found in it is part-0000007.parquet

So each image is in one part, and a part's file is whole or not there: what is done is what is there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice

from y12.batch.storage import Store, file_system
from y12.errors import InputError

__all__ = ["FOLDER", "UNIT", "Listing", "write_listing"]

FOLDER = "_y12"  # readers of folders of Parquet pass over what begins so
UNIT = 32  # images: the least that a worker takes
UNITS_A_FILE = 1024
_LEAST_PARTS, _MOST_UNITS = 32, 16


@dataclass(frozen=True)
class Listing:
    """The inputs of a run.

    Attributes:
        count: how many there are.
        part: images in a part; the last one has fewer.
    """

    count: int
    part: int

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.count // self.part)

    def size(self, part: int) -> int:
        """Return how many images a part has."""
        return min(self.part, self.count - part * self.part)

    def names(self, store: Store, part: int) -> list[str]:
        """Return the images of a part.

        Raises:
            InputError: the listing cannot be read.
        """
        import pyarrow.parquet as pq

        first, names = part * self.part // UNIT, list[bytes]()
        for file, units in _by_file(range(first, first + -(-self.size(part) // UNIT))):
            system, path = file_system(store.path(_file(file)))
            try:
                with pq.ParquetFile(path, filesystem=system) as opened:
                    names += opened.read_row_groups(units)["source"].to_pylist()
            except (OSError, ValueError) as error:
                raise InputError(f"{store.path(_file(file))}: expected the run's inputs ({error})") from error
        return [name.decode(errors="surrogateescape") for name in names]


def write_listing(store: Store, names: Iterator[str]) -> Listing:
    """Write down the inputs, a unit at a time, and say how they are parted.

    Raises:
        OutputError: they cannot be written.
    """
    count = 0
    units = iter(lambda: list(islice(names, UNIT)), [])
    for file, first in enumerate(units):
        count += _write_file(store, file, chain([first], islice(units, UNITS_A_FILE - 1)))
    units_a_part = min(max(count // (_LEAST_PARTS * UNIT), 1), _MOST_UNITS)
    return Listing(count, units_a_part * UNIT)


def _write_file(store: Store, file: int, units: Iterable[list[str]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = pa.schema([("source", pa.binary())]), 0
    with store.written(_file(file)) as stream, pq.ParquetWriter(stream, schema) as writer:
        for unit in units:
            # Names on a disk are bytes, and not all of them are text.
            names = [name.encode(errors="surrogateescape") for name in unit]
            writer.write_table(pa.table({"source": names}, schema=schema))
            count += len(unit)
    return count


def _by_file(units: range) -> Iterator[tuple[int, list[int]]]:
    """Yield the files that units are in, and which row groups they are there."""
    for file, group in groupby(units, lambda unit: unit // UNITS_A_FILE):
        yield file, [unit % UNITS_A_FILE for unit in group]


def _file(number: int) -> str:
    return f"{FOLDER}/inputs-{number:05d}.parquet"
