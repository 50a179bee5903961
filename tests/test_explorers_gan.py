"""The explorer of a GAN on a line: the best discriminator is Bayes' rule, and the GANs are genlib's."""

import copy
import math
import re

import pytest
import torch
from explorer_rules import each_control_redraws, is_stored_as_a_picture, leaves_nothing_behind
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course import explorers
from genlib.adversarial import GAN, MinimaxGAN, MLPDiscriminator
from genlib.training import train_gan_epoch

BUMPS = MixtureSameFamily(
    Categorical(torch.tensor([0.4, 0.6])),
    Normal(torch.tensor([-2.0, 1.5]), torch.tensor([0.5, 0.7])),
)


def line(mean, std):
    """A GAN whose fakes follow N(mean, std^2), exactly."""
    generator = torch.nn.Linear(1, 1)
    with torch.no_grad():
        generator.weight.fill_(std)
        generator.bias.fill_(mean)
    return GAN(generator, MLPDiscriminator((1,), hidden_dim=16), latent_dim=1)


@pytest.fixture
def explorer():
    return explorers.gan_explorer(line(8.0, 0.5), BUMPS, frames=6, steps=2)


def test_the_best_d_shown_is_bayes_rule_for_known_densities():
    fakes = Normal(1.0, 1.5)
    explorer = explorers.gan_explorer(line(1.0, 1.5), BUMPS, span=(-5, 5), frames=1, steps=1)
    p, q = BUMPS.log_prob(explorer.x).exp(), fakes.log_prob(explorer.x).exp()
    x, shown = explorer._best.get_data()
    torch.testing.assert_close(torch.as_tensor(x), explorer.x)
    # cells are 0.07 wide, and a count of 10,000 noises is off by one: little where fakes are many
    many = q > 0.03
    torch.testing.assert_close(torch.as_tensor(shown)[many], (p / (p + q))[many], atol=0.02, rtol=0)
    assert many.sum() > 60
    torch.testing.assert_close(torch.as_tensor(explorer._p_g.get_ydata()), q, atol=3e-3, rtol=0)
    inside = torch.linspace(-12, 12, 20_001)
    p, q = BUMPS.log_prob(inside).exp(), fakes.log_prob(inside).exp()
    m = (p + q) / 2
    exact = (torch.xlogy(p, p / m).nansum() + torch.xlogy(q, q / m).nansum()).item() / 2 * 0.0012
    assert explorer.jsd == pytest.approx(exact, abs=2e-3)


def test_nothing_is_lost_outside_the_span():
    far = explorers.gan_explorer(line(50.0, 0.1), BUMPS, span=(-1, 1), frames=1, steps=1)
    assert far.snapshot.p_g.sum() == 1 and far.p_data.sum().item() == pytest.approx(1)
    assert far.snapshot.p_g[-1] == 1  # all fakes beyond the right end
    share = 1 - BUMPS.cdf(torch.tensor(1.0))  # of the data lies in that cell, too
    assert far.p_data[-1].item() == pytest.approx(share.item())
    assert far.jsd < math.log(2) - 0.1
    apart = explorers.gan_explorer(line(50.0, 0.1), BUMPS, frames=1, steps=1)
    assert apart.jsd == pytest.approx(math.log(2), abs=1e-5)


def test_where_only_data_lie_the_best_d_is_one_however_few_they_are():
    apart = explorers.gan_explorer(line(50.0, 0.1), Normal(0.0, 1.0), frames=1, steps=1)
    assert apart.best_d[apart.x.abs() < 7].eq(1).all()  # 1e-12 of the data lie beyond


def test_where_nothing_ever_lies_no_d_is_best():
    apart = explorers.gan_explorer(line(50.0, 0.1), Normal(0.0, 0.1), frames=1, steps=1)
    assert apart.best_d[(apart.x.abs() < 0.3)].eq(1).all()
    assert apart.best_d[(apart.x > 5)].isnan().all()


def test_d_and_the_gradient_shown_are_those_of_the_networks():
    model = line(3.0, 0.5)
    explorer = explorers.gan_explorer(model, BUMPS, frames=1, steps=1)
    with torch.no_grad():
        d = model(explorer.x[:, None]).sigmoid()
    torch.testing.assert_close(torch.as_tensor(explorer._d.get_ydata()), d)
    z = torch.special.ndtri((torch.arange(10_000) + 0.5) / 10_000)[::40, None]
    for name, kind in (("minimax", MinimaxGAN), ("non-saturating", GAN)):
        explorer.loss.value = name
        gan = kind(model.generator, model.discriminator, latent_dim=1)
        loss = gan.generator_loss(len(z), fake=gan.generator(z))
        slopes = torch.autograd.grad(loss, list(model.generator.parameters()))
        length = math.sqrt(sum(slope.square().sum().item() for slope in slopes))
        assert explorer.snapshot.gradient == pytest.approx(length, rel=1e-4)


