"""Theorems about flow matching: the ideal velocity is known, and so are the paths that it makes."""

import math
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, MixtureSameFamily, Normal

from genlib.data import EightGaussians
from genlib.diffusion import CosineSchedule, Diffusion, ProbabilityFlow, draw, ideal_denoiser
from genlib.flow_matching import (
    FlowMatching,
    LinearPath,
    MeanFlow,
    Path,
    VariancePreservingPath,
    ideal_velocity,
    optimal_transport,
    reflow_pairs,
    straightness,
)
from genlib.ideal import posterior_means
from genlib.networks import TimeMLP, UNet
from genlib.ode import derivative_along, solve

PATHS = pytest.mark.parametrize("path", [LinearPath(), VariancePreservingPath()])
TWO = torch.tensor([[-1.5], [0.8]], dtype=torch.double)  # the means of a mixture on the line


class Ideal(nn.Module):
    """A network that returns the ideal velocity of finitely many examples, or of Gaussians around them."""

    def __init__(self, data: Tensor, path: Path, std: float = 0.0):
        super().__init__()
        self.path, self.std = path, std
        self.data = nn.Parameter(data)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return ideal_velocity(x, t, data=self.data, std=self.std, path=self.path)


def ideal(data: Tensor, std: float, path: Path | None = None) -> FlowMatching:
    path = path or LinearPath()
    return FlowMatching(data.shape[1:], network=Ideal(data, path, std), path=path)


def mixture(path: Path, t: Tensor, std: float) -> MixtureSameFamily:
    """The density of x_t, where x is drawn from Gaussians around TWO."""
    spread = (path.sigma(t) ** 2 + (path.alpha(t) * std) ** 2).sqrt().expand(2)
    return MixtureSameFamily(Categorical(torch.ones(2)), Normal(path.alpha(t) * TWO[:, 0], spread))


def times(*t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.double)


# Paths. ---------------------------------------------------------------------------------------------


@PATHS
def test_a_path_goes_from_noise_to_the_example_at_the_speed_it_says(path: Path):
    x, noise = torch.randn(2, 5, 3, dtype=torch.double)
    zero, one = torch.zeros(5).double(), torch.ones(5).double()
    torch.testing.assert_close(path.at(x, noise, zero)[0], noise)
    torch.testing.assert_close(path.at(x, noise, one)[0], x)
    t = torch.rand(5).double()
    later, before = (path.at(x, noise, t + h)[0] for h in (1e-5, -1e-5))
    torch.testing.assert_close(path.at(x, noise, t)[1], (later - before) / 2e-5)


@PATHS
def test_velocity_denoiser_noise_and_score_give_each_other(path: Path):
    """All four at one point are linear functions of the velocity, and those of Bayes' rule."""
    x_t, t = torch.randn(6, 1, dtype=torch.double), torch.linspace(0, 0.95, 6).double()
    velocity = ideal_velocity(x_t, t, data=TWO, std=0.3, path=path)
    clean, noise = path.ends(x_t, velocity, t)
    expected = posterior_means(x_t, alpha=path.alpha(t), sigma=path.sigma(t), data=TWO, std=0.3)
    torch.testing.assert_close((clean, noise), expected)
    torch.testing.assert_close(path.at(clean, noise, t), (x_t, velocity))
    for i in range(6):
        place = x_t[i].clone().requires_grad_()
        (by_autograd,) = torch.autograd.grad(mixture(path, t[i], 0.3).log_prob(place).sum(), place)
        torch.testing.assert_close(path.score(x_t, velocity, t)[i], by_autograd)


# The ideal velocity. --------------------------------------------------------------------------------


