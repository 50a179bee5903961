"""Answers that no table of this lesson knows, and what the right ones must satisfy."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn

from course.checking.suite import Bank, StepsOfALesson
from genlib.adversarial import LSGAN, WGANGP
from genlib.adversarial.networks import initialize as initialize_of_genlib
from genlib.metrics import frechet_distance

bank = Bank("gan_architectures", whole="sides")
sides, least_squares, wasserstein, between, gradient_penalty, joined, slerp, frechet, nearness = (
    bank.solutions[name]
    for name in "sides least_squares wasserstein between gradient_penalty joined slerp frechet nearness".split()
)


# ---------------------------------------------------------------- 1. sides


def asked_of_torch(side, kernel, stride, padding):
    weight = torch.zeros(1, 1, kernel)
    lines = [torch.zeros(1, 1, int(n)) for n in side]
    made = [F.conv1d(x, weight, stride=stride, padding=padding) for x in lines]
    blown_up = [F.conv_transpose1d(x, weight, stride=stride, padding=padding) for x in lines]
    return torch.tensor([x.shape[2] for x in made]), torch.tensor([x.shape[2] for x in blown_up])


def by_counting(side, kernel, stride, padding):
    first = [len(range(0, int(n) + 2 * padding - kernel + 1, stride)) for n in side]
    second = [list(range(0, int(n) * stride, stride))[-1] + kernel - 2 * padding for n in side]
    return [torch.tensor(first, dtype=torch.float32), torch.tensor(second)]


bank.right("sides", asked_of_torch, by_counting)


# ---------------------------------------------------------------- 2. initialize

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def by_apply(network):
    def start(layer):
        if "Conv" in type(layer).__name__ or isinstance(layer, nn.Linear):
            layer.weight.data = 0.02 * torch.randn_like(layer.weight)
            if layer.bias is not None:
                layer.bias.data.fill_(0)

    return network.apply(start)


def by_parameters(network):
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02)
            elif name.endswith("bias"):
                parameter.zero_()


def drawing(
    weight=lambda w: nn.init.normal_(w, std=0.02), bias=nn.init.zeros_, norm=lambda layer: None
):
    """The right walk through the network, with another way to draw."""

    def answer(network):
        for layer in network.modules():
            if isinstance(layer, KINDS):
                weight(layer.weight)
                if layer.bias is not None:
                    bias(layer.bias)
            elif isinstance(layer, nn.BatchNorm2d):
                norm(layer)

    return answer  # fmt: skip


def returns_the_weights(network):
    by_parameters(network)
    return network.state_dict()


def bias_that_is_not_there(network):
    for layer in network.modules():
        if isinstance(layer, KINDS):
            nn.init.normal_(layer.weight, std=0.02)
            layer.bias.data.zero_()


def seeded(network):
    torch.manual_seed(0)
    by_parameters(network)


def some_blocks_only(network):
    drawing()(network[0] if isinstance(network, nn.Sequential) else network)


bank.right("initialize", by_apply, by_parameters, initialize_of_genlib)
bank.wrong(
    "initialize",
    {
        "0.02.2 is the variance, and torch wants": drawing(lambda w: nn.init.normal_(w, std=0.02**2)),
        "so take no root": drawing(lambda w: nn.init.normal_(w, std=math.sqrt(0.02))),
        "the first number that `normal_` takes is the mean": drawing(lambda w: nn.init.normal_(w, 0.02)),
        "they should lie around 0": drawing(lambda w: nn.init.normal_(w, 0.02, 0.02)),
        "it should be 0.02": drawing(lambda w: nn.init.normal_(w, std=0.1)),
        "cut off or uniform": drawing(lambda w: nn.init.uniform_(w, -0.02 * 3**0.5, 0.02 * 3**0.5)),
        "all weights of a layer are the same": drawing(lambda w: nn.init.constant_(w, 0.02)),
        "you draw the biases too": drawing(bias=nn.init.normal_),
        "you draw the weights of batch norm too": drawing(norm=lambda layer: nn.init.normal_(layer.weight)),
        "around 1, as some programs do": drawing(norm=lambda layer: nn.init.normal_(layer.weight, 1.0, 0.02)),
        "has lost its weight": drawing(norm=lambda layer: setattr(layer, "weight", None)),
        "switch off the gradients of some": drawing(norm=lambda layer: layer.requires_grad_(False)),
        "`1.weight` stays as it was": some_blocks_only,
        "`initialize` returns a OrderedDict": returns_the_weights,
        "with AttributeError": bias_that_is_not_there,
        "set no seed inside": seeded,
    },
)  # fmt: skip


# ---------------------------------------------------------------- 3. and 4. two pairs of losses


def by_mse(real, fake):
    one, zero = torch.ones_like(fake), torch.zeros_like(fake)
    of_d = F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, zero)
    return [0.5 * of_d, 0.5 * F.mse_loss(fake, one)]


def by_moments(real, fake):
    of_d = (real @ real / len(real) - 2 * real.mean() + 1 + fake @ fake / len(fake)) / 2
    return of_d, (fake @ fake / len(fake) - 2 * fake.mean() + 1) / 2


def by_sums(real, fake):
    mean = fake.sum() / len(fake)
    return [-(real.sum() / len(real) - mean), 0 - mean]


def by_weights(real, fake):
    weight = torch.cat(
        [torch.full_like(real, -1 / len(real)), torch.full_like(fake, 1 / len(fake))]
    )
    return torch.cat([real, fake]) @ weight, (fake / -len(fake)).sum()  # fmt: skip


bank.right("least_squares", by_mse, by_moments)
bank.wrong(
    "least_squares",
    {
        "no gradient reaches `real` and `fake`": lambda real, fake: least_squares(real.detach(), fake.detach()),
        "is something on its way detached": lambda real, fake: (
            least_squares(real, fake.detach())[0],
            least_squares(real, fake)[1],
        ),
    },
)  # fmt: skip
bank.right("wasserstein", by_sums, by_weights)
bank.wrong(
    "wasserstein",
    {
        "no gradient reaches `real` and `fake`": lambda real, fake: [x.item() for x in wasserstein(real, fake)],
        "no gradient reaches `real`": lambda real, fake: wasserstein(real.detach(), fake),
    },
)  # fmt: skip


# ---------------------------------------------------------------- 5. between


def one_an_example(x):
    return torch.rand(len(x), *[1] * (x.ndim - 1)).to(x)


def by_lerp(real, fake):
    return torch.lerp(real, fake, one_an_example(real))


def flat(real, fake):
    u = torch.empty(len(real), 1).uniform_().to(real)
    return (fake.flatten(1) + u * (real - fake).flatten(1)).view_as(real)


def one_by_one(real, fake):
    mixed = []
    for x, g in zip(real, fake, strict=True):
        u = torch.rand(()).to(x)
        mixed.append(u * x + (1 - u) * g)
    return torch.stack(mixed)


def by(numbers):
    return lambda real, fake: torch.lerp(fake, real, numbers(real).to(real))


def two_numbers(real, fake):
    return one_an_example(real) * real + one_an_example(real) * fake


def seeded_places(real, fake):
    torch.manual_seed(0)
    return between(real, fake)


bank.right("between", by_lerp, flat, one_by_one)
bank.wrong(
    "between",
    {
        "one number for the whole batch": by(lambda x: torch.rand(1)),
        "not one a pixel": by(torch.rand_like),
        "belong to the columns of a picture": by(lambda x: torch.rand(len(x))),
        "your two weights do not add up to 1|some places are not between": two_numbers,
        "some places are not between": by(lambda x: one_an_example(x) * 3 - 1),
        "you choose one of the two": by(lambda x: one_an_example(x).round()),
        "not spread evenly": by(lambda x: (one_an_example(x) + one_an_example(x)) / 2),
        "a uniform number is 0.50 on average": by(lambda x: one_an_example(x) ** 2),
        "leave out a part": by(lambda x: 0.5 + (one_an_example(x) - 0.5).sign() * (0.25 + 0.1 * one_an_example(x))),
        "set no seed inside": seeded_places,
        "has the shape": lambda real, fake: between(real, fake)[:1],
        "and the next cell needs": lambda real, fake: between(
            *(x.double() if x.dtype == torch.float32 else x.float() for x in (real, fake))
        ),
    },
)  # fmt: skip


# ---------------------------------------------------------------- 6. gradient_penalty


def with_epsilon(critic, x):
    x = x.clone().requires_grad_()
    score = critic(x)
    slope = torch.autograd.grad(
        outputs=score, inputs=x, grad_outputs=torch.ones_like(score), create_graph=True
    )[0]
    norm = (slope.pow(2).reshape(len(x), -1).sum(1) + 1e-12).sqrt()
    return F.mse_loss(norm, torch.ones_like(norm))


def example_by_example(critic, x):
    total = 0
    for one in x.split(1):
        one = one.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(one).squeeze(), one, create_graph=True)
        total = total + (slope.norm() - 1) ** 2
    return total / len(x)


def by_backward(critic, x):
    x = x.clone().requires_grad_()
    with warnings.catch_warnings():  # torch warns of it too
        warnings.simplefilter("ignore")
        critic(x).sum().backward(create_graph=True)
    return ((x.grad.flatten(1).norm(dim=1) - 1) ** 2).mean()


def marks_x(critic, x):
    x.requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


bank.right("gradient_penalty", with_epsilon, example_by_example)
bank.wrong(
    "gradient_penalty",
    {
        "leaves marks on its argument `x`": marks_x,
        "the critic wants .n,": lambda critic, x: gradient_penalty(critic, x.flatten(1)[:, :1]),
    },
)


# ---------------------------------------------------------------- 7. and 8. labels, and the sphere


def by_one_hot(z, y, weight):
    code = F.one_hot(y, weight.shape[1] - z.shape[1]).to(z)
    return F.linear(torch.cat([z, code], dim=1), weight)


def by_embedding(z, y, weight):
    of_z, of_y = weight.split([z.shape[1], weight.shape[1] - z.shape[1]], dim=1)
    return F.embedding(y, of_y.T) + torch.einsum("nd,fd->nf", z, of_z)


def as_many_labels_as_occur(z, y, weight):
    return torch.cat([z, F.one_hot(y).to(z)], dim=1) @ weight.T


bank.right("joined", by_one_hot, by_embedding)
bank.wrong(
    "joined",
    {
        "no gradient reaches `z` and `weight`": lambda z, y, weight: joined(z, y, weight).detach(),
        "the gradient of `weight` is not": lambda z, y, weight: (
            joined(z, 0 * y, weight) + (joined(z, y, weight) - joined(z, 0 * y, weight)).detach()
        ),
        "labels of which .* do not occur.*RuntimeError": as_many_labels_as_occur,
    },
)


def by_a_basis(a, b, t):
    """Turn in the plane of the two, then let the lengths come as the formula has them."""
    dtype, a, b, t = a.dtype, a.double(), b.double(), t.double()
    e = a / a.norm()
    rest = b - (b @ e) * e
    if rest.norm() < 1e-4 * b.norm():
        return torch.lerp(a, b, t[:, None]).to(dtype)
    f = rest / rest.norm()
    omega = torch.atan2(b @ f, b @ e)
    first, second = ((1 - t) * omega).sin() / omega.sin(), (t * omega).sin() / omega.sin()
    along = first * a.norm() + second * b.norm() * omega.cos()
    return (along[:, None] * e + (second * b.norm() * omega.sin())[:, None] * f).to(dtype)


def with_cosine_similarity(a, b, t):
    cosine = F.cosine_similarity(a, b, dim=0)
    if cosine > 0.9999:
        return torch.stack([torch.lerp(a, b, s) for s in t])
    omega = torch.acos(cosine)
    return torch.outer(((1 - t) * omega).sin() / omega.sin(), a) + torch.outer(
        (t * omega).sin() / omega.sin(), b
    )


def not_clamped(a, b, t):
    omega = torch.acos(a @ b / (a.norm() * b.norm()))
    if omega < 1e-3:
        return torch.lerp(a, b, t[:, None])
    return with_cosine_similarity(a, b, t) if omega > 1e-2 else a * omega


bank.right("slerp", by_a_basis, with_cosine_similarity)
bank.wrong(
    "slerp",
    {
        "before `acos`": not_clamped,
        "and the next cell needs": lambda a, b, t: slerp(a, b, t).to(
            torch.float64 if a.dtype == torch.float32 else torch.float32
        ),
    },
)


# ---------------------------------------------------------------- 9. frechet


def gap_of_means(real, fake):
    return (real.mean(dim=0) - fake.mean(dim=0)).square().sum()


def by_the_eigenvalues_of_the_product(real, fake):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    roots = torch.linalg.eigvals(s1 @ s2).real.clamp_min(0).sqrt()
    return gap_of_means(real, fake) + torch.trace(s1) + torch.trace(s2) - 2 * roots.sum()


def by_singular_values(real, fake):
    """tr((S1^(1/2) S2 S1^(1/2))^(1/2)) is the sum of the singular values of X1 X2', centred."""
    a, b = (x.double() - x.double().mean(dim=0) for x in (real, fake))
    a, b = a / math.sqrt(len(a) - 1), b / math.sqrt(len(b) - 1)
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
    return gap_of_means(real, fake) + spread


