"""Muon, the optimiser of the pixel models' recipes: it moves all directions of a matrix at one speed."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw


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


class Muon(Optimizer):
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
        # with `fused` a restored count of steps comes back to the device of its parameter
        super().__init__(groups, {"lr": 1e-3, "fused": True})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if "momentum" in group and weights:
                self._muon(weights, group["lr"], group["momentum"])
            elif weights:
                self._adamw(weights, group["lr"])

    def _muon(self, weights: list[nn.Parameter], lr: float, beta: float) -> None:
        g = torch.stack([w.grad.flatten(1) for w in weights])  # type: ignore[union-attr]  # (N, out, in * taps)
        state = self.state[weights[0]]  # of the whole group, kept with its first weight
        m = state.setdefault("momentum_buffer", torch.zeros_like(g)).lerp_(g, 1 - beta)
        update = orthogonalise(g.lerp(m, beta))  # Nesterov: look ahead along the momentum
        rate = lr * max(1, g.shape[1] / g.shape[2]) ** 0.5
        for w, u in zip(weights, update, strict=True):
            w.sub_(u.view_as(w), alpha=rate)

    def _adamw(self, weights: list[nn.Parameter], lr: float) -> None:
        for w in weights:
            if not self.state[w]:
                self.state[w] = {
                    "step": torch.zeros((), device=w.device),
                    "exp_avg": torch.zeros_like(w),
                    "exp_avg_sq": torch.zeros_like(w),
                }
        states = [self.state[w] for w in weights]
        adamw(
            weights,  # type: ignore[arg-type]
            [w.grad for w in weights],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.95,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


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
