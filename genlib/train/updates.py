"""How a model is updated once: what its recipe brings, besides how it is built."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from genlib.execution import ExecutionContext
from genlib.train.settings import Setting, Value
from genlib.training import GAN_RECORD, train_epoch, train_gan_epoch


class LossUpdate:
    """One step of one optimiser down `model.loss`: what most models need.

    A subclass is another way to train. It says what can be set of it (`settings`), which methods
    of a model it calls (`methods`), and whether a backward pass leaves some weights without a
    gradient (`leaves_weights_out`), which several processes must know.

    Args:
        options: a value for each of `settings`, among others.
    """

    settings: ClassVar[Mapping[str, Setting]] = {}
    methods: ClassVar[tuple[str, ...]] = ("loss",)
    leaves_weights_out: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, Value]):
        self.options = options

    @property
    def batches(self) -> int:
        """How many batches of images an update takes."""
        return 1

    def averaged(self, model: nn.Module) -> AveragedModel | None:
        """An average of a model's weights over the training, which is evaluated in their place; or none."""
        return None

    def begin(self, model: nn.Module, progress: float) -> None:
        """Set what changes in the course of a training, of which the share `progress` is done."""

    def __call__(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Tensor, Tensor]],
        optimizers: Sequence[Optimizer],
        context: ExecutionContext,
    ) -> dict[str, float]:
        """Move the weights once; returns averages over the examples of these batches, by name."""
        (only,) = optimizers
        return {"loss": train_epoch(model, batches, only, context=context)}


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    r"""A copy of a model whose weights w average those that the model has after each update.

    $$\bar w_{n+1} = d\, \bar w_n + (1 - d)\, w_{n+1}, \qquad d = \min(\text{decay}, (1 + n) / (10 + n))$$

    So about the last 1 / (1 - decay) updates count, and at first only a share of those made (d as in TensorFlow's
    `ExponentialMovingAverage`). Buffers are the model's own.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = moving_average(model, decay=0.0)
        >>> average.update_parameters(model)
        >>> torch.equal(average.module.weight, model.weight)
        True
    """

    @torch.no_grad()
    def average(averages: list[Tensor], weights: list[Tensor], n: Tensor) -> None:
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n.item()) / (10 + n.item())))

    return AveragedModel(model, multi_avg_fn=average)  # type: ignore[arg-type]


class AveragedUpdate(LossUpdate):
    """The same, and a moving average of the weights is what is evaluated and drawn from.

    The gradients of diffusion and flow matching are noisy, and so are their last weights (Ho et al., 2020,
    arXiv:2006.11239, appendix B). Option `average` is the decay: 0 for the last weights.
    """

    settings: ClassVar = {"average": Setting(0.999, low=0, high=1)}

    def averaged(self, model: nn.Module) -> AveragedModel:
        return moving_average(model, float(self.options["average"]))


class VAEUpdate(LossUpdate):
    """The same, with a weight of the KL term that climbs from 0 to its end in the first share of a training.

    At the start the KL term is the easiest to lower, and codes that it has silenced rarely come back
    (Bowman et al., 2016, arXiv:1511.06349, section 3.1).
    """

    settings: ClassVar = {"kl_climb": Setting(0.3, low=0, high=1)}

    def begin(self, model: nn.Module, progress: float) -> None:
        climb, top = (float(self.options[name]) for name in ("kl_climb", "kl_weight"))
        model.kl_weight = top * min(1.0, progress / climb) if climb else top  # type: ignore[assignment]


class GANUpdate(LossUpdate):
    """Some steps of the discriminator, each on a new batch, and one of the generator."""

    settings: ClassVar = {"discriminator_steps": Setting(1, low=1)}
    methods: ClassVar = ("fakes", "discriminator_loss", "generator_loss")
    leaves_weights_out: ClassVar = True

    @property
    def batches(self) -> int:
        return int(self.options["discriminator_steps"])

    def __call__(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Tensor, Tensor]],
        optimizers: Sequence[Optimizer],
        context: ExecutionContext,
    ) -> dict[str, float]:
        generator, discriminator = optimizers
        seen = train_gan_epoch(
            model,  # type: ignore[arg-type]  # in Fabric's wrapping
            batches,
            generator,
            discriminator,
            discriminator_steps=self.batches,
            context=context,
        )
        return {name: seen[name] for name in GAN_RECORD[:3]}


class CriticUpdate(GANUpdate):
    """A critic's optimum, unlike a discriminator's, is safe to come near: five of its steps to one."""

    settings: ClassVar = {"discriminator_steps": Setting(5, low=1)}
