"""Annealed importance sampling: the partition function of an RBM too large to enumerate."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlib.data import ImageSet, independent_pixels
from genlib.markov.rbm import RBM


@torch.no_grad()
def annealed_importance(
    model: RBM, *, n_chains: int = 100, n_temperatures: int = 1000, data: ImageSet | None = None
) -> tuple[Tensor, Tensor]:
    r"""Estimate an RBM's $\log Z$ by annealed importance sampling (AIS), with a standard error.

    Chains start as draws from a model whose Z is known, the base-rate RBM: no weights, so all pixels
    are independent. On the way to the model there are K = `n_temperatures` steps, $\beta_k = k / K$,
    each of them an RBM again: weights $\beta W$, hidden biases $\beta c$, and visible biases that go
    from those of the base to the model's. Before a chain follows to the next RBM by one step of
    Gibbs sampling, its weight is multiplied by the ratio of the two unnormalised probabilities:

    $$w = \prod_{k=1}^K e^{F_{k-1}(x_{k-1}) - F_k(x_{k-1})}, \qquad
    E[w] = \frac{Z}{Z_0}, \qquad Z_0 = 2^{n_{hidden}} \prod_i (1 + e^{a_i})$$

    for base biases a. K = 1 is plain importance sampling from independent pixels.

    Two warnings. The estimate of Z is unbiased, so that of $\log Z$ is too low on average (Jensen),
    and likelihoods computed with it flatter the model. And the standard error is taken from the
    weights that were seen: if no chain found a large mode, it is missing in the estimate and in the
    error as well. A small error tells that the chains agree, not that they are right; ask whether
    the estimate stays when `n_temperatures` grows.

    Paper: Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks,
    section 4, after Neal (2001), arXiv:physics/9803008.

    Args:
        model: an `RBM` of any size.
        n_chains: independent chains, at least 2. The error falls as one over their square root.
        n_temperatures: RBMs on the way, counting the model.
        data: images whose mean gives the base-rate RBM its biases, as in the paper, usually those
            trained on; None takes Bernoulli(1/2) pixels as the base, $a = 0$.

    Returns:
        The estimate of $\log Z$ in nats and its standard error, two scalars on the model's device.
        The error is that of the mean weight over the mean weight (the delta method).

    Raises:
        ValueError: fewer than 2 chains, no temperature, data of another shape or of grey values.

    Example:
        >>> from genlib.markov import RBM
        >>> model = RBM((1, 4, 4), hidden_dim=8)
        >>> log_z, error = annealed_importance(model, n_chains=50, n_temperatures=20)
        >>> bool((log_z - model.log_partition()).abs() < 0.1)
        True
    """
    if n_chains < 2 or n_temperatures < 1:
        raise ValueError(
            "n_chains must be at least 2 and n_temperatures at least 1, "
            f"not {n_chains} and {n_temperatures}"
        )
    bias, weight, hidden_bias = model.visible_bias, model.weight, model.hidden_bias
    base = torch.zeros_like(bias)
    if data is not None:
        if data.levels != 2 or data.shape != model.shape:
            raise ValueError(
                f"data must be binary images of shape {model.shape}, as the model's, not {data}"
            )
        base = independent_pixels(data).logits.diff(dim=-1).flatten().to(bias)  # log-odds of white
    between = RBM(model.shape, hidden_dim=model.hidden_dim)

    def free_energy(x: Tensor, beta: float) -> Tensor:
        between.visible_bias = nn.Parameter(torch.lerp(base, bias, beta))
        between.weight = nn.Parameter(beta * weight)
        between.hidden_bias = nn.Parameter(beta * hidden_bias)
        return between._free_energy(x)  # drawn here, so black and white: nothing to check

    x = torch.bernoulli(base.sigmoid().expand(n_chains, -1))
    log_w = bias.new_zeros(n_chains)
    for k in range(1, n_temperatures + 1):
        log_w += free_energy(x, (k - 1) / n_temperatures) - free_energy(x, k / n_temperatures)
        x = between._gibbs(x, steps=1)
    log_z_base = model.hidden_dim * math.log(2) + softplus(base).sum()
    w = (log_w - log_w.max()).exp()  # in units of the largest, which cancel in the error
    error = w.std() / (w.mean() * math.sqrt(n_chains))
    return log_z_base + log_w.logsumexp(dim=0) - math.log(n_chains), error
