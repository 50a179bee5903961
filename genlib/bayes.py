"""p(y|x) from p(x|y): classify by Bayes' rule, and refuse what no class explains."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlib.surface import n_classes_of
from genlib.validation import values_are_free_to_read


class GenerativeClassifier(nn.Module):
    r"""A class-conditional model made a classifier, by Bayes' rule.

    $$p(y \mid x) = \frac{p(x \mid y)\, p(y)}{p(x)}, \qquad p(x) = \sum_y p(x \mid y)\, p(y)$$

    The model gives $p(x \mid y)$, counting gives $p(y)$, and the denominator is a sum over classes.
    Unlike a classifier that was trained to answer, this one knows $p(x)$, and may refuse an image
    that is improbable under every class. That is no safe test for outliers: simple images can be
    more probable than anything the model was trained on (Nalisnick et al., 2019, arXiv:1810.09136).

    A model with `log_prob` makes all of this exact. One that has only a bound, `elbo`, puts the bound
    in the place of $\log p(x \mid y)$: `elbo` is then a bound on $\log p(x)$, there is no `log_prob`,
    and the posterior is off by as much as the bound's gap differs between classes. Each call draws
    codes anew, so it also scatters.

    Args:
        model: conditional (`n_classes` > 0), with `log_prob(x, y)` or `elbo(x, y)` in nats.
        prior: probability of each class, (n_classes,), positive, of sum one; for instance
            `train.labels.bincount() / len(train)`.

    Shapes:
        log_joint: x (B, C, H, W) -> (B, n_classes), nats
        posterior: x -> (B, n_classes), of sum one
        log_prob, elbo: x -> (B,), nats
        predict:   x -> labels (B,), int64

    Raises:
        TypeError: a model without labels, or with neither `log_prob` nor `elbo`.
        ValueError: a prior that is none.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1, n_classes=2)
        >>> classifier = GenerativeClassifier(model, prior=torch.tensor([0.3, 0.7]))
        >>> classifier.posterior(torch.zeros(5, 1, 4, 4)).shape
        torch.Size([5, 2])
    """

    log_prior: Tensor

    def __init__(self, model: nn.Module, prior: Tensor):
        super().__init__()
        n_classes = n_classes_of(model)
        self.is_exact = hasattr(model, "log_prob")
        if not n_classes:
            raise TypeError(
                "Bayes' rule needs p(x | y), and this model has no labels: build it with n_classes"
            )
        if not self.is_exact and not hasattr(model, "elbo"):
            raise TypeError(
                f"{type(model).__name__} has neither log_prob nor elbo: it cannot say how probable "
                "an image is, so Bayes' rule cannot be applied"
            )
        if prior.shape != (n_classes,) or not prior.is_floating_point():
            raise ValueError(
                f"prior must be {n_classes} floats, one probability a class, not "
                f"{prior.dtype} of shape {tuple(prior.shape)}"
            )
        if values_are_free_to_read(prior) and (
            not (prior > 0).all() or abs(prior.double().sum().item() - 1) > 1e-4
        ):
            raise ValueError(
                f"the prior must be positive and sum to one, not {prior.tolist()}: a class that "
                "never occurs needs no model; divide counts by their sum"
            )
        self.model = model
        self.n_classes = n_classes
        self.register_buffer("log_prior", prior.log().to(next(model.parameters()).device))

    @torch.no_grad()
    def log_joint(self, x: Tensor, batch_size: int = 500) -> Tensor:
        r"""$\log p(x, y) = \log p(x \mid y) + \log p(y)$ for every class, or bounds on it.

        Args:
            x: images.
            batch_size: images that the model is shown at once, which bounds the memory needed.
        """
        score: Callable[..., Tensor] = self.model.log_prob if self.is_exact else self.model.elbo  # type: ignore[assignment]

        def of_class(k: int) -> Tensor:
            parts = x.split(batch_size)
            labels = (torch.full((len(part),), k, device=x.device) for part in parts)
            return torch.cat([score(part, y=y) for part, y in zip(parts, labels, strict=True)])

        return torch.stack([of_class(k) for k in range(self.n_classes)], dim=1) + self.log_prior

    def posterior(self, x: Tensor) -> Tensor:
        r"""$p(y \mid x)$: each joint probability divided by their sum."""
        return self.log_joint(x).softmax(dim=1)

    def log_prob(self, x: Tensor) -> Tensor:
        r"""$\log p(x) = \log \sum_y p(x, y)$ in nats, exact; a TypeError where there is only a bound."""
        if not self.is_exact:
            raise TypeError(
                f"{type(self.model).__name__} has only a bound on log p(x | y): use `elbo`, which is "
                "a bound on log p(x)"
            )
        return self.log_joint(x).logsumexp(dim=1)

    def elbo(self, x: Tensor) -> Tensor:
        r"""A bound on $\log p(x)$ in nats; for an exact model, $\log p(x)$ itself."""
        return self.log_joint(x).logsumexp(dim=1)

    def predict(self, x: Tensor, reject_below: float | None = None) -> Tensor:
        r"""The most probable class of each image; -1 for one that the model refuses.

        Args:
            x: images.
            reject_below: refuse an image whose log p(x) (or bound) lies below this, in nats; None
                always answers.
        """
        joint = self.log_joint(x)
        label = joint.argmax(dim=1)
        if reject_below is None:
            return label
        return label.where(joint.logsumexp(dim=1) >= reject_below, -1)


def n_parameters(model: nn.Module) -> int:
    """How many numbers a model learns.

    Example:
        >>> n_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters())


def auroc(in_scores: Tensor, out_scores: Tensor) -> float:
    r"""How well a score tells two sets apart: the chance that an in-distribution one scores higher.

    The area under the receiver operating characteristic. It equals $P(s > t) + \frac12 P(s = t)$ for
    one score of each set drawn at random (Hanley & McNeil, 1982), so 1/2 is guessing, 1 perfect, and
    below 1/2 the score has it the wrong way round. No threshold is needed.

    Args:
        in_scores: of in-distribution images, like those the model was trained on, for instance log p(x).
        out_scores: of out-of-distribution images.

    Shapes:
        (N,), (M,) -> a number in [0, 1]

    Raises:
        ValueError: a set without scores, or a NaN.

    Example:
        >>> auroc(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0]))
        0.875
    """
    if not len(in_scores) or not len(out_scores):
        raise ValueError("both sets need at least one score")
    if in_scores.isnan().any() or out_scores.isnan().any():
        raise ValueError("scores contain NaN: look for the step that produced it")
    out_scores, in_scores = out_scores.sort().values, in_scores.contiguous()
    below = torch.searchsorted(out_scores, in_scores, right=False)
    not_above = torch.searchsorted(out_scores, in_scores, right=True)
    return ((below + not_above).double().mean() / (2 * len(out_scores))).item()
