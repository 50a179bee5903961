"""The masked convolution, and the order of the colours that its mask follows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.caching import CachedLayer, DecodingState


class MaskedConv2d(nn.Conv2d):
    r"""A convolution that reads only earlier pixels of the raster order.

    Output pixel $(i, j)$ reads the rows above it and, in its own row, the pixels to its left. Of its
    own pixel it reads what the colour mask allows: every channel belongs to a group (red, green or
    blue), group $g$ reads groups $< g$ under mask A and groups $\le g$ under mask B. Mask A hides the
    value being predicted and belongs in the first layer; all later layers take mask B.

    A centred $k \times k$ kernel has nothing but zeros below its middle row, so those rows are not
    stored: the kernel has $\lfloor k/2 \rfloor + 1$ rows and its last one is the pixel's own. The mask
    multiplies the weight in the call; the parameter itself is never edited.

    Source: van den Oord et al. (2016), Pixel Recurrent Neural Networks, arXiv:1601.06759, section 3.4.

    Args:
        in_group: group of each input channel, a 1-D integer tensor.
        out_group: group of each output channel, likewise.
        kernel_size: (rows, columns), rows counted up from the own row; columns odd, or with
            `left_only` counted leftwards from the own pixel.
        mask: "A" or "B".
        dilation: distance between neighbouring taps.
        left_only: the kernel ends at the own pixel instead of being centred on it.

    Shapes:
        (B, len(in_group), H, W) -> (B, len(out_group), H, W)

    Example:
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> conv = MaskedConv2d(one, one, kernel_size=(2, 3), mask="A")
        >>> conv.mask[0, 0].int().tolist()
        [[1, 1, 1], [1, 0, 0]]
    """

    mask: Tensor

    def __init__(
        self,
        in_group: Tensor,
        out_group: Tensor,
        kernel_size: tuple[int, int],
        mask: str,
        *,
        dilation: int = 1,
        left_only: bool = False,
    ):
        if mask not in ("A", "B"):
            raise ValueError(f'mask must be "A" or "B", not {mask!r}')
        super().__init__(len(in_group), len(out_group), kernel_size, dilation=dilation)
        rows, columns = kernel_size
        centre = columns - 1 if left_only else columns // 2
        allowed = torch.ones(self.weight.shape)
        allowed[:, :, -1, centre + 1 :] = 0
        later = in_group >= out_group[:, None] if mask == "A" else in_group > out_group[:, None]
        allowed[:, :, -1, centre].masked_fill_(later, 0)
        self.register_buffer("mask", allowed, persistent=False)
        # left, right, top, bottom: the output keeps the size of the input
        self.pad = (centre * dilation, (columns - 1 - centre) * dilation, (rows - 1) * dilation, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            F.pad(x, self.pad), self.weight * self.mask, self.bias, dilation=self.dilation
        )

    def cached(self, decoding: DecodingState) -> "CachedMaskedConv":
        """The same convolution one pixel at a time, see `genlib.autoregressive.caching.cached`."""
        return CachedMaskedConv(self, decoding)


class CachedMaskedConv(CachedLayer):
    r"""`MaskedConv2d`, a pixel at a time.

    A convolution adds up one matrix product a tap, $\sum_t W_t x_{p+t}$. Taps in the rows above read
    finished pixels, so `start_row` adds them up for the whole row, in one product. What is left at a
    pixel are the taps of its own row: those to the left, and the pixel itself.

    Inputs are remembered as they are, not copied. This matters in a first layer: mask A does not read
    the value about to be drawn, and when the next pixel reads it, it has been filled in.
    """

    def __init__(self, conv: MaskedConv2d, decoding: DecodingState):
        super().__init__(decoding)
        assert conv.bias is not None
        (left, right, n_above, _), (_, columns) = conv.pad, conv.kernel_size
        self.dilation = conv.dilation[0]
        self.columns = range(0, columns * self.dilation, self.dilation)  # of the taps

        weight = (conv.weight * conv.mask).detach()  # masked once a sample
        taps = weight.permute(2, 3, 1, 0).contiguous()  # (rows, columns, F, F')
        self.taps_above = taps[:-1].flatten(0, 2)
        *self.left_taps, (_, self.own_tap) = [
            (k, tap) for k, tap in zip(self.columns, taps[-1], strict=True) if k <= left
        ]
        self.bias = conv.bias.detach()  # (F',)

        # a row is a list of pixels (n, F), with zeros at both ends for taps beyond the image
        self.row = [weight.new_zeros(decoding.n, conv.in_channels)] * (
            left + decoding.width + right
        )
        self.own = left  # where column 0 lies in the list
        self.rows_above = [torch.stack(self.row)] * n_above
        # what comes out at each pixel of the row, (n, F'), and the part that rows above contribute
        self.out = weight.new_empty(decoding.width, decoding.n, conv.out_channels).unbind()
        self.from_above = (self.bias.repeat(decoding.n, 1),) * decoding.width

    def start_row(self) -> None:
        if not self.rows_above:
            return
        self.rows_above = [*self.rows_above[1:], torch.stack(self.row)]
        width = self.decoding.width
        read = [
            row[k : k + width] for row in self.rows_above[:: self.dilation] for k in self.columns
        ]
        x = torch.cat(read, dim=2)  # (W, n, rows * columns * F)
        out = torch.addmm(self.bias, x.flatten(0, 1), self.taps_above)
        self.from_above = out.unflatten(0, (width, -1)).unbind()

    def __call__(self, x: Tensor) -> Tensor:
        column, row = self.decoding.column, self.row
        row[self.own + column] = x
        # a sum and a product in one, written to memory that is there already
        out = torch.addmm(self.from_above[column], x, self.own_tap, out=self.out[column])
        for k, tap in self.left_taps:
            out.addmm_(row[column + k], tap)
        return out


def colour_groups(features: int, n_colours: int) -> Tensor:
    """Share `features` channels out among the colours, as evenly as they go: (features,) integers.

    Feature maps carry a colour too, so that green's features may read red's and not the reverse.

    Raises:
        ValueError: fewer features than colours; one of them would have no feature of its own.

    Example:
        >>> colour_groups(8, 3).tolist()
        [0, 0, 0, 1, 1, 1, 2, 2]
    """
    if features < n_colours:
        raise ValueError(
            f"{features} feature maps cannot be shared out among {n_colours} colours: "
            "give the model a larger hidden_dim"
        )
    return torch.arange(features) * n_colours // features
