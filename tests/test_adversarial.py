"""Theorems about GANs: its value at the optimum, whose gradient goes where, what each side learns."""

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Normal

from genlib.adversarial import (
    GAN,
    LSGAN,
    R1GAN,
    WGANGP,
    DCGANDiscriminator,
    DCGANGenerator,
    HingeGAN,
    InstanceNoise,
    MinimaxGAN,
    MLPDiscriminator,
    MLPGenerator,
    layer_norm,
)
from genlib.data import load
from genlib.metrics import mode_coverage, train_classifier
from genlib.training import fit_gan, gan_optimizers, train_gan_epoch

OBJECTIVES = pytest.mark.parametrize("objective", [GAN, MinimaxGAN, LSGAN, HingeGAN, R1GAN, WGANGP])
LOG_GAMES = pytest.mark.parametrize("objective", [GAN, MinimaxGAN])

# Two densities on the line, and the integral over a grid that reaches 8 standard deviations.
DATA, FAKES = Normal(0.0, 1.0), Normal(1.5, 0.7)
GRID = torch.linspace(-9, 9, 1001, dtype=torch.double)[:, None]


def integral(f: Tensor) -> Tensor:
    return torch.trapezoid(f[:, 0], GRID[:, 0])


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return integral(log_p.exp() * (log_p - log_q))


class Exact(nn.Module):
    """The best discriminator, D* = p / (p + p_g): its logit is log p - log p_g."""

    def __init__(self, wrong: float = 0.0):
        super().__init__()
        self.wrong = nn.Parameter(torch.tensor(wrong))

    def forward(self, x: Tensor) -> Tensor:
        return DATA.log_prob(x) - FAKES.log_prob(x) + self.wrong * x.sin()


class Known(nn.Module):
    """Turns noise into FAKES exactly."""

    def forward(self, z: Tensor) -> Tensor:
        return FAKES.mean + FAKES.stddev * z


def points(objective: type[GAN], **options: float) -> GAN:
    """A small game in the plane."""
    return objective(
        MLPGenerator((2,), latent_dim=3), MLPDiscriminator((2,)), latent_dim=3, **options
    )


def images(objective: type[GAN], n_classes: int = 0, side: int = 8, channels: int = 1) -> GAN:
    """A small game of DCGAN's networks; with a gradient penalty it has layer norm."""
    norm = layer_norm if objective in (R1GAN, WGANGP) else nn.BatchNorm2d
    shape = (channels, side, side)
    return objective(
        DCGANGenerator(shape, latent_dim=5, hidden_dim=8, n_classes=n_classes),
        DCGANDiscriminator(shape, hidden_dim=8, n_classes=n_classes, norm=norm),
        latent_dim=5,
    )


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [p.grad for p in network.parameters()]


# The best discriminator and the value at it.


@LOG_GAMES
def test_at_the_best_discriminator_the_value_is_twice_jsd_minus_log_4(objective: type[GAN]):
    log_p, log_q = DATA.log_prob(GRID), FAKES.log_prob(GRID)
    log_mix = torch.logaddexp(log_p, log_q) - math.log(2)
    jsd = (kl(log_p, log_mix) + kl(log_q, log_mix)) / 2
    value = 2 * jsd - math.log(4)

    # by quadrature, of the objective's two halves at the exact logit (a zero costs log 2)
    model = objective(Known(), Exact(), latent_dim=1)
    a = model(GRID)[:, None]
    zero = torch.zeros(1, dtype=torch.double)
    cost = [
        torch.stack([model.discriminator_objective(b, zero) for b in a]) - math.log(2),
        torch.stack([model.discriminator_objective(zero, b) for b in a]) - math.log(2),
    ]
    loss = integral(log_p.exp() * cost[0][:, None] + log_q.exp() * cost[1][:, None])
    torch.testing.assert_close(-loss, value, rtol=0, atol=1e-6)  # what the grid leaves over

    # and as the model measures it, from samples: within 4 standard errors
    n = 100_000
    sampled = model.discriminator_loss(DATA.sample((n, 1)))
    assert model.last_logits is not None
    real, fake = model.last_logits
    error = (F.softplus(-real).var() / n + F.softplus(fake).var() / n).sqrt()
    assert abs(-sampled - value) < 4 * error < 0.02


