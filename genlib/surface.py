"""What a model can be asked, as types: the leaves of the taxonomy differ in which of these they have.

A function that takes a model of any leaf asks by `isinstance` whether it has what is needed.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.distributions import Distribution


@runtime_checkable
class HasLabels(Protocol):
    """Has been built for so many labels; for 0, if it is unconditional."""

    n_classes: int


def n_classes_of(model: nn.Module) -> int:
    """How many labels a model takes: its `n_classes`, and 0 for a network of one's own without.

    Example:
        >>> n_classes_of(nn.Linear(3, 2))
        0
    """
    return model.n_classes if isinstance(model, HasLabels) else 0


@runtime_checkable
class HasLoss(Protocol):
    """Can be trained: a scalar to minimise."""

    def loss(self, x: Tensor, *, y: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class HasLogProb(Protocol):
    """Gives the exact log-likelihood, in nats an example."""

    def log_prob(self, x: Tensor, *, y: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class HasVelocity(Protocol):
    """Is a flow: carries noise to data by an ordinary differential equation."""

    shape: tuple[int, ...]

    def velocity(self, x: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor: ...


def is_flow_of_images(model: nn.Module) -> bool:
    """Whether a model is a flow, and of images, whose `log_prob` refuses: the trace takes a derivative a value.

    Example:
        >>> from genlib.flow_matching import FlowMatching
        >>> is_flow_of_images(FlowMatching((2,))), is_flow_of_images(FlowMatching((1, 8, 8)))
        (False, True)
    """
    return isinstance(model, HasVelocity) and len(model.shape) == 3


@runtime_checkable
class HasBound(Protocol):
    """Gives a bound below log p(x), in nats an example, through latent variables."""

    n_classes: int
    latent_dim: int

    def elbo(self, x: Tensor, *, y: Tensor | None = None) -> Tensor: ...
    def posterior(self, x: Tensor, *, y: Tensor | None = None) -> Distribution: ...
    def prior(self) -> Distribution: ...
    def log_likelihood(self, x: Tensor, z: Tensor, *, y: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class HasBoundInSteps(Protocol):
    """Gives draws of a bound below log p(x), in nats an example, by so many steps of noise."""

    def elbo(self, x: Tensor, *, y: Tensor | None = None, steps: int = 100) -> Tensor: ...
    def bound(
        self, x: Tensor, *, y: Tensor | None = None, steps: int = 100
    ) -> dict[str, Tensor]: ...


@runtime_checkable
class CanSample(Protocol):
    """Draws new examples, without gradients."""

    def sample(self, n: int, *, y: Tensor | None = None) -> Tensor: ...