def in_single_precision(real, fake, clamp=0.0):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    values, vectors = torch.linalg.eigh(s1)
    root = vectors @ torch.diag(values.clamp(min=clamp) ** 0.5) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ s2 @ root).clamp(min=0).sqrt().sum()
    return gap_of_means(real, fake) + s1.trace() + s2.trace() - 2 * cross


def roots_of_rounded_numbers(real, fake):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    values = torch.linalg.eigvals(s1 @ s2).real
    values = torch.where(
        values.abs() < 1e-6 * values.max(), -values.abs() - 1e-9, values
    )  # as rounding may
    return gap_of_means(real, fake) + s1.trace() + s2.trace() - 2 * values.sqrt().sum()


bank.right(
    "frechet",
    by_the_eigenvalues_of_the_product,
    by_singular_values,
    in_single_precision,
    lambda real, fake: frechet(real, fake).item(),
)
bank.wrong(
    "frechet",
    {
        "rounded to a little below, and their roots are NaN": roots_of_rounded_numbers,
        "without the inverse of a covariance": lambda real, fake: in_single_precision(
            real, fake, clamp=1.0 if len(real) < real.shape[1] else 0.0
        ),
    },
)


# ---------------------------------------------------------------- 10. nearness


def nearness_by_loops(samples, train, fresh):
    def nearest(x):
        return min(math.dist(x, t) for t in train.tolist())

    theirs, shares = [nearest(h) for h in fresh.tolist()], []
    for sample in samples.tolist():
        own = nearest(sample)
        shares.append(sum((d > own) + (d == own) / 2 for d in theirs) / len(theirs))
    return torch.tensor(shares)


