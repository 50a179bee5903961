"""A set of images held in memory, and how to make its pixels binary."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    r"""Images with labels, in memory, on a grid of `levels` grey values.

    Pixels are stored as whole levels $k \in \{0, \dots, K-1\}$, one byte each: 10,000 pictures of
    28x28 take 8 MB. Models see floats $x = k / (K - 1)$ in [0, 1], which `floats` and `batches`
    hand out; `(x * (levels - 1)).round()` gives the levels back exactly.

    Args:
        images: pixel levels, uint8, a tensor or a NumPy array.
        labels: class of each image, int64, likewise.
        levels: number K of values a pixel can take, 2 to 256.
        n_classes: number of classes; a label lies in 0 .. n_classes - 1.
        factors: what the images were drawn from, where that is known (`strokes`); empty otherwise.

    Shapes:
        images:  (N, C, H, W) in 0 .. levels - 1
        labels:  (N,)
        factors: name -> (N,)

    Raises:
        ValueError: the tensors disagree in length, or have another shape, type or range.

    Example:
        >>> levels = torch.tensor([[[[0, 1], [2, 3]]]], dtype=torch.uint8)
        >>> data = ImageSet(levels, torch.tensor([7]), levels=4, n_classes=10)
        >>> len(data), data.shape
        (1, (1, 2, 2))
        >>> data.floats().flatten()
        tensor([0.0000, 0.3333, 0.6667, 1.0000])
    """

    images: Tensor
    labels: Tensor
    levels: int
    n_classes: int
    factors: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "labels"):
            values = getattr(self, name)
            if isinstance(values, np.ndarray):  # becomes a tensor that shares its memory
                object.__setattr__(self, name, torch.from_numpy(values))
            elif not isinstance(values, Tensor):
                raise ValueError(
                    f"{name} must be a tensor or a NumPy array, not {type(values).__name__}"
                )
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(
                f"images must be uint8 levels of shape (N, C, H, W), "
                f"not {images.dtype} of shape {tuple(images.shape)}"
            )
        if min(images.shape[1:3]) > 4 and images.shape[3] in (1, 3):  # (N, H, W, C)
            raise ValueError(
                f"images of shape {tuple(images.shape)} seem to have their channels last, and here they "
                "come second, (N, C, H, W): use images.permute(0, 3, 1, 2)"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels must be int64 of shape ({len(images)},), one an image, "
                f"not {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be 2 to 256, not {self.levels}")
        if len(images) and int(images.max()) >= self.levels:
            raise ValueError(
                f"a pixel has level {int(images.max())}, but levels={self.levels} allows "
                f"0 to {self.levels - 1}"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.n_classes:
            raise ValueError(
                f"labels run from {int(labels.min())} to {int(labels.max())}, but "
                f"n_classes={self.n_classes} allows 0 to {self.n_classes - 1}"
            )
        for name, values in self.factors.items():
            if values.shape != labels.shape:
                raise ValueError(
                    f"factor {name!r} must have shape {tuple(labels.shape)}, one number an image, "
                    f"not {tuple(values.shape)}"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"ImageSet({len(self)} images of shape {self.shape}, "
            f"levels={self.levels}, n_classes={self.n_classes})"
        )

    def __getitem__(self, rows: slice | Tensor) -> "ImageSet":
        """The subset of some rows: a slice, a tensor of indices or a Boolean mask.

        Example:
            >>> data = ImageSet(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.arange(6), 2, 6)
            >>> data[:4], data[data.labels % 2 == 0].labels
            (ImageSet(4 images of shape (1, 2, 2), levels=2, n_classes=6), tensor([0, 2, 4]))
        """
        if not isinstance(rows, slice | Tensor) or (isinstance(rows, Tensor) and rows.dim() != 1):
            # a bare number would also make `for image in data` loop for ever
            raise TypeError(
                "index an ImageSet with a slice, a 1-d tensor of indices or a mask; "
                "for one image use .floats()[i] and .labels[i]"
            )
        factors = {name: values[rows] for name, values in self.factors.items()}
        return ImageSet(self.images[rows], self.labels[rows], self.levels, self.n_classes, factors)

    def floats(self) -> Tensor:
        """All images as floats in [0, 1], (N, C, H, W): of torch's default type, as weights are."""
        return self.images.to(torch.get_default_dtype()) / (self.levels - 1)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the set in batches; the last one is smaller where N does not divide.

        A single image that would be left over joins the batch before it: batch norm compares the
        images of a batch, and could not train on one alone.

        Args:
            batch_size: images a batch, at least 1.
            shuffle: a new random order in each pass; False keeps the order of the set.
            generator: where the order comes from, on the CPU; None follows `torch.manual_seed`.
            device: where the batches go; None leaves them where the images are.

        Shapes:
            yields x (B, C, H, W) float32 in [0, 1], y (B,) int64

        Example:
            >>> data = ImageSet(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5), 2, 5)
            >>> [y.tolist() for x, y in data.batches(3, shuffle=False)]
            [[0, 1, 2], [3, 4]]
            >>> [y.tolist() for x, y in data.batches(2, shuffle=False)]
            [[0, 1], [2, 3, 4]]
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        n = len(self)
        order = torch.randperm(n, generator=generator) if shuffle else torch.arange(n)
        sizes = batch_sizes(n, batch_size)
        return (self.batch(rows, device=device) for rows in order.split(sizes))

    def endless_batches(
        self,
        batch_size: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`batches` without end, shuffled anew in every pass: for a training counted in updates.

        Example:
            >>> data = ImageSet(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5), 2, 5)
            >>> stream = data.endless_batches(3)
            >>> [len(next(stream)[0]) for _ in range(4)]
            [3, 2, 3, 2]
        """
        while True:
            yield from self.batches(batch_size, generator=generator, device=device)

    def batch(
        self, rows: Tensor, *, device: torch.device | str | None = None
    ) -> tuple[Tensor, Tensor]:
        """The images of these rows as a model is given them, and their labels.

        Example:
            >>> data = ImageSet(torch.ones(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5), 2, 5)
            >>> x, y = data.batch(torch.tensor([3, 1]))
            >>> x.shape, y
            (torch.Size([2, 1, 2, 2]), tensor([3, 1]))
        """
        # bytes travel to the device, floats are made there: a quarter of the traffic
        x = self.images[rows].to(device).to(torch.get_default_dtype()).div_(self.levels - 1)
        return x, self.labels[rows].to(device)


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """How many images the batches of one pass hold: the last one may be smaller, but never just one.

    Example:
        >>> batch_sizes(10, 4), batch_sizes(9, 4), batch_sizes(1, 4)
        ([4, 4, 2], [4, 5], [1])
    """
    sizes = [batch_size] * (n // batch_size)
    rest = n % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def bernoulli_pixels(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw each pixel as 1 with probability equal to its grey value: $b \sim \text{Ber}(x)$.

    Drawn once (`binarise`) this is the fixed set of Salakhutdinov & Murray (2008), "On the
    quantitative analysis of deep belief networks", section 6; drawn anew for every batch it is the
    dynamic binarisation that most VAE papers train with. The two give different likelihoods:
    compare numbers only within one.

    Args:
        x: grey values in [0, 1], any shape.
        generator: where the draws come from; None follows `torch.manual_seed`.

    Shapes:
        x -> same shape and dtype, values 0 and 1

    Raises:
        ValueError: a value lies outside [0, 1].

    Example:
        >>> bernoulli_pixels(torch.tensor([0.0, 0.5, 1.0]), generator=torch.Generator().manual_seed(0))
        tensor([0., 0., 1.])
    """
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):  # a NaN fails both
        raise ValueError("pixels must lie in [0, 1]; divide levels by (levels - 1) first")
    # three times as fast as torch.bernoulli, and the same: u < x with probability x
    u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return (u < x).to(x.dtype)