@LOG_GAMES
def test_no_other_discriminator_costs_less_than_the_exact_one(objective: type[GAN]):
    p, q = DATA.log_prob(GRID).exp(), FAKES.log_prob(GRID).exp()

    def loss(wrong: float) -> Tensor:
        a = Exact(wrong)(GRID)
        return integral(p * F.softplus(-a) + q * F.softplus(a))

    assert all(loss(wrong) > loss(0.0) + 1e-4 for wrong in (-0.3, -0.1, 0.1, 0.3))
    # the model's gradient agrees: it is zero at the exact one, up to 4 standard errors
    model = objective(Known(), Exact(), latent_dim=1)
    slopes = []
    for _ in range(50):
        (slope,) = torch.autograd.grad(
            model.discriminator_loss(DATA.sample((1000, 1))), model.discriminator.parameters()
        )
        slopes.append(slope)
    slopes = torch.stack(slopes)
    assert slopes.mean().abs() < 4 * slopes.std() / math.sqrt(50)


def test_a_trained_discriminator_comes_close_to_the_exact_one():
    model = GAN(Known(), MLPDiscriminator((1,), hidden_dim=64), latent_dim=1)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        loss = model.discriminator_loss(DATA.sample((512, 1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        learnt = model(GRID.float()).double().sigmoid()[:, None]
    exact = Exact()(GRID).detach().sigmoid()
    mixture = (DATA.log_prob(GRID).exp() + FAKES.log_prob(GRID).exp()) / 2
    # where the two densities live; seeds 0 to 9 gave 0.0030 to 0.0047
    assert integral(mixture * (learnt - exact).abs()) < 0.01
    assert integral(mixture * (exact - 0.5).abs()) > 0.3  # what a discriminator that guesses gets


# Gradients that vanish, and gradients that do not.


def slope(objective: type[GAN], logit: float) -> float:
    """How the generator's loss changes with the logit of its one fake."""
    a = torch.tensor([logit], dtype=torch.double, requires_grad=True)
    game = objective(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    (grad,) = torch.autograd.grad(game.generator_objective(a), a)
    return grad.item()


@pytest.mark.parametrize("logit", [-30.0, -10.0, -4.0, -1.0, 0.0, 2.0])
def test_the_minimax_slope_is_minus_d_and_the_non_saturating_one_minus_one_plus_d(logit: float):
    d = 1 / (1 + math.exp(-logit))
    assert slope(MinimaxGAN, logit) == pytest.approx(-d)
    assert slope(GAN, logit) == pytest.approx(-(1 - d))
    # so their ratio is D / (1 - D) = e^logit: as the discriminator gets sure, all or nothing
    assert slope(MinimaxGAN, logit) / slope(GAN, logit) == pytest.approx(math.exp(logit))


def test_under_a_sure_discriminator_only_the_minimax_gradient_vanishes():
    generator, discriminator = MLPGenerator((2,), latent_dim=3), MLPDiscriminator((2,))
    nn.init.constant_(discriminator.rest[-1].bias, -20.0)  # sure that everything is fake
    norms = {}
    for objective in (GAN, MinimaxGAN):
        torch.manual_seed(1)  # the same noise
        model = objective(generator, discriminator, latent_dim=3)
        grads = torch.autograd.grad(model.generator_loss(64), generator.parameters())
        norms[objective] = nn.utils.get_total_norm(grads)
    # every logit lies near -20, which its slopes of e^-20 and 1 multiply
    ratio = norms[MinimaxGAN] / norms[GAN]
    assert ratio == pytest.approx(math.exp(-20), rel=0.5)
    assert norms[GAN] > 1e-3


@LOG_GAMES
def test_losses_stay_finite_and_exact_at_any_logit(objective: type[GAN]):
    game = objective(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    a = torch.tensor([1000.0])
    assert game.discriminator_objective(-a, a).item() == 2000  # wrong about both
    assert game.discriminator_objective(a, -a).item() == 0
    assert game.generator_objective(-a).item() == {GAN: 1000, MinimaxGAN: 0}[objective]
    assert game.generator_objective(a).item() == {GAN: 0, MinimaxGAN: -1000}[objective]


def test_least_squares_targets_are_one_and_zero():
    game = LSGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])
    assert game.discriminator_objective(real, fake).item() == (4 + 0) / 4 + (4 + 0) / 4
    assert game.generator_objective(fake).item() == (1 + 1) / 4


def test_the_hinge_loss_stops_at_its_margins():
    game = HingeGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    real, fake = torch.tensor([3.0, 1.0, 0.5, -2.0]), torch.tensor([-3.0, -1.0, -0.5, 2.0])
    real.requires_grad_()
    loss = game.discriminator_objective(real, fake)
    assert loss.item() == (0 + 0 + 0.5 + 3) / 4 + (0 + 0 + 0.5 + 3) / 4
    (slope,) = torch.autograd.grad(loss, real)
    assert slope[0] == 0 and (slope[2:] == -1 / 4).all()  # at the margin itself it has none
    assert game.generator_objective(fake).item() == (3 + 1 + 0.5 - 2) / 4


def test_a_critics_loss_is_the_difference_of_mean_scores():
    game = WGANGP(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([2.0, -4.0])
    assert game.discriminator_objective(real, fake).item() == -1 - 2
    assert game.generator_objective(fake).item() == 1


# Whose gradient goes where.


@OBJECTIVES
def test_the_discriminators_loss_sends_no_gradient_to_the_generator(objective: type[GAN]):
    model = images(objective)
    model.discriminator_loss(torch.rand(6, 1, 8, 8)).backward()
    assert all(g is None for g in gradients(model.generator))
    assert all(g is not None and g.isfinite().all() for g in gradients(model.discriminator))
    assert any(g.abs().max() > 0 for g in gradients(model.discriminator) if g is not None)


@OBJECTIVES
def test_the_generators_loss_leaves_the_discriminators_gradients_as_they_were(
    objective: type[GAN],
):
    model = images(objective)
    for p in model.discriminator.parameters():
        p.grad = torch.full_like(p, 7.0)
    model.generator_loss(6).backward()
    assert all(g is not None and (g == 7).all() for g in gradients(model.discriminator))
    assert all(p.requires_grad for p in model.discriminator.parameters())
    assert all(g is not None and g.isfinite().all() for g in gradients(model.generator))


@OBJECTIVES
def test_fixing_the_discriminator_changes_nothing_for_the_generator(objective: type[GAN]):
    model = images(objective)
    parameters = list(model.generator.parameters())
    torch.manual_seed(1)
    grads = torch.autograd.grad(model.generator_loss(6), parameters)
    torch.manual_seed(1)
    plain = model.generator_objective(model(model.generator(model.noise(6))))
    for got, expected in zip(grads, torch.autograd.grad(plain, parameters), strict=True):
        torch.testing.assert_close(got, expected)


@OBJECTIVES
def test_fakes_drawn_before_serve_both_losses_as_their_own_would(objective: type[GAN]):
    model, x = images(objective), torch.rand(6, 1, 8, 8)
    model.eval()  # batch norm's averages stay where they are
    losses, slopes = [], []
    for drawn_before in (False, True):
        torch.manual_seed(1)
        fake = model.fakes(6) if drawn_before else None
        losses.append(model.discriminator_loss(x, fake=fake))
        losses[-1].backward()
        assert all(g is None for g in gradients(model.generator))
        if not drawn_before:
            torch.manual_seed(1)
        losses.append(model.generator_loss(6, fake=fake))
        slopes.append(torch.autograd.grad(losses[-1], list(model.generator.parameters())))
    torch.testing.assert_close(losses[:2], losses[2:])
    torch.testing.assert_close(*slopes)
    for loss in (
        lambda: model.discriminator_loss(x, fake=model.fakes(5)),
        lambda: model.generator_loss(6, fake=model.fakes(5)),
    ):
        with pytest.raises(ValueError, match="5 fakes, not 6"):
            loss()


# What each side learns.


@OBJECTIVES
def test_each_objective_moves_a_linear_generator_to_the_mean_of_the_data(objective: type[GAN]):
    class Data:
        mean = torch.tensor([2.0, -1.0])

        def sample(self, n: int) -> Tensor:
            return self.mean + 0.5 * torch.randn(n, 2)

    # a critic with the usual penalty has slope 1 also at the goal, and the generator circles it
    options = {"penalty": 0.1} if objective is WGANGP else {}
    discriminator = MLPDiscriminator((2,), hidden_dim=32)
    model = objective(nn.Linear(2, 2), discriminator, latent_dim=2, **options)
    start = (model.sample(2000).mean(dim=0) - Data.mean).norm()
    fit_gan(model, Data(), updates=800, batch_size=128, learning_rate=1e-2)
    # seeds 0 to 9 ended at most 0.05 away, WGANGP 0.09
    assert (model.sample(2000).mean(dim=0) - Data.mean).norm() < 0.3 < 1 < start


def test_a_gan_draws_almost_all_of_the_bars():
    bars = load("bars")
    many = bars[torch.arange(30).repeat(20)]
    model = GAN(
        MLPGenerator((1, 4, 4), latent_dim=16),
        InstanceNoise(MLPDiscriminator((1, 4, 4)), std=0.5),
        latent_dim=16,
    )
    record = fit_gan(model, many, updates=1500, batch_size=128, learning_rate=2e-3)
    samples = (model.sample(3000) > 0.5).float()
    # seeds 0 to 9 covered all 30
    assert mode_coverage(samples, bars.floats(), radius=0.5) >= 26
    assert {len(curve) for curve in record.values()} == {1500}


def test_a_conditional_generator_obeys_its_label():
    digits = load("digits")
    classifier = train_classifier(digits)
    model = GAN(
        DCGANGenerator((1, 8, 8), latent_dim=16, hidden_dim=16, n_classes=10),
        DCGANDiscriminator((1, 8, 8), hidden_dim=16, n_classes=10),
        latent_dim=16,
    )
    fit_gan(model, digits, updates=600, learning_rate=4e-3)
    y = torch.arange(1000) % 10
    # seeds 0 to 9 gave 0.934 to 0.977
    assert (classifier.predict(model.sample(1000, y=y)) == y).float().mean() >= 0.9


@OBJECTIVES
@pytest.mark.parametrize("kind", ["points", "images"])
def test_a_label_changes_its_own_example_only(objective: type[GAN], kind: str):
    if kind == "images":
        model = images(objective, n_classes=3)
    else:
        model = objective(
            MLPGenerator((2,), latent_dim=5, n_classes=3),
            MLPDiscriminator((2,), n_classes=3),
            latent_dim=5,
        )
    z = model.noise(2)
    before = model.generate(z, y=torch.tensor([0, 1]))
    after = model.generate(z, y=torch.tensor([2, 1]))
    assert not torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])
    model.discriminator.eval()
    x = before.detach()
    before, after = (model(x, y=torch.tensor(y)) for y in ([0, 1], [2, 1]))
    assert before[0] != after[0]
    torch.testing.assert_close(before[1], after[1])


# Networks.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
def test_dcgan_fits_images_of_every_size(side: int, channels: int):
    shape = (channels, side, side)
    generator = DCGANGenerator(shape, latent_dim=5, hidden_dim=4)
    discriminator = DCGANDiscriminator(shape, hidden_dim=4)
    x = generator(10 * torch.randn(3, 5))
    assert x.shape == (3, *shape)
    assert 0 <= x.min() < x.max() <= 1
    assert discriminator(x).shape == (3,)
    (slope,) = torch.autograd.grad(discriminator.eval()(x).sum(), x)
    assert (slope != 0).any(dim=0).all()  # no pixel that it does not look at


def test_sides_need_not_be_equal():
    model = GAN(
        DCGANGenerator((1, 8, 28), latent_dim=5, hidden_dim=4),
        DCGANDiscriminator((1, 8, 28), hidden_dim=4),
        latent_dim=5,
    )
    assert model.sample(2).shape == (2, 1, 8, 28)


@pytest.mark.parametrize(
    "network, n_layers",
    [
        (DCGANGenerator((3, 32, 32), n_classes=10), 5),  # from noise, from labels, 3 convolutions
        (DCGANDiscriminator((3, 32, 32), n_classes=10), 4),
    ],
)
def test_dcgans_weights_start_where_the_paper_says(network: nn.Module, n_layers: int):
    weighted = (nn.Linear, nn.Embedding, nn.Conv2d, nn.ConvTranspose2d)
    layers = [layer for layer in network.modules() if isinstance(layer, weighted)]
    for layer in layers:
        n = layer.weight.numel()
        # 5 standard errors: sigma / sqrt(n) of a mean, sigma / sqrt(2 n) of a standard deviation
        assert abs(layer.weight.mean()) < 5 * 0.02 / math.sqrt(n)
        assert abs(layer.weight.std() - 0.02) < 5 * 0.02 / math.sqrt(2 * n)
        assert getattr(layer, "bias", None) is None or not layer.bias.any()
    assert len(layers) == n_layers


# Sampling.


@pytest.mark.parametrize("network", ["points", "images"])
@pytest.mark.parametrize("training", [True, False])
def test_sampling_leaves_modes_averages_and_gradients_alone(network: str, training: bool):
    model = {"points": points, "images": images}[network](GAN).train(training)
    model.generator.rest[0].eval()  # a layer in a mode of its own
    modes = [layer.training for layer in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    x = model.sample(4)
    assert not x.requires_grad and not x.is_inference()
    model.generate(model.noise(4))
    assert [layer.training for layer in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all((p.grad == 1).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("network", ["points", "images"])
def test_an_example_does_not_depend_on_its_neighbours_in_the_batch(network: str):
    model = {"points": points, "images": images}[network](GAN).train()
    z = model.noise(5)
    torch.testing.assert_close(model.generate(z)[2:3], model.generate(z[2:3]))


def test_samples_are_what_their_noise_generates_and_follow_the_seed():
    model = images(GAN)
    torch.manual_seed(3)
    x = model.sample(4)
    torch.manual_seed(3)
    torch.testing.assert_close(model.generate(model.noise(4)), x)
    assert not torch.equal(model.sample(4), x)


def test_generated_examples_can_be_differentiated_with_respect_to_their_noise():
    model = images(GAN)
    z = model.noise(3).requires_grad_()
    (slope,) = torch.autograd.grad(model.generate(z)[1].sum(), z)
    assert (slope[1] != 0).all() and not slope[0].any() and not slope[2].any()


def test_noise_is_standard_normal():
    z = points(GAN).noise(50_000)
    assert z.shape == (50_000, 3)
    assert z.mean().abs() < 4 / math.sqrt(150_000)
    assert abs(z.std() - 1) < 4 / math.sqrt(2 * 150_000)


# The loop.


def two_batches(n: int = 4, m: int = 2) -> Iterator[tuple[Tensor, None]]:
    return iter([(torch.randn(n, 2), None), (torch.randn(m, 2) + 1, None)])


class Count(torch.optim.SGD):
    """Counts its steps and takes none."""

    def __init__(self, network: nn.Module):
        super().__init__(network.parameters(), lr=0.0)
        self.steps = 0

    def step(self, closure=None):  # type: ignore[override]
        self.steps += 1
        return super().step(closure)


@pytest.mark.parametrize("k, generator_steps", [(1, 6), (2, 3), (3, 2), (4, 1), (6, 1)])
def test_the_generator_takes_one_step_after_every_k_of_the_discriminator(k, generator_steps):
    model = points(GAN)
    for_generator, for_discriminator = Count(model.generator), Count(model.discriminator)
    batches = [(torch.randn(4, 2), None)] * 6
    train_gan_epoch(model, batches, for_generator, for_discriminator, discriminator_steps=k)
    assert (for_generator.steps, for_discriminator.steps) == (generator_steps, 6)


def test_each_step_moves_its_own_network_only():
    model = points(GAN)
    before = {name: p.clone() for name, p in model.named_parameters()}
    moving = torch.optim.SGD(model.discriminator.parameters(), lr=0.1)
    train_gan_epoch(model, two_batches(), Count(model.generator), moving)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all(name.startswith("discriminator") for name in moved)


def test_the_record_averages_over_examples_and_measures_gradients():
    model = GAN(nn.Linear(1, 2), nn.Linear(2, 1), latent_dim=1)
    x, w = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    with torch.no_grad():  # fakes are all at (-1, 0), scores are the first coordinate
        model.generator.weight.zero_(), model.generator.bias.copy_(torch.tensor([-1.0, 0.0]))
        model.discriminator.weight.copy_(w), model.discriminator.bias.zero_()
    batches = [(x[:2], None), (x[2:], None)]
    seen = train_gan_epoch(model, batches, Count(model.generator), Count(model.discriminator))
    real, fake = F.softplus(-x[:, 0]).mean().item(), math.log1p(math.exp(-1))
    assert seen["discriminator_loss"] == pytest.approx(real + fake)
    assert seen["generator_loss"] == pytest.approx(math.log1p(math.e))
    assert seen["accuracy"] == pytest.approx((2 / 3 + 1) / 2)  # a score of 0 counts as fake
    # L_G = softplus(-a): its slope at a = -1 reaches the bias and, by the noise, the weight
    assert seen["generator_gradient"] >= 1 / (1 + math.exp(-1))
    assert seen["discriminator_gradient"] > 0


@pytest.mark.parametrize(
    "objective, real, fake, accuracy",
    [
        (GAN, [1.0, -1.0], [-2.0, -3.0], 3 / 4),
        (LSGAN, [0.6, 0.4], [0.4, 0.1], 3 / 4),
        (WGANGP, [9.0, 8.0], [7.0, 6.0], 1.0),  # 7.5 lies between the means
        (WGANGP, [-9.0, 8.0], [-8.0, -6.0], 3 / 4),
    ],
)
def test_accuracy_counts_from_the_objectives_own_boundary(objective, real, fake, accuracy):
    model = points(objective)
    model.last_logits = (torch.tensor(real), torch.tensor(fake))
    assert model.accuracy() == pytest.approx(accuracy)


def test_a_conditional_gan_passes_its_labels_on():
    model = images(GAN, n_classes=10)
    optimizers = gan_optimizers(model)
    seen = train_gan_epoch(model, load("digits", size=64).batches(32), *optimizers, fast=True)
    assert all(math.isfinite(value) for value in seen.values())


def test_too_few_batches_for_a_generator_step_are_refused():
    model = points(GAN)
    with pytest.raises(ValueError, match="fewer than 3 batches"):
        train_gan_epoch(model, two_batches(), *gan_optimizers(model), discriminator_steps=3)
    with pytest.raises(ValueError, match="discriminator_steps"):
        train_gan_epoch(model, two_batches(), *gan_optimizers(model), discriminator_steps=0)
    with pytest.raises(ValueError, match="updates"):
        fit_gan(model, load("bars"), updates=0)


# Devices.


@OBJECTIVES
@pytest.mark.parametrize("n_classes", [0, 10])
def test_no_tensor_stays_behind_on_the_cpu(
    objective: type[GAN], n_classes: int, monkeypatch: pytest.MonkeyPatch
):
    # fake tensors cannot go backwards on a device that is not there: a slope of the right shape
    monkeypatch.setattr(torch.autograd, "grad", lambda y, x, **how: (torch.ones_like(x),))
    with FakeTensorMode():  # raises FakeTensorDeviceMismatchError if one does
        # only what is built here: the device is not the default when the model computes
        with torch.device("cuda"):
            y = torch.zeros(2, dtype=torch.long) if n_classes else None
            large = images(objective, n_classes, side=28, channels=3), torch.rand(2, 3, 28, 28)
            small = objective(
                MLPGenerator((1, 4, 4), latent_dim=5, n_classes=n_classes),
                InstanceNoise(MLPDiscriminator((1, 4, 4), n_classes=n_classes), std=0.1),
                latent_dim=5,
            )
            games = [large, (small, torch.rand(2, 1, 4, 4))]
        for model, x in games:
            results = [
                model(x, y=y),
                model.discriminator_loss(x, y=y),
                model.generator_loss(2, y=y),
            ]
            results += [model.sample(2, y=y), model.generate(model.noise(2), y=y)]
            assert all(result.device.type == "cuda" for result in results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@OBJECTIVES
def test_a_gpu_gives_the_images_the_cpu_gives_and_trains(objective: type[GAN]):
    model = images(objective, n_classes=10).eval()
    z, y = model.noise(4), torch.tensor([0, 1, 1, 0])
    on_cpu, logits = model.generate(z, y=y), model(torch.full((4, 1, 8, 8), 0.5), y)
    model.cuda()
    torch.testing.assert_close(
        model.generate(z.cuda(), y=y.cuda()).cpu(), on_cpu, rtol=1e-3, atol=1e-4
    )
    on_gpu = model(torch.full((4, 1, 8, 8), 0.5).cuda(), y.cuda())
    torch.testing.assert_close(on_gpu.cpu(), logits, rtol=1e-3, atol=1e-4)
    record = fit_gan(model.train(), load("digits", size=64), updates=2, fast=True)
    assert all(math.isfinite(value) for curve in record.values() for value in curve)
    assert model.sample(4, y=y.cuda()).is_cuda


# Input validation: what is refused, each by name.

IMAGE = torch.full((2, 1, 8, 8), 0.5)


@OBJECTIVES
@pytest.mark.parametrize(
    "x, error, message",
    [
        (IMAGE.long(), TypeError, "float tensor"),
        (IMAGE.numpy(), TypeError, "not ndarray"),
        (IMAGE[0], ValueError, r"shape \(B, 1, 8, 8\), not \(1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8), ValueError, r"not \(2, 3, 8, 8\)"),
        (2 * IMAGE - 1.5, ValueError, r"must lie in \[0, 1\], not in \[-0.5, -0.5\]"),
        (IMAGE * float("nan"), ValueError, "NaN"),
    ],
)
def test_bad_images_are_refused(objective: type[GAN], x: Tensor, error: type, message: str):
    with pytest.raises(error, match=message):
        images(objective).discriminator_loss(x)


@OBJECTIVES
@pytest.mark.parametrize(
    "x, error, message",
    [
        (torch.zeros(4, 2, dtype=torch.long), TypeError, "points must be a float tensor"),
        (torch.zeros(4, 2).numpy(), TypeError, "not ndarray"),
        (torch.zeros(4, 3), ValueError, r"points must have shape \(B, 2\), not \(4, 3\)"),
        (torch.zeros(4), ValueError, r"not \(4,\)"),
        (torch.full((4, 2), math.inf), ValueError, "NaN or infinity"),
        (torch.full((4, 2), math.nan), ValueError, "NaN or infinity"),
    ],
)
def test_bad_points_are_refused(objective: type[GAN], x: Tensor, error: type, message: str):
    with pytest.raises(error, match=message):
        points(objective).discriminator_loss(x)


@OBJECTIVES
@pytest.mark.parametrize(
    "y, error, message",
    [
        (None, ValueError, r"conditional \(n_classes=3\): pass labels"),
        (torch.tensor([0]), ValueError, r"shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), TypeError, "int64"),
        (torch.tensor([0, 3]), ValueError, r"0\.\.2, not in 0\.\.3"),
    ],
)
def test_bad_labels_are_refused(objective: type[GAN], y: Tensor | None, error: type, message: str):
    model = images(objective, n_classes=3)
    for call in (
        lambda: model(IMAGE, y=y),
        lambda: model.discriminator_loss(IMAGE, y=y),
        lambda: model.generator_loss(2, y=y),
        lambda: model.sample(2, y=y),
        lambda: model.generate(model.noise(2), y=y),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(ValueError, match="unconditional"):
        images(objective).discriminator_loss(IMAGE, y=torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: GAN(
                MLPGenerator((2,), latent_dim=3, n_classes=2), MLPDiscriminator((2,)), latent_dim=3
            ),
            "n_classes=2",
        ),
        (
            lambda: GAN(MLPGenerator((2,), latent_dim=3), MLPDiscriminator((2,)), latent_dim=4),
            "latent_dim=3, not 4",
        ),
        (
            lambda: GAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=0),
            "latent_dim must be at least 1",
        ),
        (lambda: WGANGP(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1, penalty=-1), "penalty"),
        (lambda: R1GAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1, penalty=-1), "penalty"),
        (lambda: MLPGenerator((2, 2), latent_dim=3), r"shape must be \(C, H, W\) or \(D,\)"),
        (lambda: MLPDiscriminator((2,), depth=0), "depth"),
        (lambda: DCGANGenerator((1, 7, 8)), "even and at least 8, not 7 x 8"),
        (lambda: DCGANDiscriminator((1, 4, 4)), "take the MLP pair"),
        (lambda: InstanceNoise(nn.Linear(1, 1), std=-1), "std"),
        (lambda: points(GAN).sample(0), "n must be at least 1"),
        (lambda: points(GAN).generator_loss(0), "n must be at least 1"),
        (lambda: points(GAN).generate(torch.zeros(2, 4)), r"z must have shape \(n, 3\)"),
        (lambda: points(GAN).accuracy(), "no discriminator_loss yet"),
    ],
)
def test_impossible_models_and_requests_are_refused(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