def nearness_by_sorting(samples, train, fresh):
    def nearest(x):  # its square keeps the order
        return (x[:, None] - train).square().sum(-1).min(1).values

    own, theirs = nearest(samples), nearest(fresh).sort().values
    below, up_to = (torch.searchsorted(theirs, own, right=right) for right in (False, True))
    return 1 - (below + up_to) / (2 * len(theirs))


bank.right("nearness", nearness_by_loops, nearness_by_sorting)
bank.wrong("nearness", {
    "percentages": lambda *arguments: 100 * nearness(*arguments),
    "shape": lambda samples, train, fresh: nearness(samples, train, fresh)[:, None],
    "returns 0 everywhere": lambda samples, train, fresh: 0 * nearness(samples, train, fresh),
})  # fmt: skip


class TestSteps(StepsOfALesson):
    bank = bank

    def test_a_result_of_another_kind_is_named(self, step):
        if step == "initialize":
            pytest.skip("it changes a network and returns nothing")
        super().test_a_result_of_another_kind_is_named(step)

    def test_an_answer_that_remembers_or_spoils_is_found(self, step):
        if step == "initialize":
            pytest.skip("it changes a network and returns nothing")
        super().test_an_answer_that_remembers_or_spoils_is_found(step)


# ---------------------------------------------------------------- what is true of right answers


