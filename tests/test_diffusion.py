"""Theorems about diffusion: each step has a closed form, and the best possible denoiser is known."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, MixtureSameFamily, Normal

from genlib.data import EightGaussians, all_images, load
from genlib.diffusion import (
    CosineSchedule,
    Diffusion,
    LinearSchedule,
    ProbabilityFlow,
    Schedule,
    draw,
    ideal_denoiser,
    posterior_of_a_step,
)
from genlib.networks import TimeMLP, UNet

SCHEDULES = pytest.mark.parametrize("schedule", [CosineSchedule(), LinearSchedule(8, -5)])
TWO = torch.tensor([[-1.5], [0.8]], dtype=torch.double)  # the means of a mixture on the line


class Ideal(nn.Module):
    """A network that returns E[x | x_t] of finitely many examples, or of Gaussians around them."""

    def __init__(self, data: Tensor, schedule: Schedule, std: float = 0.0):
        super().__init__()
        self.schedule, self.std = schedule, std
        self.data = nn.Parameter(data)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=self.data, std=self.std)


def ideal(data: Tensor, std: float = 0.0, levels: int = 0, **ends: float) -> Diffusion:
    schedule = CosineSchedule(**ends)
    inside = 2 * data - 1 if data.ndim == 4 else data
    network = Ideal(inside, schedule, std)
    return Diffusion(
        data.shape[1:], network=network, levels=levels, schedule=schedule, prediction="x"
    )


def times(*t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.double)


# Schedules and the closed forms of noise. -----------------------------------------------------------


@SCHEDULES
def test_a_schedule_falls_from_end_to_end_and_preserves_variance(schedule: Schedule):
    t = torch.linspace(0, 1, 101, dtype=torch.double)
    torch.testing.assert_close(schedule.log_snr(t[[0, -1]]), times(schedule.start, schedule.end))
    torch.testing.assert_close(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t))
    t.requires_grad_()
    log_snr = schedule.log_snr(t)
    assert (log_snr.diff() < 0).all()
    ratio = (schedule.alpha(t) / schedule.sigma(t)).log() * 2
    torch.testing.assert_close(ratio, log_snr)
    torch.testing.assert_close(torch.autograd.grad(log_snr.sum(), t)[0], schedule.slope(t))
    torch.testing.assert_close(schedule.time(log_snr), t)


def test_a_schedule_that_does_not_fall_is_refused():
    for ends in ((1, 1), (-3, 3), (math.inf, 0)):
        with pytest.raises(ValueError, match="must fall"):
            CosineSchedule(*ends)


@SCHEDULES
def test_many_small_steps_of_noise_are_one_large_step(schedule: Schedule):
    """x_t from x in one go has the mean and variance of x_t from x_s from x."""
    s, t = times(0.3), times(0.8)
    alpha = schedule.alpha(t) / schedule.alpha(s)
    variance = schedule.sigma(t) ** 2 - alpha**2 * schedule.sigma(s) ** 2
    assert variance > 0
    model = Diffusion((1,), schedule=schedule)
    x_s = model.noisy(torch.full((200_000, 1), 2.0, dtype=torch.double), s.expand(200_000))
    x_t = alpha * x_s + variance.sqrt() * torch.randn_like(x_s)
    assert x_t.mean().item() == pytest.approx(2 * schedule.alpha(t).item(), abs=0.01)
    assert x_t.std().item() == pytest.approx(schedule.sigma(t).item(), rel=0.01)


@SCHEDULES
@pytest.mark.parametrize("s, t", [(0.0, 0.1), (0.4, 0.5), (0.2, 1.0)])
def test_a_step_undone_is_bayes_rule(schedule: Schedule, s: float, t: float):
    """q(x_s | x_t, x) is q(x_t | x_s) q(x_s | x), normalised: by quadrature over x_s."""
    s, t, x, x_t = times(s), times(t), times(0.7), times(-0.4)
    grid = torch.linspace(-8, 8, 160_001, dtype=torch.double)
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
    ratio = schedule.alpha(t) / alpha_s
    forward = Normal(ratio * grid, (schedule.sigma(t) ** 2 - ratio**2 * sigma_s**2).sqrt())
    log_p = forward.log_prob(x_t) + Normal(alpha_s * x, sigma_s).log_prob(grid)
    p = log_p.softmax(dim=0)
    mean, std = posterior_of_a_step(schedule, x_t[:, None], x[:, None], t=t, s=s)
    expected = (p * grid).sum()
    torch.testing.assert_close(mean[0, 0], expected, rtol=1e-6, atol=1e-6)
    spread = (p * (grid - expected) ** 2).sum().sqrt()
    torch.testing.assert_close(std[0, 0], spread, rtol=1e-5, atol=1e-6)


# The ideal denoiser and the score. ------------------------------------------------------------------


def test_the_ideal_denoiser_is_the_posterior_mean():
    data = torch.randn(7, 2, 3, dtype=torch.double)
    x_t = torch.randn(4, 2, 3, dtype=torch.double)
    alpha, sigma = torch.rand(4).double(), torch.rand(4).double() + 0.1
    found = ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=data)
    for i in range(4):
        log_p = Normal(alpha[i] * data, sigma[i]).log_prob(x_t[i]).sum(dim=(1, 2))
        torch.testing.assert_close(found[i], (log_p.softmax(0)[:, None, None] * data).sum(dim=0))


@pytest.mark.parametrize("t", [0.01, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("std", [0.2, 0.6])
def test_the_score_is_the_gradient_of_the_exact_log_density(t: float, std: float):
    model = ideal(TWO, std)
    x = torch.linspace(-3, 3, 50, dtype=torch.double)[:, None].requires_grad_()
    alpha, sigma = model.schedule.alpha(times(t)), model.schedule.sigma(times(t))
    spread = (sigma**2 + (alpha * std) ** 2).sqrt().expand(2)
    density = MixtureSameFamily(Categorical(torch.ones(2)), Normal(alpha * TWO[:, 0], spread))
    (expected,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    torch.testing.assert_close(model.score(x.detach(), times(t).expand(50)).detach(), expected)


@pytest.mark.parametrize("t", [0.2, 0.9])
def test_the_network_may_predict_any_of_three(t: float):
    """From one true pair (x, noise), what stands for x, for eps and for v gives the same x."""
    x, noise = torch.randn(5, 2).double(), torch.randn(5, 2).double()
    at = times(t).expand(5)
    for schedule in (CosineSchedule(), LinearSchedule()):
        alpha, sigma = schedule.alpha(at)[:, None], schedule.sigma(at)[:, None]
        said = {"x": x, "eps": noise, "v": alpha * noise - sigma * x}
        for prediction, value in said.items():

            class Says(nn.Module):
                def forward(self, x_t: Tensor, t: Tensor, value: Tensor = value) -> Tensor:
                    return value

            model = Diffusion((2,), network=Says(), schedule=schedule, prediction=prediction)
            found = model.denoise(alpha * x + sigma * noise, at)
            torch.testing.assert_close(found, x)


@SCHEDULES
def test_weights_turn_the_error_of_x_into_that_of_the_noise_and_of_v(schedule: Schedule):
    t, x, other = times(0.1, 0.5, 0.9), torch.randn(3, 1).double(), torch.randn(3, 1).double()
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
    x_t = torch.randn(3, 1).double()
    for weighting, of in (
        ("x", lambda x: x),
        ("eps", lambda x: (x_t - alpha * x) / sigma),
        ("v", lambda x: (alpha * x_t - x) / sigma),
    ):
        model = Diffusion((1,), schedule=schedule, weighting=weighting)
        expected = (of(x) - of(other)).square()[:, 0]
        torch.testing.assert_close(model.weight(t) * (x - other).square()[:, 0], expected)


# Training comes near the least possible loss, and not below it. -------------------------------------


def losses(model: Diffusion, data: Tensor, std: float, n: int = 40_000) -> tuple[float, float]:
    """The loss of the network, and of the ideal denoiser on the same draws."""
    x = data[torch.randint(len(data), (n,))]
    x = x + std * torch.randn_like(x)
    t = (torch.rand(()) + torch.arange(n) / n) % 1
    x_t = model.noisy(x, t)
    alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
    best = ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=data, std=std)
    with torch.no_grad():
        trained = model.denoise(x_t, t)
        square = [(y - x).square().flatten(1).mean(dim=1) for y in (trained, best)]
    return tuple((model.weight(t) * error).mean().item() for error in square)


@pytest.mark.parametrize("name", ["bars", "points"])
def test_a_trained_denoiser_comes_near_the_least_possible_loss_and_not_below_it(name: str):
    if name == "bars":
        data, std = load("bars").floats(), 0.0
        schedule = CosineSchedule(3.0)  # two levels are told apart with this much noise
        model = Diffusion(
            (1, 4, 4), levels=2, schedule=schedule, prediction="x", network=TimeMLP((1, 4, 4))
        )
        updates, rate = 1000, 5e-3
    else:
        data, std = EightGaussians().means, EightGaussians().std
        model = Diffusion((2,))
        updates, rate = 300, 1e-2
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, updates)
    for _ in range(updates):
        x = data[torch.randint(len(data), (128,))]
        loss = model.loss(x + std * torch.randn_like(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    trained, best = losses(model, 2 * data - 1 if name == "bars" else data, std)
    assert best <= trained <= 1.1 * best


# The bound. -----------------------------------------------------------------------------------------


def chain_density(model: Diffusion, x: Tensor, steps: int) -> Tensor:
    """log p(x) of the model of so many steps on the line, by pushing a table of its density along."""
    grid = torch.linspace(-6, 6, 1201, dtype=torch.double)
    cell = grid[1] - grid[0]
    p = Normal(0.0, 1.0).log_prob(grid).exp().double()
    places = torch.linspace(1, 0, steps + 1, dtype=torch.double)
    with torch.no_grad():
        for t, s in zip(places[:-1], places[1:], strict=True):
            at, to = t.expand(len(grid)), s.expand(len(grid))
            clean = model.denoise(grid[:, None], at)
            mean, std = posterior_of_a_step(model.schedule, grid[:, None], clean, t=at, s=to)
            p = (Normal(mean, std).log_prob(grid[None]).exp() * p[:, None]).sum(dim=0) * cell
    alpha, sigma = model.schedule.alpha(times(0.0)), model.schedule.sigma(times(0.0))
    log_x = Normal(grid / alpha, sigma / alpha).log_prob(x) + p.log()
    return log_x.logsumexp(dim=1) + cell.log()


def test_the_bound_lies_below_the_evidence_and_tightens_with_steps():
    model = ideal(TWO, std=0.3, start=3.0, end=-5.0)
    x = torch.tensor([[-1.5], [0.0], [0.8], [1.3]], dtype=torch.double)
    means = []
    for steps in (2, 8, 24):
        draws = model.elbo(x.repeat(1000, 1), steps=steps).view(1000, len(x))
        error = 4 * draws.std(dim=0) / 1000**0.5
        evidence = chain_density(model, x, steps)
        assert (draws.mean(dim=0) <= evidence + error).all(), steps
        means.append(draws.mean())
    assert means[0] < means[1] - 0.1 and means[1] < means[2]


def test_the_bounds_of_all_images_hold_no_more_than_the_whole_probability():
    """sum over x of exp E[ELBO(x)] <= sum over x of p(x) = 1, and most of it where the model is good."""
    images = all_images(2, (1, 2, 2)).double()
    data = images[[0, 3, 12, 15]]
    model = ideal(data, levels=2, start=4.0)
    bound = model.elbo(images.repeat(200, 1, 1, 1), steps=50).view(200, len(images)).mean(dim=0)
    total = bound.exp().sum().item()
    assert 0.5 < total <= 1
    exact = bound[[0, 3, 12, 15]].exp()
    torch.testing.assert_close(exact, torch.full_like(exact, 0.25), rtol=0.3, atol=0)


def test_the_three_terms_are_what_they_should_be_where_nothing_is_known():
    """A denoiser that always says 0: each term has a closed form."""
    model = Diffusion(
        (2,), network=Ideal(torch.zeros(1, 2).double(), CosineSchedule()), prediction="x"
    )
    x = torch.tensor([[1.0, -2.0]], dtype=torch.double)
    zero, one = times(0.0), times(1.0)
    terms = model.bound(x, steps=7)
    snr = [model.schedule.log_snr(t).exp() for t in (zero, one)]
    torch.testing.assert_close(terms["steps"], (snr[0] - snr[1]) / 2 * x.square().sum())
    q = Normal(model.schedule.alpha(one) * x, model.schedule.sigma(one))
    kl = torch.distributions.kl_divergence(q, Normal(torch.zeros_like(x), 1.0)).sum(dim=1)
    torch.testing.assert_close(terms["prior"], kl)


# Samplers. ------------------------------------------------------------------------------------------


@SCHEDULES
def test_one_step_of_ddim_with_all_the_noise_is_one_of_ddpm(schedule: Schedule):
    """Both put x_hat into q(x_s | x_t, x_hat): the mean and the noise are those of Bayes' rule."""
    x = torch.randn(6, 2, dtype=torch.double)
    for sampler, eta in (("ddpm", None), ("ddim", 1.0)):
        torch.manual_seed(3)
        found = draw(lambda x, t: 0.3 * x, schedule, x, steps=1, sampler=sampler, eta=eta)
        torch.manual_seed(3)
        noise = torch.randn_like(x)
        ends = {"t": torch.ones(6).double(), "s": torch.zeros(6).double()}
        mean, std = posterior_of_a_step(schedule, x, 0.3 * x, **ends)
        torch.testing.assert_close(found, mean + std * noise)


