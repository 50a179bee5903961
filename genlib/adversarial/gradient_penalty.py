"""GANs with a gradient penalty: R1 at real examples, and the Wasserstein critic between real and fake."""

import torch
from torch import Tensor, nn

from genlib.adversarial.gan import GAN


class _SlopePenalty(GAN):
    """The penalty is on the gradient at each example, so outputs must depend on one example each."""

    penalty: float  # by default

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent_dim: int,
        penalty: float | None = None,
    ):
        super().__init__(generator, discriminator, latent_dim=latent_dim)
        if any(
            isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in discriminator.modules()
        ):
            raise ValueError(
                "the critic contains batch norm, which makes its score of one example depend on the "
                "others: build it with norm=layer_norm (arXiv:1704.00028, section 4)"
            )
        self.penalty = self.penalty if penalty is None else penalty
        if self.penalty < 0:
            raise ValueError(f"penalty must be 0 or more, not {penalty}")

    def _slope(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The gradient of each example's output at that example, (B, values)."""
        x.requires_grad_()
        # the outputs are summed, but each depends on its own example only: one gradient an example
        (slope,) = torch.autograd.grad(self(x, y=y).sum(), x, create_graph=True)
        return slope.flatten(1)


class R1GAN(_SlopePenalty):
    r"""The non-saturating GAN with a gradient penalty at real examples.

    $$L_D = -E[\log D(x)] - E[\log(1 - D(G(z)))] + \frac{\gamma}{2} E[\lVert \nabla_x a(x) \rVert^2]$$

    with the logit $a$ of $D$ and the mean over real examples only. Where fakes equal the data, the
    best discriminator is flat; the penalty takes away the slope that would move them on. As in
    `WGANGP` it depends on each example alone, so the discriminator may not contain batch norm.

    Paper: Mescheder et al. (2018), Which training methods for GANs do actually converge?,
    arXiv:1801.04406, section 4.

    Args:
        generator, discriminator, latent_dim: as `GAN`.
        penalty: weight gamma, 1 by default.

    Shapes and errors: as `GAN`.

    Example:
        >>> model = R1GAN(nn.Linear(1, 2), nn.Linear(2, 1), latent_dim=1)
        >>> slope = model.discriminator.weight.norm()
        >>> torch.allclose(model.gradient_penalty(torch.rand(4, 2)), slope**2)
        True
    """

    penalty = 1.0

    def discriminator_loss(
        self, x: Tensor, *, y: Tensor | None = None, fake: Tensor | None = None
    ) -> Tensor:
        """What the discriminator minimises: the objective and half the weighted gradient penalty."""
        objective = super().discriminator_loss(x, y=y, fake=fake)
        return objective + self.penalty / 2 * self.gradient_penalty(x, y=y)

    def gradient_penalty(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$E[\lVert \nabla a \rVert^2]$ at these examples."""
        return self._slope(x.detach(), y).square().sum(dim=1).mean()


class WGANGP(_SlopePenalty):
    r"""Wasserstein GAN with gradient penalty: the discriminator becomes a critic with bounded slope.

    Over all functions with slope at most 1, the largest $E[D(x)] - E[D(G(z))]$ is the
    Wasserstein-1 (earth mover's) distance of data and samples. The critic minimises

    $$L_D = E[D(G(z))] - E[D(x)] + \lambda\, E_{\hat x}[(\lVert \nabla_{\hat x} D(\hat x) \rVert - 1)^2]$$

    with $\hat x = \epsilon x + (1 - \epsilon) G(z)$, $\epsilon \sim U[0, 1]$ for each pair, and the
    generator $L_G = -E[D(G(z))]$. A critic's score has a scale but no zero. It should be kept near
    its best: the paper takes 5 critic steps for each of the generator's. The penalty is on the
    gradient at each example alone, so the critic may not contain batch norm.

    Paper: Gulrajani et al. (2017), Improved training of Wasserstein GANs, arXiv:1704.00028,
    section 4, equation 3 and algorithm 1.

    Args:
        generator, discriminator, latent_dim: as `GAN`.
        penalty: weight lambda of the gradient penalty, 10 by default.

    Shapes and errors: as `GAN`; losses are in the units of the critic's score.

    Example:
        >>> model = WGANGP(nn.Linear(1, 2), nn.Linear(2, 1), latent_dim=1)
        >>> slope = model.discriminator.weight.norm()
        >>> penalty = model.gradient_penalty(torch.rand(4, 2), torch.rand(4, 2))
        >>> torch.allclose(penalty, (slope - 1) ** 2)
        True
    """

    penalty = 10.0

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """The fakes' mean score less that of real examples: minus an estimate of the distance."""
        return fake.mean() - real.mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Minus the fakes' mean score."""
        return -fake.mean()

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """Halfway between the mean scores: adding a constant to a critic changes nothing."""
        return (real.mean() + fake.mean()) / 2

    def discriminator_loss(
        self, x: Tensor, *, y: Tensor | None = None, fake: Tensor | None = None
    ) -> Tensor:
        """What the critic minimises: the objective and the weighted gradient penalty."""
        fake = self._fakes_beside(x, y, fake)
        objective = super().discriminator_loss(x, y=y, fake=fake)
        return objective + self.penalty * self.gradient_penalty(x, fake, y=y)

    def gradient_penalty(self, x: Tensor, fake: Tensor, *, y: Tensor | None = None) -> Tensor:
        r"""$E[(\lVert \nabla D \rVert - 1)^2]$ at random places between each real example and its fake."""
        share = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
        between = torch.lerp(fake, x, share)
        return (self._slope(between, y).norm(dim=1) - 1).square().mean()
