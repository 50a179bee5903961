"""The order in which a training sees its images."""

import zlib
from dataclasses import dataclass, field

import torch
from torch import Tensor


def seed_for(*what: object) -> int:
    """A seed for a purpose, so that two purposes never share their random numbers by accident.

    32 bits: the generator of a CPU looks at no more of its seed.
    """
    return zlib.crc32(repr(what).encode())


@dataclass(frozen=True)
class Order:
    """Which images each update of a training sees: a function of the seed and nothing else.

    An epoch is a new random order of all images, cut into batches as equal as they go. So a training
    that stopped in the middle of an epoch goes on with the image that comes next, and of several
    processes each takes its share of every batch, without a word between them.

    Example:
        >>> order = Order(n=10, batch_size=4, seed=0)
        >>> [len(order.batch(i)) for i in range(order.batches)]  # of the first epoch
        [4, 3, 3]
        >>> sorted(torch.cat([order.batch(i) for i in range(order.batches)]).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        >>> order.share(1, rank=0, world_size=2), order.share(1, rank=1, world_size=2)
        (tensor([...]), tensor([...]))
    """

    n: int  # images
    batch_size: int  # at most; of all processes together
    seed: int
    # of the epoch asked for last, since the next question is usually about the same
    _last: dict[int, tuple[Tensor, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n < 1 or self.batch_size < 1:
            raise ValueError(
                f"n and batch_size must be at least 1, not {self.n}, {self.batch_size}"
            )

    @property
    def batches(self) -> int:
        """How many batches make an epoch."""
        return -(-self.n // self.batch_size)

    def batch(self, i: int) -> Tensor:
        """Rows of the i-th batch of the training, counted from 0 through all epochs."""
        epoch, i = divmod(i, self.batches)
        if epoch not in self._last:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "order", epoch))
            rows = torch.randperm(self.n, generator=generator)
            self._last.clear()
            self._last[epoch] = rows.tensor_split(self.batches)
        return self._last[epoch][i]

    def share(self, i: int, rank: int, world_size: int) -> Tensor:
        """The part of the i-th batch that the process of this rank takes."""
        return self.batch(i)[rank::world_size]