@pytest.mark.parametrize("sampler, steps", [("ddpm", 120), ("ddim", 100), ("heun", 30)])
def test_samplers_draw_the_mixture_that_the_denoiser_knows(sampler: str, steps: int):
    model = ideal(TWO, std=0.3)
    x = draw(
        model.denoise, model.schedule, torch.randn(20_000, 1).double(), steps=steps, sampler=sampler
    )
    alpha, sigma = model.schedule.alpha(times(0.0)), model.schedule.sigma(times(0.0))
    spread = (sigma**2 + (alpha * 0.3) ** 2).sqrt()
    edges = torch.tensor([-2.0, -1.5, -1.0, -0.3, 0.5, 0.8, 1.2], dtype=torch.double)
    exact = Normal(alpha * TWO, spread).cdf(edges).mean(dim=0)
    found = (x <= edges).double().mean(dim=0)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)


def test_more_steps_bring_ddim_nearer_and_heun_faster():
    """The error against many steps falls like 1/T for ddim, like 1/T^2 for heun."""
    model = ideal(TWO, std=0.5)
    start = torch.linspace(-2, 2, 21, dtype=torch.double)[:, None]
    truth = draw(model.denoise, model.schedule, start, steps=1000, sampler="heun")

    def error(sampler: str, steps: int) -> float:
        x = draw(model.denoise, model.schedule, start, steps=steps, sampler=sampler)
        return (x - truth).abs().max().item()

    assert error("ddim", 80) == pytest.approx(error("ddim", 160) * 2, rel=0.2)
    assert error("heun", 80) == pytest.approx(error("heun", 160) * 4, rel=0.3)