def test_both_gans_are_genlibs_from_the_same_start_and_random_numbers():
    model = line(3.0, 0.5)
    explorer = explorers.gan_explorer(model, BUMPS, frames=4, steps=3, seed=5)
    before = copy.deepcopy(model.state_dict())
    for name, kind in (("minimax", MinimaxGAN), ("non-saturating", GAN)):
        start = copy.deepcopy(model)
        gan = kind(start.generator, start.discriminator, latent_dim=1)
        torch.manual_seed(5)
        for_g = torch.optim.SGD(gan.generator.parameters(), lr=0.01)
        for_d = torch.optim.Adam(gan.discriminator.parameters(), lr=1e-3, fused=True)
        batches = ((BUMPS.sample((256, 1)), None) for _ in range(12))
        train_gan_epoch(gan, batches, for_g, for_d)
        explorer.loss.value, explorer.player.slider.value = name, 4
        with torch.no_grad():
            d = gan(explorer.x[:, None]).sigmoid()
        torch.testing.assert_close(explorer.snapshot.d, d)
        title = explorer._title.get_text()
        assert "step 12:" in title
        numbers = re.findall(r"(?:JSD|gradient) ([\d.]+)", title)  # 3.84696 is no number to read
        assert len(numbers) == 2 and all(
            len(it.replace(".", "").lstrip("0")) <= 3 for it in numbers
        )
    first, second = (trajectory[0] for trajectory in explorer.trajectories.values())
    assert torch.equal(first.d, second.d) and torch.equal(first.p_g, second.p_g)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_far_from_the_data_only_the_non_saturating_generator_moves():
    model = line(8.0, 0.5)
    learn = torch.optim.Adam(model.discriminator.parameters(), lr=1e-2)
    for _ in range(100):  # a discriminator that is sure
        loss = model.discriminator_loss(BUMPS.sample((256, 1)))
        learn.zero_grad()
        loss.backward()
        learn.step()
    explorer = explorers.gan_explorer(model, BUMPS, frames=10, steps=10)
    gradient, moved = {}, {}
    for name in explorer.trajectories:
        explorer.loss.value = name
        means = []
        for i in (0, 10):
            explorer.player.slider.value = i
            p_g = explorer.snapshot.p_g[1:-1]
            means.append((explorer.x * p_g).sum().item() / p_g.sum().item())
        gradient[name], moved[name] = explorer.trajectories[name][0].gradient, means[0] - means[1]
    assert gradient["minimax"] < 0.01 * gradient["non-saturating"]
    assert abs(moved["minimax"]) < 0.2 and moved["non-saturating"] > 1


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="span must go from the left to the right"):
        explorers.gan_explorer(line(0.0, 1.0), BUMPS, span=(2, 2))
    with pytest.raises(ValueError, match="frames"):
        explorers.gan_explorer(line(0.0, 1.0), BUMPS, frames=0)
    with pytest.raises(ValueError, match="steps"):
        explorers.gan_explorer(line(0.0, 1.0), BUMPS, steps=0)
    plane = GAN(torch.nn.Linear(1, 2), MLPDiscriminator((2,)), latent_dim=1)
    wide = GAN(torch.nn.Linear(3, 1), MLPDiscriminator((1,)), latent_dim=3)
    for model in (plane, wide):
        with pytest.raises(ValueError, match="must turn one number into one number"):
            explorers.gan_explorer(model, BUMPS)


def test_every_control_redraws(explorer):
    explorer.player.slider.value = 3  # both losses start alike
    each_control_redraws(explorer, {explorer.loss: "non-saturating", explorer.player.slider: 5})


def test_nothing_is_left_behind():
    model = line(8.0, 0.5)
    leaves_nothing_behind(
        lambda: explorers.gan_explorer(model, BUMPS, frames=4, steps=1),
        [
            lambda e, i: setattr(e.player.slider, "value", i % 5),
            lambda e, i: setattr(e.loss, "value", ("minimax", "non-saturating")[i // 2 % 2]),
        ],
    )


def test_stored_notebooks_show_a_picture(explorer):
    is_stored_as_a_picture(explorer, "gan")
