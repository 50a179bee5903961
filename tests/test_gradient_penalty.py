"""Slopes of the discriminator: what the penalties of WGAN-GP and R1 are, and what spectral normalisation bounds."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlib.adversarial import (
    GAN,
    R1GAN,
    WGANGP,
    DCGANDiscriminator,
    DCGANGenerator,
    InstanceNoise,
    average_weights,
    spectral_norm,
)

# The gradient penalty.


def test_the_penalty_of_a_linear_critic_is_known():
    critic = nn.Linear(3, 1).double()
    model = WGANGP(nn.Linear(2, 3).double(), critic, latent_dim=2, penalty=7.0)
    x, fake = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    expected = (critic.weight.norm() - 1) ** 2
    torch.testing.assert_close(model.gradient_penalty(x, fake), expected)

    torch.manual_seed(1)
    loss = model.discriminator_loss(x)
    assert model.last_logits is not None
    real_score, fake_score = model.last_logits
    torch.testing.assert_close(loss, fake_score.mean() - real_score.mean() + 7 * expected)

    loss.backward()  # and it can be trained: d/dw of (|w| - 1)^2 is 2 (|w| - 1) w / |w|
    norm = critic.weight.detach().norm()
    pull = 7 * 2 * (norm - 1) * critic.weight.detach() / norm
    torch.manual_seed(1)
    fake = model.generator(model.noise(5)).detach()
    torch.testing.assert_close(critic.weight.grad, pull + (fake - x).mean(dim=0, keepdim=True))


class Record(nn.Module):
    """A linear critic that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.detach()
        return self.score(x)


def test_the_penalty_looks_at_uniform_places_between_each_real_example_and_its_fake():
    n = 10_000
    critic = Record()
    model = WGANGP(nn.Linear(2, 3), critic, latent_dim=2)
    x, fake = torch.randn(n, 3), torch.randn(n, 3)
    model.gradient_penalty(x, fake)
    share = (critic.seen - fake) / (x - fake)  # (n, 3)
    middle = share.median(dim=1).values  # where x and fake nearly agree, a quotient says little
    torch.testing.assert_close(critic.seen, torch.lerp(fake, x, middle[:, None]), rtol=0, atol=1e-3)
    assert -1e-3 < middle.min() and middle.max() < 1 + 1e-3
    # Kolmogorov-Smirnov: a uniform sample stays below 1.95 / sqrt(n) in 999 cases of 1000
    steps = (torch.arange(n) + 0.5) / n
    assert (middle.sort().values - steps).abs().max() < 1.95 / math.sqrt(n)
    # the loss has its penalty there too: what the critic sees last lies between these
    model.discriminator_loss(torch.zeros(100, 3), fake=torch.ones(100, 3))
    assert 0 <= critic.seen.min() < 0.1 and 0.9 < critic.seen.max() <= 1


@pytest.mark.parametrize("objective", [R1GAN, WGANGP])
def test_a_critic_with_batch_norm_is_refused(objective: type[GAN]):
    with pytest.raises(ValueError, match="norm=layer_norm"):
        objective(DCGANGenerator(), DCGANDiscriminator(), latent_dim=64)


class Square(nn.Module):
    """a(x) = w |x|^2 / 2, with the gradient w x."""

    def __init__(self, w: float):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.double))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x.square().sum(dim=1) / 2


def test_r1_is_the_squared_slope_at_real_examples_alone():
    w, gamma = 0.3, 7.0
    model = R1GAN(nn.Linear(2, 3).double(), Square(w), latent_dim=2, penalty=gamma)
    x, fake = torch.randn(5, 3).double(), 100 * torch.ones(5, 3).double()
    lengths = x.square().sum(dim=1)
    expected = w**2 * lengths.mean()
    torch.testing.assert_close(model.gradient_penalty(x), expected)

    loss = model.discriminator_loss(x, fake=fake)
    plain = (
        F.softplus(-w * lengths / 2).mean() + F.softplus(w * fake.square().sum(dim=1) / 2).mean()
    )
    torch.testing.assert_close(loss, plain + gamma / 2 * expected)
    (slope,) = torch.autograd.grad(model.gradient_penalty(x), model.discriminator.w)
    torch.testing.assert_close(slope, 2 * w * lengths.mean())  # and it can be trained
    assert not x.requires_grad