def test_the_ideal_denoiser_draws_nothing_but_its_data():
    data = load("bars").floats()
    x = ideal(data, levels=2).sample(100, steps=50, sampler="heun")
    nearest = (x[:, None] - data).abs().flatten(2).amax(dim=2).amin(dim=1)
    assert (nearest == 0).all()


# The probability flow. ------------------------------------------------------------------------------


def test_the_flow_of_a_gaussian_has_its_density():
    model = ideal(torch.tensor([[0.5, -1.0]], dtype=torch.double), std=0.7, start=9.0, end=-20.0)
    flow = ProbabilityFlow(model)
    x = torch.randn(4, 2, dtype=torch.double)
    left = (-model.schedule.log_snr(times(0.0)) / 2).exp()  # the noise that time 0 leaves
    spread = (0.7**2 + left**2).sqrt()
    exact = Normal(model.network.data, spread).log_prob(x).sum(dim=1)
    torch.testing.assert_close(flow.log_prob(x, steps=40), exact, rtol=0, atol=1e-3)


def test_the_density_of_the_flow_of_any_network_integrates_to_one():
    flow = ProbabilityFlow(Diffusion((1,)).double())
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.05 * torch.randn_like(p))
    x = torch.linspace(-12, 12, 241, dtype=torch.double)[:, None]
    with torch.no_grad():
        total = torch.trapezoid(flow.log_prob(x, steps=25).exp(), x[:, 0]).item()
    assert total == pytest.approx(1, abs=2e-3)


