"""Muon, the optimiser of the pixel models' recipes: it moves all directions of a matrix at one speed."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW


def orthogonalise(g: Tensor) -> Tensor:
    r"""$U V^T$ of each $g = U S V^T$, nearly: five Newton-Schulz steps bring $S$ to about 1.

    Shapes: (N, rows, columns) -> the same

    Example:
        >>> g = torch.diag(torch.tensor([1.0, 0.1]))[None]
        >>> bool((torch.linalg.svdvals(orthogonalise(g)) > 0.3).all())
        True
    """
    x = g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x


class Muon(AdamW):
    """Momentum whose update is orthogonalised, for some groups of parameters; AdamW for the others.

    A group with a `momentum` holds weights of one shape, and is done at once: a convolution is the
    matrix from everything its kernel reads to its outputs. `torch.optim.Muon` takes only 2-D
    parameters, one at a time: 23 ms a step of the GatedPixelCNN of `make results`, and 6 ms here.
    The step is computed in the dtype of the weights.

    Source: Jordan et al. (2024), https://kellerjordan.github.io/posts/muon

    Args:
        groups: of parameters, each with its `lr`, and a `momentum` (0.95, say) if it is for Muon.

    Example:
        >>> w = nn.Parameter(torch.zeros(4, 4))
        >>> optimizer = Muon([{"params": [w], "lr": 0.1, "momentum": 0.95}])
        >>> (w.sum() - w.trace()).backward()
        >>> optimizer.step()
        >>> bool(w.norm() > 0.1)
        True
    """

    def __init__(self, groups: Iterable[dict]):
        super().__init__(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self._step_supports_amp_scaling = False  # gradients come unscaled, as Muon needs them

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if "momentum" in group and weights:
                self._muon(weights, group["lr"], group["momentum"])
                for w in weights:
                    w.grad = None  # which AdamW passes over
        super().step()

    def _muon(self, weights: list[nn.Parameter], lr: float, beta: float) -> None:
        g = torch.stack([w.grad.flatten(1) for w in weights])  # type: ignore[union-attr]  # (N, out, in * taps)
        state = self.state[weights[0]]  # of the whole group, kept with its first weight
        state.setdefault("step", torch.zeros((), device=g.device)).add_(
            1
        )  # AdamW restores no state without
        m = state.setdefault("momentum_buffer", torch.zeros_like(g)).lerp_(g, 1 - beta)
        update = orthogonalise(g.lerp(m, beta))  # Nesterov: look ahead along the momentum
        rate = lr * max(1, g.shape[1] / g.shape[2]) ** 0.5
        for w, u in zip(weights, update, strict=True):
            w.sub_(u.view_as(w), alpha=rate)


def muon_for_convolutions(model: nn.Module, learning_rate: float) -> tuple[Muon]:
    """Muon for the convolutions within a pixel model's layers, AdamW for all the rest.

    Muon's rate is 2.5 times AdamW's: chosen on held-out images, see `benchmarks/results.py`.

    Args:
        model: its layers stand in `layers` or `blocks`.
        learning_rate: AdamW's.

    Example:
        >>> from genlib.autoregressive import GatedPixelCNN
        >>> (optimizer,) = muon_for_convolutions(GatedPixelCNN((1, 8, 8), hidden_dim=8, depth=2), 1e-3)
        >>> [len(group["params"]) for group in optimizer.param_groups if "momentum" in group]
        [2, 2, 2, 2]
    """
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        within = name.startswith(("layers.", "blocks.")) and p.ndim == 4
        (by_shape.setdefault(p.shape, []) if within else rest).append(p)
    matrices = [
        {"params": weights, "lr": 2.5 * learning_rate, "momentum": 0.95}
        for weights in by_shape.values()
    ]
    return (Muon([*matrices, {"params": rest, "lr": learning_rate}]),)