@PATHS
def test_the_ideal_velocity_is_the_mean_over_all_paths_through_a_point(path: Path):
    data = torch.randn(7, 2, 3, dtype=torch.double)
    x, t = torch.randn(4, 2, 3, dtype=torch.double), times(0.0, 0.3, 0.7, 0.95)
    found = ideal_velocity(x, t, data=data, path=path)
    for i in range(4):
        alpha, sigma = path.alpha(t[i]), path.sigma(t[i])
        share = Normal(alpha * data, sigma).log_prob(x[i]).sum(dim=(1, 2)).softmax(dim=0)
        noise = (x[i] - alpha * data) / sigma  # each example's, if it led here
        velocity = path.alpha_slope(t[i]) * data + path.sigma_slope(t[i]) * noise
        torch.testing.assert_close(found[i], (share[:, None, None] * velocity).sum(dim=0))


def test_a_mixture_has_a_velocity_up_to_the_end():
    x, one = torch.linspace(-2, 2, 9).double()[:, None], torch.ones(9).double()
    at_one = ideal_velocity(x, one, data=TWO, std=0.3)
    torch.testing.assert_close(
        at_one, ideal_velocity(x, one - 1e-7, data=TWO, std=0.3), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(at_one, x)  # x itself goes on, and its noise has mean zero


@PATHS
def test_the_gradient_of_the_conditional_loss_is_that_of_the_marginal_loss(path: Path):
    """Regression on one path's velocity moves the weights as the unknown marginal velocity would."""
    torch.manual_seed(0)
    n, weight = 400_000, torch.tensor([0.7, -0.4, 0.2], dtype=torch.double)
    x, noise, t = TWO[torch.randint(2, (n,))], torch.randn(n, 1).double(), 0.9 * torch.rand(n)
    x_t, velocity = path.at(x, noise, t.double())
    mean = ideal_velocity(x_t, t.double(), data=TWO, path=path)
    features = torch.cat([x_t, t[:, None].double(), torch.ones(n, 1)], dim=1)
    said = features @ weight
    # the gradient of (said - target)^2 for each draw, by the weights
    each = [2 * (said - target[:, 0])[:, None] * features for target in (velocity, mean)]
    difference = each[0] - each[1]
    error = difference.std(dim=0) / n**0.5
    assert (difference.mean(dim=0).abs() < 4 * error).all()
    assert (each[1].mean(dim=0).abs() > 40 * error).all()  # it is no comparison of zeros


@PATHS
def test_the_ideal_velocity_satisfies_the_continuity_equation(path: Path):
    r"""$\partial_t p + \partial_x (p u) = 0$: mass is carried, and none comes or goes."""
    x = torch.linspace(-4, 4, 401, dtype=torch.double)
    for t in times(0.1, 0.5, 0.9):
        h = 1e-4

        def density(x: Tensor, t: Tensor) -> Tensor:
            return mixture(path, t, 0.3).log_prob(x).exp()

        def flux(x: Tensor, t: Tensor = t) -> Tensor:
            u = ideal_velocity(x[:, None], t.expand(len(x)), data=TWO, std=0.3, path=path)
            return density(x, t) * u[:, 0]

        grows = (density(x, t + h) - density(x, t - h)) / (2 * h)
        leaves = (flux(x + h) - flux(x - h)) / (2 * h)
        assert grows.abs().max() > 0.1
        assert (grows + leaves).abs().max() < 1e-5


# Training. ------------------------------------------------------------------------------------------


def train(model: FlowMatching, batch: Callable[[], Tensor], updates: int, rate: float) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, updates)
    for _ in range(updates):
        loss = model.loss(batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@PATHS
def test_a_trained_velocity_comes_near_the_least_possible_loss_and_not_below_it(path: Path):
    torch.manual_seed(0)
    ring = EightGaussians()
    model = FlowMatching((2,), path=path)
    train(model, lambda: ring.sample(128), 300, 1e-2)
    x, noise = ring.sample(40_000), torch.randn(40_000, 2)
    t = torch.arange(40_000) / 40_000
    x_t, velocity = path.at(x, noise, t)
    with torch.no_grad():
        trained = (model.velocity(x_t, t) - velocity).square().mean()
    best = ideal_velocity(x_t, t, data=ring.means, std=ring.std, path=path) - velocity
    assert best.square().mean() <= trained <= 1.1 * best.square().mean()


def test_the_loss_is_the_squared_error_of_the_velocity():
    """A network that always says c, ends that are known: E (x - start - c)^2."""

    class Says(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.full_like(x, 3.0)

    x, start = torch.randn(2, 50, 2)
    loss = FlowMatching((2,), network=Says()).loss(x, start=start)
    torch.testing.assert_close(loss, (x - start - 3).square().mean())


# Following the velocity. ----------------------------------------------------------------------------


@PATHS
def test_the_flow_draws_the_mixture_that_the_velocity_knows(path: Path):
    x = ideal(TWO, 0.3, path).sample(20_000, steps=40)
    edges = times(-2.0, -1.5, -1.0, -0.3, 0.5, 0.8, 1.2)
    exact = Normal(TWO, 0.3).cdf(edges).mean(dim=0)
    torch.testing.assert_close((x <= edges).double().mean(dim=0), exact, rtol=0, atol=0.02)


def test_one_step_of_euler_draws_nothing_but_the_mean():
    """At t = 0 all examples are as probable: every noise sets out for the mean of the data."""
    x = ideal(TWO, 0.3).sample(100, steps=1, solver="euler")
    torch.testing.assert_close(x, TWO.mean().expand(100, 1))


@pytest.mark.parametrize(
    "solver, factor", [("euler", 2), ("midpoint", 4), ("heun", 4), ("rk4", 16)]
)
def test_the_error_of_a_solver_falls_by_its_order(solver: str, factor: int):
    model, start = ideal(TWO, 0.5), torch.linspace(-2, 2, 21, dtype=torch.double)[:, None]
    truth = model.carry(start, steps=1000, solver="rk4")

    def error(steps: int) -> float:
        return (model.carry(start, steps=steps, solver=solver) - truth).abs().max().item()

    assert error(64) == pytest.approx(error(128) * factor, rel=0.25)


def test_it_is_the_flow_of_the_diffusion_with_the_same_denoiser():
    """One ODE in two clocks: a flow's time t is a diffusion's (1 - t), where both take even steps of the angle."""
    data, std = torch.tensor([[-1.0, 0.5], [1.0, 1.0], [0.3, -2.0]]).double(), 0.4
    schedule = CosineSchedule(9.0, -9.0)

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.data = nn.Parameter(data)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            return ideal_denoiser(x, alpha=alpha, sigma=sigma, data=self.data, std=std)

    diffusion = Diffusion((2,), network=Denoiser(), schedule=schedule, prediction="x")
    path = VariancePreservingPath()
    angle = lambda t: torch.atan2(schedule.sigma(t), schedule.alpha(t))  # noqa: E731
    x, t = torch.randn(50, 2).double(), torch.rand(50).double()
    flow_time = 1 - 2 / math.pi * angle(t)
    ends = angle(times(0.0, 1.0))
    rate = -2 / math.pi * (ends[1] - ends[0])  # of a flow's time by a diffusion's
    ours = ideal_velocity(x, flow_time, data=data, std=std, path=path)
    torch.testing.assert_close(
        ProbabilityFlow(diffusion).velocity(x, t), rate * ours, rtol=0, atol=1e-6
    )
    # and the samples: Heun's sampler of diffusion, the flow with as many steps
    start = torch.randn(20, 2).double()
    by_diffusion = draw(diffusion.denoise, schedule, start, steps=400, sampler="heun")
    from_to = 1 - 2 / math.pi * angle(times(1.0, 0.0))
    places = torch.linspace(from_to[0].item(), from_to[1].item(), 401).double()

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return ideal_velocity(x, t, data=data, std=std, path=path)

    torch.testing.assert_close(
        solve(velocity, start, places, solver="heun"), by_diffusion, rtol=0, atol=1e-4
    )


# Likelihood. ----------------------------------------------------------------------------------------


@PATHS
def test_the_density_of_the_ideal_flow_is_that_of_the_data(path: Path):
    model, x = ideal(TWO, 0.3, path), torch.linspace(-2.2, 1.6, 12, dtype=torch.double)[:, None]
    exact = mixture(path, times(1.0)[0], 0.3).log_prob(x[:, 0])
    torch.testing.assert_close(model.log_prob(x, steps=100), exact, rtol=0, atol=1e-3)


def test_the_density_of_any_network_integrates_to_one():
    torch.manual_seed(0)
    model = FlowMatching((1,)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
        x = torch.linspace(-12, 12, 241, dtype=torch.double)[:, None]
        total = torch.trapezoid(model.log_prob(x, steps=25).exp(), x[:, 0]).item()
    assert total == pytest.approx(1, abs=2e-3)


def test_an_adaptive_solver_of_scipy_finds_the_same_density():
    torch.manual_seed(0)
    model = FlowMatching((2,), network=TimeMLP((2,), hidden_dim=16, highest=10.0)).double()
    train(model.float(), lambda: EightGaussians().sample(64), 60, 1e-2)
    model.double()
    x = torch.tensor([[0.7, -1.2]], dtype=torch.double)

    def both(t: float, state) -> list[float]:
        place, at = torch.tensor(state[None, :2], requires_grad=True), times(t)
        v = model.velocity(place, at)[0]
        rows = [torch.autograd.grad(v[i], place, retain_graph=True)[0][0, i] for i in (0, 1)]
        return [*v.tolist(), sum(rows).item()]

    end = solve_ivp(both, (1, 0), [*x[0].tolist(), 0.0], method="DOP853", rtol=1e-9, atol=1e-9).y[
        :, -1
    ]
    exact = Normal(0.0, 1.0).log_prob(torch.tensor(end[:2])).sum().item() + end[2]
    assert model.log_prob(x, steps=100).item() == pytest.approx(exact, abs=1e-3)


# Couplings, straightness, reflow. -------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
def test_optimal_transport_is_a_permutation_with_the_shortest_ways(labels: bool):
    torch.manual_seed(0)
    x, noise = torch.randn(2, 64, 2) + torch.tensor([2.0, 0.0])
    y = torch.arange(64) % 3 if labels else None
    found = optimal_transport(noise, x, y=y)
    assert torch.equal(found.sort().values, torch.arange(64))
    assert not labels or torch.equal(y[found], y)

    def way(order: Tensor) -> float:
        return (x - noise[order]).square().sum().item()

    assert way(found) < 0.8 * way(torch.arange(64))
    same = (lambda i, j: y[i] == y[j]) if labels else (lambda i, j: True)
    for i, j in torch.combinations(torch.arange(64)).tolist():
        if same(i, j):  # no exchange of two shortens it
            other = found.clone()
            other[[i, j]] = found[[j, i]]
            assert way(other) >= way(found) - 1e-4


def test_the_best_of_all_permutations_is_found():
    torch.manual_seed(0)
    x, noise = torch.randn(2, 5, 3)
    least = min((x - noise[list(p)]).square().sum().item() for p in permutations(range(5)))
    found = (x - noise[optimal_transport(noise, x)]).square().sum().item()
    assert found == pytest.approx(least)


def test_a_coupling_leaves_the_noise_what_it_is():
    """Every noise is used once, so the ends of all paths keep their distributions."""
    model, x = FlowMatching((2,), coupling="ot"), EightGaussians().sample(512)
    torch.manual_seed(3)
    _, start, _ = model._pairs(x, None, None)
    torch.manual_seed(3)
    noise = torch.randn(512, 2)
    torch.testing.assert_close(start.sort(dim=0).values, noise.sort(dim=0).values)
    assert (x - start).square().mean() < 0.7 * (x - noise).square().mean()


def test_straightness_is_zero_for_even_speed_and_known_for_a_circle():
    start = torch.randn(30, 2, dtype=torch.double)
    assert straightness(lambda x, t: torch.ones_like(x), start) == pytest.approx(0, abs=1e-12)

    def turn(x: Tensor, t: Tensor) -> Tensor:  # half a circle: the chord has length 2 |x|
        return math.pi * torch.stack([-x[:, 1], x[:, 0]], dim=1)

    # E |chord - v|^2 = |v|^2 - |chord|^2, since the mean of v is the chord
    exact = (math.pi**2 - 4) * start.square().sum(dim=1).mean().item()
    assert straightness(turn, start, steps=4000) == pytest.approx(exact, rel=5e-3)


def test_reflow_pairs_are_noise_and_where_the_model_takes_it():
    model = ideal(TWO, 0.3)
    noise, x = reflow_pairs(model, 500, steps=40)
    torch.testing.assert_close(x, model.carry(noise, steps=40))
    # on a line paths of a flow keep the order, so these pairs are the optimal transport
    assert torch.equal(noise[:, 0].argsort(), x[:, 0].argsort())
    images = FlowMatching((1, 4, 4), levels=3)
    noise, x = reflow_pairs(images, 5, steps=2)
    assert images.loss(x, start=noise).isfinite()


def test_training_on_reflow_pairs_makes_straighter_ways():
    torch.manual_seed(0)
    ring = EightGaussians()
    model = FlowMatching((2,))
    train(model, lambda: ring.sample(128), 200, 1e-2)
    noise, x = reflow_pairs(model.eval(), 2000, steps=10)
    again = FlowMatching((2,))
    optimizer = torch.optim.Adam(again.parameters(), 2e-3)
    for _ in range(150):
        i = torch.randint(len(x), (128,))
        loss = again.loss(x[i], start=noise[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    start = torch.randn(500, 2)
    before, after = (straightness(m.velocity, start, steps=20) for m in (model, again.eval()))
    assert after < 0.5 * before


# Mean flow. -----------------------------------------------------------------------------------------


class Exact(nn.Module):
    """The mean velocity of the flow to N(m, s^2), whose paths are known: x_t = t m + c(t) x_0."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std
        self.one = nn.Parameter(torch.ones((), dtype=torch.double))

    def size(self, t: Tensor) -> Tensor:
        return ((1 - t) ** 2 + (t * self.std) ** 2).sqrt()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t, r = t[:, :1], t.sum(dim=1, keepdim=True)
        later = r * self.mean + (x - t * self.mean) * self.size(r) / self.size(t)
        slope = ((t - 1) + t * self.std**2) / self.size(t) ** 2
        now = self.mean + slope * (x - t * self.mean)
        return torch.where(r > t, (later - x) / (r - t).clamp(min=1e-12), now)


def test_an_average_velocity_jumps_to_where_the_flow_goes():
    model = MeanFlow((1,), network=Exact(0.8, 0.4))
    data = torch.tensor([[0.8]], dtype=torch.double)
    start = torch.randn(200, 1, dtype=torch.double)
    followed = ideal(data, 0.4).carry(start, steps=400)
    for steps in (1, 3):
        torch.testing.assert_close(model.carry(start, steps=steps), followed, rtol=0, atol=1e-4)
    t = torch.linspace(0, 0.99, 200).double()
    exact = ideal_velocity(start, t, data=data, std=0.4)
    torch.testing.assert_close(model.velocity(start, t), exact)


def test_the_average_velocity_solves_the_equation_that_the_loss_asks_for():
    """u = v + (r - t) du/dt, v being the mean velocity; a wrong sign of the jump or of time does not."""
    model = MeanFlow((1,), network=Exact(0.8, 0.4))
    x, t = torch.randn(50, 1).double(), 0.5 * torch.rand(50).double()
    r = t + 0.3
    v = model.velocity(x, t)
    along = lambda x, t: model.average_velocity(x, t, r)  # noqa: E731
    u, change = derivative_along(along, (x, t), (v, torch.ones_like(t)))
    torch.testing.assert_close(u, v + 0.3 * change)
    assert (u - (v - 0.3 * change)).abs().max() > 0.1


@PATHS
def test_the_loss_of_a_mean_flow_is_its_equation_and_the_target_has_no_gradient(path: Path):
    """A network u = w x has du/dt = w (w x) along its own flow: the target is known, and so is the gradient."""

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(0.7, dtype=torch.double))
            self.seen: list[tuple[Tensor, Tensor]] = []

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            self.seen.append((x, t))
            return self.w * x

    network = Scale()
    x, start = torch.randn(2, 7, 1, dtype=torch.double)
    error = MeanFlow((1,), network=network, path=path)._error(x, start, None)
    error.sum().backward()
    x_t, t = network.seen[-1]
    span, w = t[:, 1:], network.w.detach()
    assert (span[:4] > 0).all() and (span[4:] == 0).all()  # half of the batch jumps
    expected_x_t, velocity = path.at(x, start, t[:, 0])
    torch.testing.assert_close(x_t, expected_x_t)
    off = w * x_t - (velocity + span * w**2 * x_t)
    torch.testing.assert_close(error, off.square())
    torch.testing.assert_close(network.w.grad, (2 * off * x_t).sum())


def test_training_moves_towards_the_known_average_velocity():
    """On one Gaussian, one jump of the trained model has its mean and its spread."""
    torch.manual_seed(0)
    model = MeanFlow((1,))
    train(model, lambda: 0.8 + 0.4 * torch.randn(128, 1), 500, 5e-3)
    x = model.eval().sample(4000)
    assert x.mean().item() == pytest.approx(0.8, abs=0.08)
    assert x.std().item() == pytest.approx(0.4, rel=0.15)
    assert FlowMatching((1,), network=TimeMLP((1,))).sample(400, steps=1).std() > 0.5


# Labels and guidance. -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FlowMatching, MeanFlow])
@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 3.0])
def test_guidance_goes_from_the_velocity_without_labels_through_that_with_them(kind, w: float):
    class SaysLabel(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return y.to(x)[:, None].expand_as(x)

    model = kind((2,), network=SaysLabel(), n_classes=3)
    start, y = torch.randn(3, 2), torch.arange(3)
    found = model.carry(start, y=y, steps=2, guidance=w)
    torch.testing.assert_close(found, start + 3 + w * (y[:, None] - 3))  # 3 stands for no label


def test_the_coupling_of_a_conditional_model_stays_within_a_label_and_leaves_given_starts():
    model, y = FlowMatching((2,), coupling="ot", n_classes=2), torch.arange(64) % 2
    x = torch.randn(64, 2) + 4 * (2 * y[:, None] - 1)
    torch.manual_seed(3)
    _, start, _ = model._pairs(x, y, None)
    torch.manual_seed(3)
    noise = torch.randn(64, 2)
    for label in (0, 1):
        mine, drawn = (z[y == label].sort(dim=0).values for z in (start, noise))
        torch.testing.assert_close(mine, drawn)
    assert torch.equal(model._pairs(x, y, noise)[1], noise)


# Devices, refusals. ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, levels", [((1, 8, 8), 17), ((2,), 0)])
@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("kind", [FlowMatching, MeanFlow])
def test_no_tensor_stays_behind_on_the_cpu(kind, shape, levels: int, n_classes: int):
    with FakeTensorMode(), torch.device("cuda"):
        model = kind(shape, levels=levels, n_classes=n_classes, path=VariancePreservingPath())
        x = torch.rand(4, *shape)
        y = torch.tensor([0, 2, 1, 1]) if n_classes else None
        outputs = [model.sample(4, y=y, steps=2)]
        if kind is FlowMatching or len(shape) == 1:  # of fake maps torch has no forward derivative
            outputs += [model.loss(x, y=y), model.loss(x, y=y, start=torch.randn(4, *shape))]
        outputs += [*reflow_pairs(model, 4, y=y, steps=1)]
        if len(shape) == 1:
            outputs += [model.log_prob(x, y=y, steps=1)]
    assert all(out.device.type == "cuda" for out in outputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [FlowMatching, MeanFlow])
def test_the_same_on_a_real_gpu(kind):
    with torch.device("cuda"):
        model = kind((1, 8, 8), n_classes=3, coupling="ot")
        y = torch.tensor([0, 2, 1, 1])
        loss = model.loss(torch.rand(4, 1, 8, 8), y=y)
        loss.backward()
        assert loss.isfinite() and model.sample(4, y=y, steps=2).is_cuda


def test_a_network_may_read_two_times():
    for network in (TimeMLP((1, 4, 4), times=2), UNet((1, 4, 4), hidden_dim=8, times=2)):
        for p in network.parameters():
            nn.init.normal_(p, std=0.1)
        x, t = torch.randn(2, 1, 4, 4), torch.tensor([[0.2, 0.1], [0.5, 0.3]])
        out = network(x, t)
        for moved in (torch.tensor([[0.1, 0.0]]), torch.tensor([[0.0, 0.1]])):
            assert not torch.equal(out, network(x, t + moved))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: FlowMatching((1, 8)), r"shape must be \(C, H, W\) or \(D,\)"),
        (lambda: FlowMatching((2,), levels=2), "levels are of images"),
        (lambda: FlowMatching((2,), coupling="optimal"), "coupling must be one of independent, ot"),
        (lambda: FlowMatching((2,)).sample(0), "n must be at least 1"),
        (lambda: FlowMatching((2,)).sample(2, steps=0), "steps must be at least 1"),
        (lambda: FlowMatching((2,)).sample(2, solver="ddim"), "solver must be one of euler"),
        (lambda: FlowMatching((2,)).sample(2, guidance=2.0), "guidance is for a conditional model"),
        (lambda: FlowMatching((2,), n_classes=3).sample(2), "pass labels"),
        (lambda: FlowMatching((2,)).loss(torch.rand(2, 3)), r"shape \(B, 2\)"),
        (lambda: FlowMatching((2,)).loss(torch.rand(2, 2), start=torch.rand(3, 2)), "one for each example"),
        (lambda: FlowMatching((1, 4, 4)).loss(torch.full((2, 1, 4, 4), 2.0)), r"in \[0, 1\]"),
        (lambda: FlowMatching((1, 8, 8)).log_prob(torch.rand(2, 1, 8, 8)), "exact trace"),
        (lambda: FlowMatching((2,), n_classes=3).log_prob(torch.rand(2, 2)), "pass labels"),
        (lambda: FlowMatching((2,), n_classes=-1), "n_classes must be 0"),
        (lambda: FlowMatching((2,)).carry(torch.rand(3, 2), y=torch.arange(3)), "unconditional: leave the labels"),
        (lambda: MeanFlow((2,)).carry(torch.rand(3, 2), y=torch.arange(3)), "unconditional: leave the labels"),
        (lambda: FlowMatching((2,), n_classes=3).carry(torch.rand(3, 2), guidance=2.0), "guidance needs labels"),
        (lambda: FlowMatching((1, 4, 4), levels=3).loss(torch.full((2, 1, 4, 4), 0.3)), "grid of 3 levels"),
        (lambda: solve(lambda x, t: x, torch.rand(2, 2), torch.zeros(1)), "two or more in a row"),
        (lambda: FlowMatching((65,)).log_prob(torch.rand(2, 65)), "at most 64 dimensions"),
        (lambda: FlowMatching((2,)).log_prob(torch.rand(2, 2), steps=0), "steps must be at least 1"),
        (lambda: MeanFlow((2,)).sample(2, steps=0), "steps must be at least 1"),
        (lambda: MeanFlow((2,)).sample(2, guidance=2.0), "guidance is for a conditional model"),
        (lambda: optimal_transport(torch.rand(2, 2), torch.rand(3, 2)), "must have one shape"),
        (lambda: straightness(lambda x, t: x, torch.rand(2, 2), steps=0), "steps must be at least 1"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_what_to_do(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("kind", [FlowMatching, MeanFlow])
def test_a_misspelt_option_is_not_swallowed(kind):
    with pytest.raises(TypeError, match="levles"):
        kind((2,), network=TimeMLP((2,)), levles=17)


def test_a_name_promises_what_the_model_can_do():
    for kind in (FlowMatching, MeanFlow):
        assert not any(hasattr(kind, name) for name in ("elbo", "denoise", "score"))