def test_the_flow_draws_what_the_heun_sampler_draws():
    model = ideal(TWO, std=0.3)
    torch.manual_seed(1)
    a = ProbabilityFlow(model).sample(200, steps=300)
    torch.manual_seed(1)
    x = torch.randn(200, 1, dtype=torch.double)
    x = draw(model.denoise, model.schedule, x, steps=300, sampler="heun")
    torch.testing.assert_close(a, x / model.schedule.alpha(times(0.0)), rtol=0, atol=2e-3)


# Labels and guidance. -------------------------------------------------------------------------------


class IdealOfClass(nn.Module):
    """E[x | x_t, y] of N(-1, s^2) and N(1, s^2); label 2 is not told, and so the mixture."""

    def __init__(self, schedule: Schedule, std: float):
        super().__init__()
        self.schedule, self.std = schedule, std
        self.means = nn.Parameter(torch.tensor([[-1.0], [1.0]], dtype=torch.double))

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        ends = {"alpha": self.schedule.alpha(t), "sigma": self.schedule.sigma(t)}
        each = [
            ideal_denoiser(x_t, data=data, std=self.std, **ends)
            for data in (self.means[:1], self.means[1:], self.means)
        ]
        return torch.stack(each)[y, torch.arange(len(y))]


def of_two_classes(std: float) -> Diffusion:
    schedule = CosineSchedule(9.0, -9.0)
    network = IdealOfClass(schedule, std)
    return Diffusion((1,), network=network, schedule=schedule, prediction="x", n_classes=2)


