"""The best that any network could say of a noisy example, where the data are known."""

from torch import Tensor


def posterior_means(
    x_t: Tensor, *, alpha: Tensor, sigma: Tensor, data: Tensor, std: float = 0.0
) -> tuple[Tensor, Tensor]:
    r"""$E[x \mid x_t]$ and $E[\epsilon \mid x_t]$ for $x_t = \alpha x + \sigma \epsilon$, x being one of `data`.

    Bayes' rule: $p(x_i \mid x_t) \propto \exp(-\|x_t - \alpha x_i\|^2 / 2 v)$, $v = \sigma^2$, and both means are over
    these, each of `data` being as probable. With `std` the data are a mixture of Gaussians $N(x_i, s^2 I)$: then
    $v = \sigma^2 + \alpha^2 s^2$, and a component has $E[x \mid i, x_t] = x_i + \alpha s^2 (x_t - \alpha x_i) / v$ and
    $E[\epsilon \mid i, x_t] = \sigma (x_t - \alpha x_i) / v$.

    Args:
        x_t: noisy examples.
        alpha, sigma: of each of them; sigma is positive, or `std` is.
        data: all the examples that there are, or the means of the mixture.
        std: standard deviation s of a component, 0 for points.

    Shapes:
        x_t (B, ...), alpha, sigma (B,), data (N, ...) -> (B, ...), (B, ...)

    Example:
        >>> import torch
        >>> half, data = torch.tensor([0.5]), torch.tensor([[-1.0], [1.0]])
        >>> clean, noise = posterior_means(torch.ones(1, 1), alpha=half, sigma=half, data=data)
        >>> (half * clean + half * noise).item()  # together they are x_t
        1.0
    """
    flat, points = x_t.flatten(1), data.flatten(1).to(x_t)  # (B, D), (N, D)
    alpha, sigma = alpha[:, None], sigma[:, None]
    variance = sigma**2 + (alpha * std) ** 2
    # |x_t - alpha x_i|^2 without |x_t|^2, which is the same for all i
    square = alpha**2 * points.square().sum(dim=1) - 2 * alpha * (flat @ points.T)
    mean = (-square / (2 * variance)).softmax(dim=1) @ points  # over p(i | x_t), (B, D)
    off = (flat - alpha * mean) / variance
    return (mean + alpha * std**2 * off).view_as(x_t), (sigma * off).view_as(x_t)


def ideal_denoiser(
    x_t: Tensor, *, alpha: Tensor, sigma: Tensor, data: Tensor, std: float = 0.0
) -> Tensor:
    r"""$E[x \mid x_t]$, exactly; arguments as those of `posterior_means`, whose first result it is.

    No network can have a smaller expected squared error at any noise; and one that reaches it on its training
    images draws nothing but these.

    Example:
        >>> import torch
        >>> half, data = torch.tensor([0.5]), torch.tensor([[-1.0], [1.0]])
        >>> ideal_denoiser(torch.zeros(1, 1), alpha=half, sigma=half, data=data).item()  # as far from both
        0.0
    """
    return posterior_means(x_t, alpha=alpha, sigma=sigma, data=data, std=std)[0]
