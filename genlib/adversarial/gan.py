"""A generator trained against a discriminator: six objectives, the networks are arguments."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from genlib.surface import n_classes_of
from genlib.validation import at_least_one, check_examples, check_labels


class GAN(nn.Module):
    r"""Generative adversarial network: samples from noise, judged by a second network.

    The generator turns noise $z \sim N(0, I)$ into an example $G(z)$; the discriminator answers with
    a logit, $D(x) = \sigma(\text{logit})$ being its probability that $x$ is real. It minimises

    $$L_D = -E_x[\log D(x)] - E_z[\log(1 - D(G(z)))]$$

    and the generator, which wants its fakes called real, minimises

    $$L_G = -E_z[\log D(G(z))].$$

    This is the non-saturating GAN: `MinimaxGAN` is the one the paper proves its theorems about. Both
    logarithms are softplus functions of the logit, $-\log \sigma(a) = \text{softplus}(-a)$, so nothing
    overflows. A GAN has no `log_prob`: how probable an image is, it cannot say.

    A subclass changes the two objectives, which are functions of logits. The generator is trained in
    the mode it is in (`train` or `eval`); `generate` and `sample` always run it in eval mode, so that
    batch norm uses its running averages and an image does not depend on its neighbours in the batch.

    Paper: Goodfellow et al. (2014), Generative adversarial nets, arXiv:1406.2661, section 3.

    Args:
        generator: module z (B, latent_dim) -> x; with an attribute `n_classes` > 0, (z, y) -> x.
            Images come out in [0, 1], points anywhere.
        discriminator: module x -> logits, (B,) or (B, 1); likewise (x, y) -> logits.
        latent_dim: numbers in z.

    Shapes:
        forward:            x (B, C, H, W) in [0, 1] or points (B, D), y (B,) -> logits (B,)
        discriminator_loss: x, y -> scalar, nats
        generator_loss:     n, y (n,) -> scalar, nats
        fakes:              n, y (n,) -> (n, C, H, W) or (n, D), to train on
        sample:             n, y (n,) -> (n, C, H, W) or (n, D)
        generate:           z (n, latent_dim), y (n,) -> the same

    Raises:
        TypeError, ValueError: networks that do not fit together; data, noise or labels that they
            were not built for.

    Example:
        >>> from genlib.adversarial import MLPDiscriminator, MLPGenerator
        >>> model = GAN(MLPGenerator((2,), latent_dim=4), MLPDiscriminator((2,)), latent_dim=4)
        >>> model.discriminator_loss(torch.randn(8, 2)).shape, model.sample(3).shape
        (torch.Size([]), torch.Size([3, 2]))
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, latent_dim: int):
        super().__init__()
        n_classes = n_classes_of(generator)
        if n_classes_of(discriminator) != n_classes:
            raise ValueError(
                f"the generator has n_classes={n_classes} and the discriminator "
                f"{n_classes_of(discriminator)}: build both with the same number"
            )
        at_least_one("latent_dim", latent_dim)
        if getattr(generator, "latent_dim", latent_dim) != latent_dim:
            raise ValueError(
                f"the generator takes latent_dim={generator.latent_dim}, not {latent_dim}: "
                "give both the same number"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = latent_dim
        self.n_classes = n_classes
        # the discriminator's logits of real and fake examples in the last discriminator_loss
        self.last_logits: tuple[Tensor, Tensor] | None = None

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        r"""$-\log \sigma(a)$ of real examples' logits, $-\log(1 - \sigma(a))$ of the fakes'."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        r"""$-\log \sigma(a)$: the surer the discriminator is of a fake, the larger the gradient."""
        return F.softplus(-fake).mean()

    def forward(self, x: Tensor, *, y: Tensor | None = None) -> Tensor:
        """The discriminator's logit of every example, (B,): positive where it says "real"."""
        check_labels(y, len(x), self.n_classes)
        return _logits(self.discriminator(x, *_given(y)), x)

    def fakes(self, n: int, *, y: Tensor | None = None) -> Tensor:
        """Draw n fakes to train on: in the mode the generator is in, with gradients to it.

        Both losses draw their own, or take these: an update of both networks then runs the generator
        once instead of twice.
        """
        z = self.noise(n)
        check_labels(y, n, self.n_classes)
        return self.generator(z, *_given(y)).to(z.dtype)  # under autocast it may come in bfloat16

    def discriminator_loss(
        self, x: Tensor, *, y: Tensor | None = None, fake: Tensor | None = None
    ) -> Tensor:
        """What the discriminator minimises, from real examples and as many fakes of the same labels.

        Real and fake examples go through the discriminator one after the other, not in one batch:
        batch norm would mix their statistics, which the generator's step, with fakes only, never sees.
        No gradient reaches the generator. The discriminator's logits are kept in `last_logits`.
        """
        fake = self._fakes_beside(x, y, fake)
        real_logits, fake_logits = self(x, y=y), self(fake, y=y)
        self.last_logits = (real_logits.detach(), fake_logits.detach())
        return self.discriminator_objective(real_logits, fake_logits)

    def accuracy(self) -> float:
        """The share of examples that the discriminator classified right in the last discriminator_loss."""
        if self.last_logits is None:
            raise ValueError("there is no discriminator_loss yet that it could have judged in")
        real, fake = self.last_logits
        boundary = self.boundary(real, fake)
        return torch.cat([real > boundary, fake <= boundary]).float().mean().item()

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """The output above which the discriminator calls an example real: D = 1/2, the logit 0."""
        return 0.0

    def generator_loss(
        self, n: int, *, y: Tensor | None = None, fake: Tensor | None = None
    ) -> Tensor:
        """What the generator minimises, from n fakes; no gradient reaches the discriminator's weights."""
        if fake is None:
            fake = self.fakes(n, y=y)
        _check_number(fake, n)
        check_labels(y, n, self.n_classes)
        # The gradient passes through the discriminator on its way to the generator, not into it:
        # with its parameters held fixed, a third of the work on the way back need not be done.
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        logits = functional_call(self.discriminator, fixed, (fake, *_given(y)))
        return self.generator_objective(_logits(logits, fake))

    def generate(self, z: Tensor, *, y: Tensor | None = None) -> Tensor:
        """The examples that these noise vectors stand for; differentiable in z, same z same example."""
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z must have shape (n, {self.latent_dim}), not {tuple(z.shape)}")
        check_labels(y, len(z), self.n_classes)
        with _eval_mode(self.generator), torch.autocast(z.device.type, enabled=False):
            return self.generator(z, *_given(y))

    @torch.no_grad()
    def sample(self, n: int, *, y: Tensor | None = None) -> Tensor:
        """Draw n examples: noise through the generator, one pass for all."""
        return self.generate(self.noise(n), y=y)

    def noise(self, n: int) -> Tensor:
        """Draw n noise vectors from N(0, I), (n, latent_dim)."""
        at_least_one("n", n)
        p = next(self.parameters())
        return torch.randn(n, self.latent_dim, device=p.device, dtype=p.dtype)

    @torch.no_grad()
    def _fakes_beside(self, x: Tensor, y: Tensor | None, fake: Tensor | None) -> Tensor:
        """As many fakes as real examples; what the generator makes is also what x must look like."""
        fake = self.fakes(len(x), y=y) if fake is None else fake.detach()
        check_examples(x, tuple(fake.shape[1:]))
        _check_number(fake, len(x))
        return fake


class MinimaxGAN(GAN):
    r"""The GAN as first written, $\min_G \max_D E[\log D(x)] + E[\log(1 - D(G(z)))]$ (equation 1).

    The generator minimises $E[\log(1 - D(G(z)))] = -E[\text{softplus}(a)]$ of its fakes' logits $a$,
    with slope $-\sigma(a)$: where the discriminator is sure of a fake, $a \to -\infty$, there is
    nothing to follow. `GAN` has slope $-\sigma(-a)$ there, almost $-1$. At the best discriminator
    $D^* = p / (p + p_g)$ the value is $2\,JSD(p, p_g) - \log 4$ (theorem 1).

    Paper: Goodfellow et al. (2014), arXiv:1406.2661, sections 3 and 4.

    Args, shapes and errors: as `GAN`.

    Example:
        >>> model = MinimaxGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
        >>> model.generator_loss(5) < 0
        tensor(True)
    """

    def generator_objective(self, fake: Tensor) -> Tensor:
        r"""$\log(1 - \sigma(a))$: flat where the discriminator is sure of a fake."""
        return -F.softplus(fake).mean()


class LSGAN(GAN):
    r"""Least squares in place of logarithms: the targets of the output are 1 for real and 0 for fake.

    $$L_D = \frac{1}{2} E[(D(x) - 1)^2] + \frac{1}{2} E[D(G(z))^2], \quad
    L_G = \frac{1}{2} E[(D(G(z)) - 1)^2]$$

    A fake on the right side of the boundary but far from it still gets a gradient. Here the
    discriminator's raw output is $D$, without a sigmoid.

    Paper: Mao et al. (2017), Least squares generative adversarial networks, arXiv:1611.04076,
    equation 9.

    Args, shapes and errors: as `GAN`; losses are squares, not nats.

    Example:
        >>> model = LSGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
        >>> model.discriminator_objective(real=torch.ones(3), fake=torch.zeros(3))
        tensor(0.)
    """

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """Squared errors: the target is 1 for real examples, 0 for fakes."""
        return (real - 1).square().mean() / 2 + fake.square().mean() / 2

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Squared error: the target is 1 for fakes."""
        return (fake - 1).square().mean() / 2

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """Halfway between the two targets."""
        return 0.5


class HingeGAN(GAN):
    r"""The hinge loss: a discriminator learns from examples only until they are clear of a margin.

    $$L_D = E[\max(0, 1 - D(x))] + E[\max(0, 1 + D(G(z)))], \quad L_G = -E[D(G(z))]$$

    A real example with an output above 1, or a fake with one below -1, has no gradient. The
    generator's gradient has the same size at every output, as in a Wasserstein GAN, so the
    discriminator's slope should be bounded: give it `spectral_norm`. Its raw output is $D$.

    Paper: Miyato et al. (2018), Spectral normalization for generative adversarial networks,
    arXiv:1802.05957, section 4; first in Lim & Ye (2017), Geometric GAN, arXiv:1705.02894.

    Args, shapes and errors: as `GAN`; losses are in the units of the output, not nats.

    Example:
        >>> model = HingeGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
        >>> model.discriminator_objective(real=torch.tensor([0.0, 3.0]), fake=torch.tensor([0.5, -2.0]))
        tensor(1.2500)
    """

    def discriminator_objective(self, real: Tensor, fake: Tensor) -> Tensor:
        """Real examples to above 1, fakes to below -1."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator_objective(self, fake: Tensor) -> Tensor:
        """Minus the fakes' mean output."""
        return -fake.mean()


def _check_number(fake: Tensor, n: int) -> None:
    if len(fake) != n:
        raise ValueError(f"there are {len(fake)} fakes, not {n}: draw them by fakes({n}, y)")


def _given(y: Tensor | None) -> tuple[Tensor, ...]:
    """The trailing argument of a conditional network, none of an unconditional one."""
    return () if y is None else (y,)


def _logits(raw: Tensor, x: Tensor) -> Tensor:
    """One number an example, in its type: losses are in float32, also where networks are not."""
    return raw.reshape(len(x)).to(x.dtype)


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    """Run a network in eval mode, then put every layer back into the mode it was in."""
    modes = [(layer, layer.training) for layer in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