def test_guidance_of_one_is_the_conditional_model_and_of_zero_the_unconditional():
    model, y = of_two_classes(0.5), torch.ones(4000, dtype=torch.long)
    told, untold = (
        model.sample(4000, y=y, guidance=w, sampler="heun", steps=30) for w in (1.0, 0.0)
    )
    assert told.mean().item() == pytest.approx(1, abs=0.04)
    assert told.std().item() == pytest.approx(0.5, rel=0.05)
    assert untold.mean().item() == pytest.approx(0, abs=0.08)


def test_guidance_does_not_draw_the_tilted_distribution():
    """p(x) p(y | x)^w / Z is known here, and guided samples have neither its mean nor its spread."""
    std, w = 0.8, 4.0
    model, y = of_two_classes(std), torch.ones(20_000, dtype=torch.long)
    guided = model.sample(20_000, y=y, guidance=w, sampler="heun", steps=40)[:, 0]
    x = torch.linspace(-8, 8, 8001, dtype=torch.double)
    joint = Normal(torch.tensor([[-1.0], [1.0]]).double(), std).log_prob(x)
    tilted = (joint.logsumexp(dim=0) + w * joint.log_softmax(dim=0)[1]).softmax(dim=0)
    mean = (tilted * x).sum()
    spread = (tilted * (x - mean) ** 2).sum().sqrt()
    error = 4 * spread.item() / 20_000**0.5
    assert guided.mean().item() > mean.item() + 10 * error
    # and yet it goes the way of the label
    assert guided.mean().item() > 1