@pytest.mark.parametrize("kernel, stride, padding", [(4, 2, 1), (5, 2, 2), (3, 1, 1), (4, 1, 0)])
def test_the_formulas_are_those_of_torch(kernel, stride, padding):
    arguments = torch.arange(kernel, 40), kernel, stride, padding
    for mine, torchs in zip(sides(*arguments), asked_of_torch(*arguments), strict=True):
        assert torch.equal(mine, torchs)


def test_losses_are_those_of_genlib():
    real, fake = torch.randn(5), torch.randn(4)
    for model, mine in ((LSGAN, least_squares), (WGANGP, wasserstein)):
        model = model(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
        of_d, of_g = mine(real, fake)
        assert torch.allclose(of_d, model.discriminator_objective(real, fake))
        assert torch.allclose(of_g, model.generator_objective(fake))


def test_penalty_and_places_are_those_of_genlib():
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    model = WGANGP(nn.Linear(1, 3), critic, latent_dim=1)
    real, fake = torch.randn(6, 3), torch.randn(6, 3)
    torch.manual_seed(3)
    theirs = model.gradient_penalty(real, fake)
    torch.manual_seed(3)
    assert torch.allclose(theirs, gradient_penalty(critic, between(real, fake)))


def test_a_gradient_left_by_backward_gets_the_words_of_an_entry():
    assert "by `backward`" in bank.verdict("gradient_penalty", by_backward)


def test_a_linear_critic_pays_for_its_slope_alone():
    slope = torch.tensor([3.0, 4.0])
    assert gradient_penalty(lambda x: x @ slope, torch.randn(7, 2)).item() == pytest.approx(16)


def test_the_distance_is_that_of_genlib():
    real, fake = torch.randn(50, 4), 2 * torch.randn(30, 4) + 1
    assert frechet(real, fake).item() == pytest.approx(frechet_distance(real, fake), rel=1e-5)


@pytest.mark.parametrize("degrees", [1, 45, 90, 170])
def test_on_the_sphere_the_length_stays_and_the_turn_is_steady(degrees):
    turn = math.radians(degrees)
    a, b = torch.tensor([5.0, 0.0]), torch.tensor([5 * math.cos(turn), 5 * math.sin(turn)])
    way = slerp(a.double(), b.double(), torch.linspace(0, 1, 11).double())
    assert torch.allclose(way.norm(dim=1), torch.full((11,), 5.0).double())
    steps = way.diff(dim=0).norm(dim=1)
    assert torch.allclose(steps, steps[:1].expand_as(steps), atol=1e-5)


def test_the_mean_nearness_is_the_statistic_of_mann_and_whitney():
    samples, train, fresh = (torch.randint(0, 4, (n, 2)).double() for n in (30, 6, 20))
    own, theirs = (torch.cdist(x, train).amin(1) for x in (samples, fresh))
    farther = torch.cat([torch.zeros(30), torch.ones(20)])  # the fresh ones should be
    area = roc_auc_score(farther, torch.cat([own, theirs]))
    assert nearness(samples, train, fresh).mean().item() == pytest.approx(area, abs=1e-6)


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("allclose", "equal", "isfinite", "lerp", "cat", "where"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "you stay at a" in bank.verdict(
        "slerp", lambda a, b, t: a.expand(len(t), -1) if a[0] == b[0] == 0 else slerp(a, b, t)
    )
    assert "the network is as it was" in bank.verdict("initialize", lambda network: None)
    assert "the loss of D is a sum" in bank.verdict(
        "least_squares", lambda r, f: ((r - 1).square().sum() / 2 + (f**2).sum() / 2, f.sum())
    )
