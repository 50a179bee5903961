"""From features to the probabilities of the levels: a softmax, or a mixture of logistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.autoregressive.masks import MaskedConv2d

SMALLEST = -7.0  # of a logarithm of a scale: a step of 256 levels is already 9 such scales wide


def softmax_head(group: Tensor, n_colours: int, levels: int) -> nn.Sequential:
    """From features to logits: two 1x1 convolutions that keep the order of the colours (table 1).

    Args:
        group: colour of each feature, (F,) integers.
        n_colours: number C of colours.
        levels: number K of values a colour can take.

    Shapes:
        (B, F, H, W) -> (B, K * C, H, W); the colour changes fastest

    Example:
        >>> head = softmax_head(torch.tensor([0, 0, 1, 1, 2, 2]), n_colours=3, levels=256)
        >>> head(torch.zeros(1, 6, 4, 4)).unflatten(1, (256, 3)).shape
        torch.Size([1, 256, 3, 4, 4])
    """
    return nn.Sequential(
        nn.ReLU(),
        MaskedConv2d(group, group, (1, 1), mask="B"),
        nn.ReLU(),
        MaskedConv2d(group, torch.arange(n_colours).repeat(levels), (1, 1), mask="B"),
    )


class LogisticMixtureHead(nn.Module):
    r"""From features to the levels' log-probabilities under a mixture of discretised logistics.

    A softmax knows nothing of the order of its levels: that 100 lies beside 101 it has to learn from
    the data. Here a colour's value is a continuous one, rounded to the nearest level. The continuous
    one follows a mixture of M logistic distributions, whose distribution function is
    $\sigma((v - \mu) / s)$. So level $k$, at $v_k = 2k / (K - 1) - 1$, has the probability

    $$\sum_m \pi_m \left[\sigma\!\left(\frac{v_k + h - \mu_m}{s_m}\right)
    - \sigma\!\left(\frac{v_k - h - \mu_m}{s_m}\right)\right], \qquad h = \frac{1}{K - 1},$$

    and the two levels at the ends get what lies beyond them too. So the probabilities sum to one.

    Paper: Salimans et al. (2017), PixelCNN++, arXiv:1701.05517, section 2.1. Departs from it: the
    order of the colours is kept by the masks, as in the rest of the network, and not by means that
    depend linearly on the colours before; all levels are worked out, so that the model samples and
    scores as it does with a softmax.

    Args:
        group: colour of each feature, (F,) integers.
        n_colours: number C of colours.
        levels: number K of values a colour can take.
        n_logistics: number M of logistics.

    Shapes:
        (B, F, ...) -> (B, K * C, ...), log-probabilities; the colour changes fastest

    Example:
        >>> head = LogisticMixtureHead(torch.tensor([0, 0, 1, 1]), n_colours=2, levels=17, n_logistics=5)
        >>> head(torch.zeros(1, 4, 8, 8)).unflatten(1, (17, 2)).exp().sum(dim=1).mean().round(decimals=4)
        tensor(1., grad_fn=<RoundBackward1>)
    """

    def __init__(self, group: Tensor, n_colours: int, levels: int, n_logistics: int):
        super().__init__()
        self.levels = levels
        # logarithms of the weights, means, logarithms of the scales
        self.split = (3, n_logistics, n_colours)
        self.parameters_of = softmax_head(group, n_colours, 3 * n_logistics)

    def forward(self, x: Tensor) -> Tensor:
        log_weight, mean, log_scale = self.parameters_of(x).unflatten(1, self.split).unbind(dim=1)
        log_p = log_discretised_logistic(mean, log_scale, self.levels)  # (B, K, M, C, ...)
        mixed = (log_weight.log_softmax(dim=1)[:, None] + log_p).logsumexp(dim=2)
        return mixed.flatten(1, 2)


def log_discretised_logistic(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    r"""Log-probabilities of all levels in [-1, 1] under a logistic that is rounded to them.

    With $a > b$ the edges of a level, in scales from the mean,
    $\sigma(a) - \sigma(b) = \sigma(a)\, \sigma(-b)\, (1 - e^{b - a})$: no difference of nearly equal numbers.

    Args:
        mean, log_scale: (B, ...).
        levels: number K of levels.

    Returns:
        (B, K, ...).

    Example:
        >>> log_discretised_logistic(torch.zeros(1), torch.zeros(1), levels=2).exp()
        tensor([[0.5000, 0.5000]])
    """
    log_scale = log_scale.clamp(min=SMALLEST)[:, None]
    edge = torch.linspace(-1, 1, levels, device=mean.device, dtype=mean.dtype)
    # the upper edge of each but the last
    edge = (edge[:-1] + 1 / (levels - 1)).view(-1, *[1] * (mean.ndim - 1))
    scaled = (edge - mean[:, None]) / log_scale.exp()  # (B, K - 1, ...)
    zero = torch.zeros_like(scaled[:, :1])
    below_upper = torch.cat([F.logsigmoid(scaled), zero], dim=1)  # the last has no upper edge
    above_lower = torch.cat([zero, F.logsigmoid(-scaled)], dim=1)
    width = 2 / (levels - 1) / log_scale.exp()
    inner = torch.log(-torch.expm1(-width)).expand(-1, levels - 2, *[-1] * (mean.ndim - 1))
    return below_upper + above_lower + torch.cat([zero, inner, zero], dim=1)


def head(group: Tensor, n_colours: int, levels: int, n_logistics: int) -> nn.Module:
    """The softmax for `n_logistics` = 0, else the mixture of so many logistics.

    Example:
        >>> type(head(torch.tensor([0, 0]), n_colours=1, levels=17, n_logistics=5)).__name__
        'LogisticMixtureHead'
    """
    if n_logistics < 0:
        raise ValueError(f"n_logistics must be 0 (a softmax) or more, not {n_logistics}")
    if n_logistics == 0:
        return softmax_head(group, n_colours, levels)
    return LogisticMixtureHead(group, n_colours, levels, n_logistics)