# Networks, devices, refusals. -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 8), (1, 28, 28), (1, 7, 5)])
def test_a_unet_fits_images_of_any_size_and_hears_time_and_label(shape: tuple[int, int, int]):
    network = UNet(shape, hidden_dim=8, n_classes=3)
    for p in network.parameters():
        nn.init.normal_(p, std=0.1)
    x, t, y = torch.randn(2, *shape), torch.tensor([0.2, 0.7]), torch.tensor([0, 3])
    out = network(x, t, y)
    assert out.shape == x.shape
    assert not torch.equal(out, network(x, t + 0.1, y))
    other = network(x, t, torch.tensor([1, 3]))
    assert not torch.equal(out[0], other[0])
    torch.testing.assert_close(out[1], other[1])


@pytest.mark.parametrize("shape, levels", [((1, 8, 8), 17), ((2,), 0)])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_no_tensor_stays_behind_on_the_cpu(shape: tuple[int, ...], levels: int, n_classes: int):
    with FakeTensorMode(), torch.device("cuda"):
        model = Diffusion(shape, levels=levels, n_classes=n_classes)
        x = torch.rand(2, *shape)
        y = torch.tensor([0, 2]) if n_classes else None
        outputs = [model.loss(x, y=y), model.elbo(x, y=y, steps=2)]
        outputs += [model.sample(2, y=y, steps=2, sampler=s) for s in ("ddpm", "ddim", "heun")]
        outputs += [ProbabilityFlow(model).sample(2, y=y, steps=2)]
        if len(shape) == 1:
            outputs += [ProbabilityFlow(model).log_prob(x, y=y, steps=1)]
    assert all(out.device.type == "cuda" for out in outputs)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Diffusion((1, 8)), r"shape must be \(C, H, W\) or \(D,\)"),
        (lambda: Diffusion((2,), levels=2), "levels are of images"),
        (lambda: Diffusion((1, 8, 8), levels=1), "at least 2"),
        (lambda: Diffusion((2,), prediction="noise"), "prediction must be one of v, eps, x"),
        (lambda: Diffusion((2,), weighting="simple"), "weighting must be one of"),
        (lambda: Diffusion((2,)).sample(0), "n must be at least 1"),
        (lambda: Diffusion((2,)).sample(2, steps=0), "steps must be at least 1"),
        (lambda: Diffusion((2,)).sample(2, sampler="euler"), "sampler must be one of ddpm"),
        (lambda: Diffusion((2,)).sample(2, guidance=2.0), "guidance is for a conditional model"),
        (lambda: Diffusion((2,), n_classes=3).sample(2), "pass labels"),
        (lambda: Diffusion((2,)).loss(torch.rand(2, 3)), r"shape \(B, 2\)"),
        (lambda: Diffusion((1, 4, 4), levels=3).elbo(torch.full((2, 1, 4, 4), 0.3)), "grid of 3 levels"),
        (lambda: ProbabilityFlow(Diffusion((1, 8, 8))).log_prob(torch.rand(2, 1, 8, 8)), "exact trace"),
        (lambda: TimeMLP((2,), hidden_dim=7), "even"),
        (lambda: TimeMLP((2,), depth=0), "depth must be at least 1"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_what_to_do(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_name_promises_what_the_model_can_do():
    assert not hasattr(Diffusion((2,)), "log_prob") and not hasattr(ProbabilityFlow, "elbo")