def binarise(data: ImageSet, *, how: str = "threshold", seed: int = 0) -> ImageSet:
    """The same images with black and white pixels only: levels = 2.

    Args:
        data: images with any number of levels.
        how: "threshold" makes a pixel white where its value is at least one half; "stochastic"
            draws it once as white with probability equal to its value (see `bernoulli_pixels`).
        seed: of the stochastic draw; the same seed gives the same images. "threshold" ignores it.

    Example:
        >>> data = ImageSet(torch.tensor([[[[0, 7, 8, 16]]]], dtype=torch.uint8),
        ...                 torch.tensor([0]), levels=17, n_classes=10)
        >>> binarise(data).images.flatten().tolist()
        [0, 0, 1, 1]
    """
    x = data.floats()
    if how == "threshold":
        binary = x >= 0.5
    elif how == "stochastic":
        binary = bernoulli_pixels(x, generator=torch.Generator().manual_seed(seed))
    else:
        raise ValueError(f'how must be "threshold" or "stochastic", not {how!r}')
    return ImageSet(binary.to(torch.uint8), data.labels, 2, data.n_classes, data.factors)


def is_train(split: str) -> bool:
    """Whether `split` is "train", and not "test"; a ValueError if it is neither."""
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    return split == "train"


def independent_pixels(data: ImageSet) -> Categorical:
    r"""The baseline of independent pixels: every value follows its own histogram.

    Counted on the data, plus one for each level, so that none is impossible (Laplace's rule).

    Returns:
        A distribution over levels for each value, batch shape (C, H, W): `log_prob(images.long())`
        gives nats a value, (N, C, H, W), and `sample((n,))` levels.

    Example:
        >>> from genlib.data import bars
        >>> baseline = independent_pixels(bars())
        >>> baseline.probs[0, 0, 0]  # 15 of 30 images are white here
        tensor([0.5000, 0.5000])
        >>> baseline.sample((8,)).shape
        torch.Size([8, 1, 4, 4])
    """
    counts = [1 + (data.images == k).sum(dim=0) for k in range(data.levels)]
    return Categorical(probs=torch.stack(counts, dim=-1).float())