def test_a_dirac_gan_converges_with_r1_and_diverges_without():
    # section 2 of the paper: data at 0, fakes at theta, logit psi x
    for penalty, nearer in ((0.0, False), (0.3, True)):
        theta = torch.ones(1, 1)
        model = R1GAN(
            nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False), latent_dim=1, penalty=penalty
        )
        model.discriminator.weight.data.fill_(1.0)
        distance = [math.sqrt(2)]
        for _ in range(200):
            loss = model.discriminator_loss(torch.zeros(1, 1), fake=theta)
            (for_d,) = torch.autograd.grad(loss, model.discriminator.weight)
            s = torch.sigmoid(theta * model.discriminator.weight).detach()
            for_g = s * model.discriminator.weight.detach()  # down log(1 - D), as in MinimaxGAN
            model.discriminator.weight.data -= 0.2 * for_d
            theta = theta + 0.2 * for_g
            distance.append(math.hypot(theta.item(), model.discriminator.weight.item()))
        assert (distance[-1] < 0.1) == nearer
        if not nearer:
            assert all(b > a for a, b in zip(distance, distance[1:], strict=False))


# Bounded slopes and averaged weights.


def test_spectral_norm_makes_the_largest_singular_value_one():
    network = nn.Sequential(nn.Conv2d(3, 8, 4), nn.Flatten(), nn.Linear(8, 5))
    spectral_norm(network)
    for _ in range(200):  # of power iteration
        network(torch.zeros(1, 3, 4, 4))
    for layer in (network[0], network[2]):
        singular = torch.linalg.svdvals(layer.weight.flatten(1))
        assert singular[0].item() == pytest.approx(1, abs=1e-4)


def test_a_discriminator_with_spectral_norm_is_nowhere_steeper_than_its_bound():
    # images come in as 2x - 1; a kernel of 4 with stride 2 sees each pixel in four patches, so that a
    # layer of norm 1 stretches by 2 at most; one convolution at 8 x 8, and a linear layer
    discriminator = DCGANDiscriminator((1, 8, 8), hidden_dim=8)
    for layer in (discriminator.convolutions[0], discriminator.last):
        nn.init.normal_(layer.weight, std=3.0)  # steep, so that the bound has something to do

    def steepest() -> float:
        x = torch.rand(64, 1, 8, 8, requires_grad=True)
        (slope,) = torch.autograd.grad(discriminator(x).sum(), x)
        return slope.flatten(1).norm(dim=1).max().item()

    assert steepest() > 50
    spectral_norm(discriminator)
    for _ in range(100):  # of power iteration
        discriminator(torch.rand(1, 1, 8, 8))
    assert steepest() <= 2 * 2 * 1.001


def test_averaged_weights_are_the_weighted_sum_of_all_before():
    network, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    seen = [1.0]  # batch norm's weight starts there
    for value in (5.0, -3.0, 2.0):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value)
        average_weights(average, network, decay=0.75)
        seen.append(value)
    expected = 0.75**3 * 1 + 0.25 * (0.75**2 * 5 + 0.75 * -3 + 2)
    assert average.weight.item() == pytest.approx(expected)
    assert average.running_mean.item() == 2.0  # no weight: the network's own
    assert network.weight.item() == 2.0
    with pytest.raises(ValueError, match="decay"):
        average_weights(average, network, decay=1.0)


def test_noise_before_the_discriminator_has_the_spread_it_says():
    record = Record()
    noisy = InstanceNoise(record, std=0.5)
    noisy(torch.full((10_000, 3), 4.0))
    error = 0.5 / math.sqrt(30_000)
    assert abs(record.seen.mean() - 4) < 4 * error
    assert abs(record.seen.std() - 0.5) < 4 * error / math.sqrt(2)
