"""The best denoiser there can be, where the data are finitely many or a mixture of Gaussians."""

from torch import Tensor


def ideal_denoiser(
    x_t: Tensor, *, alpha: Tensor, sigma: Tensor, data: Tensor, std: float = 0.0
) -> Tensor:
    r"""$E[x \mid x_t]$ for $x_t = \alpha x + \sigma \epsilon$, exactly, x being one of `data`, each as probable.

    Bayes' rule: $p(x_i \mid x_t) \propto \exp(-\|x_t - \alpha x_i\|^2 / 2 \sigma^2)$, and the mean is over these.
    No network can have a smaller expected squared error at any noise; and one that reaches it on its training
    images draws nothing but these. With `std` the data are a mixture of Gaussians $N(x_i, s^2 I)$: then
    $p(i \mid x_t)$ has the variance $v = \sigma^2 + \alpha^2 s^2$, and $E[x \mid i, x_t] = x_i + \alpha s^2 (x_t -
    \alpha x_i) / v$.

    Args:
        x_t: noisy examples.
        alpha, sigma: of each of them; sigma is positive.
        data: all the examples that there are, or the means of the mixture.
        std: standard deviation s of a component, 0 for points.

    Shapes:
        x_t (B, ...), alpha, sigma (B,), data (N, ...) -> (B, ...)

    Example:
        >>> import torch
        >>> half, data = torch.tensor([0.5]), torch.tensor([[-1.0], [1.0]])
        >>> ideal_denoiser(torch.zeros(1, 1), alpha=half, sigma=half, data=data).item()  # as far from both
        0.0
    """
    flat, points = x_t.flatten(1), data.flatten(1).to(x_t)  # (B, D), (N, D)
    alpha, sigma = alpha[:, None], sigma[:, None]
    variance = sigma**2 + (alpha * std) ** 2
    # |x_t - alpha x_i|^2 without |x_t|^2, which is the same for all i
    square = alpha**2 * points.square().sum(dim=1) - 2 * alpha * (flat @ points.T)
    probable = (-square / (2 * variance)).softmax(dim=1)  # p(i | x_t), (B, N)
    mean = probable @ points
    return (mean + alpha * std**2 / variance * (flat - alpha * mean)).view_as(x_t)
