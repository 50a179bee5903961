"""Which noise goes with which example: by chance, or so that the ways are short."""

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor


def optimal_transport(noise: Tensor, x: Tensor, *, y: Tensor | None = None) -> Tensor:
    r"""For each example the index of the noise that goes with it, so that the total squared distance is least.

    Of all permutations of the batch the one with the least $\sum_i \|x_i - \epsilon_{\pi(i)}\|^2$, by SciPy's
    solver of the assignment problem (Pooladian et al., 2023, arXiv:2304.14772; Tong et al., 2024,
    arXiv:2302.00482). The more examples a batch has, the nearer this comes to the optimal transport between both
    distributions. With labels, the permutation stays within a label: otherwise a label would get only the noise that
    lies on its side.

    Args:
        noise: (B, ...).
        x: examples, (B, ...).
        y: labels (B,), or None.

    Returns:
        A permutation of the numbers from 0 to B - 1, (B,).

    Raises:
        ValueError: unequal shapes.

    Example:
        >>> optimal_transport(torch.tensor([[1.0], [-1.0]]), torch.tensor([[-3.0], [3.0]]))
        tensor([1, 0])
    """
    if noise.shape != x.shape:
        raise ValueError(
            f"noise and examples must have one shape, not {tuple(noise.shape)} and {tuple(x.shape)}"
        )
    labels = torch.zeros(len(x), device="cpu") if y is None else y.cpu()
    found = torch.empty(len(x), dtype=torch.long, device="cpu")
    # SciPy's solver needs the costs on the CPU, and so do its indices
    for label in labels.unique():
        group = (labels == label).nonzero()[:, 0]
        a, b = (z.detach().flatten(1)[group.to(z.device)] for z in (x, noise))
        columns = linear_sum_assignment(torch.cdist(a, b).square().cpu().numpy())[1]
        found[group] = group[torch.from_numpy(columns)]
    return found.to(x.device)
