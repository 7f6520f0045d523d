"""Batches by the number of the training step: whoever asks for a step gets the same batch, so a run can be resumed."""

from torch.utils.data import Dataset

from y12.errors import OptionsError
from y12.exporter.train.batch import Batch
from y12.exporter.train.examples.collate import collate
from y12.exporter.train.examples.sources import Source

__all__ = ["Batches"]

_MOST_IMAGES = 4096


class Batches(Dataset[Batch]):
    """A source's examples in batches: `batches[step]` is a pure function of the seed and the step, 0 or more.

    To read ahead: `DataLoader(batches, batch_size=None, sampler=range(first, last), num_workers=n)`.

    Args:
        source: gives the examples.
        batch: images of a batch. The last one of an epoch is filled up with the epoch's first images.
        seed: 0 or more; another one gives another order and other variations.

    Attributes:
        source: as given; `names`, `masks`, `points`, `oriented` and `notes` are its own.
        steps_per_epoch: batches that show each image of an epoch.

    Raises:
        OptionsError: an argument is out of range.
    """

    def __init__(self, source: Source, batch: int, seed: int) -> None:
        if not 1 <= batch <= _MOST_IMAGES:
            raise OptionsError(f"batch: expected 1 to {_MOST_IMAGES} images, found {batch}")
        if seed < 0:
            raise OptionsError(f"seed: expected 0 or more, found {seed}")
        self.source, self.batch, self.seed = source, batch, seed
        self.steps_per_epoch = -(-len(source) // batch)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, by class id."""
        return self.source.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run's report has to know of the data."""
        return self.source.notes

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step.

        Raises:
            IndexError: the step is negative.
            InputError, DatasetError: an image can no longer be read.
        """
        if step < 0:
            raise IndexError(f"expected a step of 0 or more, found {step}")
        epoch, in_epoch = divmod(step, self.steps_per_epoch)
        positions = range(in_epoch * self.batch, (in_epoch + 1) * self.batch)
        return collate([self.source.example(self.seed, epoch, position) for position in positions])
