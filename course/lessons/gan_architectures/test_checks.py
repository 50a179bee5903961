"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.checking.bank import Bank, ChecksOfALesson
from genlib.adversarial import LSGAN, WGANGP
from genlib.adversarial.networks import initialize as initialize_of_genlib
from genlib.metrics import frechet_distance

bank = Bank(
    "gan_architectures",
    steps="sides initialize least_squares wasserstein between gradient_penalty joined slerp frechet",
    results={"sides": 2, "least_squares": 2, "wasserstein": 2},
    may_be_integers=("sides",),
    takes_no_tensors=("initialize",),
    random=("initialize", "between"),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. sides


def up(side, kernel, stride, padding):
    return (side - 1) * stride + kernel - 2 * padding


def down(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) // stride + 1


@right("sides")
def sides(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) // stride + 1, stride * (side - 1) + kernel - 2 * padding


@right("sides")
def sides_asked_of_torch(side, kernel, stride, padding):
    weight = torch.zeros(1, 1, kernel)
    lines = [torch.zeros(1, 1, int(n)) for n in side]
    made = [F.conv1d(x, weight, stride=stride, padding=padding) for x in lines]
    blown_up = [F.conv_transpose1d(x, weight, stride=stride, padding=padding) for x in lines]
    return torch.tensor([x.shape[2] for x in made]), torch.tensor([x.shape[2] for x in blown_up])


@right("sides")
def sides_by_counting(side, kernel, stride, padding):
    first = [len(range(0, int(n) + 2 * padding - kernel + 1, stride)) for n in side]
    second = [list(range(0, int(n) * stride, stride))[-1] + kernel - 2 * padding for n in side]
    return [torch.tensor(first, dtype=torch.float32), torch.tensor(second)]


@wrong("sides", "divides the side by the stride")
def side_over_stride(side, kernel, stride, padding):
    return side // stride, side * stride


@wrong("sides", "halves the side, whatever the stride")
def half(side, kernel, stride, padding):
    return side // 2, side * 2


@wrong("sides", "one place is missing")
def no_first_place(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) // stride, up(side, kernel, stride, padding)


@wrong("sides", "you leave fractions")
def fractions(side, kernel, stride, padding):
    return (side + 2 * padding - kernel) / stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "you round up")
def rounded_up(side, kernel, stride, padding):
    places = ((side + 2 * padding - kernel) / stride).ceil() + 1
    return places, up(side, kernel, stride, padding)


@wrong("sides", "pads one end only")
def padded_once(side, kernel, stride, padding):
    return (side + padding - kernel) // stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "does not pad")
def not_padded(side, kernel, stride, padding):
    return (side - kernel) // stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "takes the padding away")
def padding_subtracted(side, kernel, stride, padding):
    return (side - 2 * padding - kernel) // stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "the kernel is missing in your convolution")
def no_kernel(side, kernel, stride, padding):
    return (side + 2 * padding) // stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "you return the transposed convolution first")
def sides_swapped(side, kernel, stride, padding):
    return sides(side, kernel, stride, padding)[::-1]


@wrong("sides", "you divide the side alone")
def no_brackets(side, kernel, stride, padding):
    return side + 2 * padding - kernel // stride + 1, up(side, kernel, stride, padding)


@wrong("sides", "multiplies the side by the stride")
def side_times_stride(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), side * stride


@wrong("sides", "does not crop")
def not_cropped(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), (side - 1) * stride + kernel


@wrong("sides", "adds the padding: here it is cut off")
def padding_added(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), (side - 1) * stride + kernel + 2 * padding


@wrong("sides", "crops one end only")
def cropped_once(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), (side - 1) * stride + kernel - padding


@wrong("sides", "one stride too many")
def n_gaps(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), side * stride + kernel - 2 * padding


@wrong("sides", "the width of the last copy is missing")
def last_copy_a_pixel(side, kernel, stride, padding):
    return down(side, kernel, stride, padding), (side - 1) * stride + 1 - 2 * padding


@wrong("sides", "your two results are the same")
def twice_down(side, kernel, stride, padding):
    n = down(side, kernel, stride, padding)
    return n, n.clone()


# ---------------------------------------------------------------- 2. initialize

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@right("initialize")
def initialize(network):
    for layer in network.modules():
        if isinstance(layer, KINDS):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@right("initialize")
def initialize_by_apply(network):
    def start(layer):
        if "Conv" in type(layer).__name__ or isinstance(layer, nn.Linear):
            layer.weight.data = 0.02 * torch.randn_like(layer.weight)
            if layer.bias is not None:
                layer.bias.data.fill_(0)

    return network.apply(start)


@right("initialize")
def initialize_by_parameters(network):
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02)
            elif name.endswith("bias"):
                parameter.zero_()


def on_weights(network, draw, kinds=KINDS, bias=nn.init.zeros_):
    """The right walk through the network, with another way to draw."""
    for layer in network.modules():
        if isinstance(layer, kinds):
            draw(layer.weight)
            if layer.bias is not None:
                bias(layer.bias)


def paper(weight):
    nn.init.normal_(weight, std=0.02)


@wrong("initialize", "the network is as it was")
def new_tensors_of_the_same_name(network):
    for layer in network.modules():
        if isinstance(layer, KINDS):
            weight = layer.weight
            weight = 0.02 * torch.randn_like(weight)


@wrong("initialize", "a network that is one single layer")
def without_the_root(network):
    for layer in list(network.modules())[1:]:
        if isinstance(layer, KINDS):
            on_weights(layer, paper)


@wrong("initialize", "layers inside of blocks stay as they were")
def children_only(network):
    layers = list(network.children()) or [network]
    for layer in layers:
        if isinstance(layer, KINDS):
            paper(layer.weight)
            nn.init.zeros_(layer.bias)


@wrong("initialize", "the convolutions stay as they were")
def convolutions_forgotten(network):
    on_weights(network, paper, (nn.ConvTranspose2d, nn.Linear))


@wrong("initialize", "the transposed convolutions stay as they were")
def transposed_forgotten(network):
    on_weights(network, paper, (nn.Conv2d, nn.Linear))


@wrong("initialize", "the linear layers stay as they were")
def linear_forgotten(network):
    on_weights(network, paper, (nn.Conv2d, nn.ConvTranspose2d))


@wrong("initialize", "0.02^2 is the variance, and torch wants")
def variance_for_std(network):
    on_weights(network, lambda w: nn.init.normal_(w, std=0.02**2))


@wrong("initialize", "so take no root")
def root_of_std(network):
    on_weights(network, lambda w: nn.init.normal_(w, std=math.sqrt(0.02)))


@wrong("initialize", "the first number that `normal_` takes is the mean")
def std_given_as_mean(network):
    on_weights(network, lambda w: nn.init.normal_(w, 0.02))


@wrong("initialize", "they should lie around 0")
def mean_and_std(network):
    on_weights(network, lambda w: nn.init.normal_(w, 0.02, 0.02))


@wrong("initialize", "it should be 0.02")
def a_tenth(network):
    on_weights(network, lambda w: nn.init.normal_(w, std=0.1))


@wrong("initialize", "cut off or uniform")
def uniform(network):
    on_weights(network, lambda w: nn.init.uniform_(w, -0.02 * 3**0.5, 0.02 * 3**0.5))


@wrong("initialize", "all weights of a layer are the same")
def constant(network):
    on_weights(network, lambda w: nn.init.constant_(w, 0.02))


@wrong("initialize", "the biases stay as they were")
def biases_left(network):
    on_weights(network, paper, bias=lambda bias: None)


@wrong("initialize", "you draw the biases too")
def biases_drawn(network):
    on_weights(network, paper, bias=paper)


@wrong("initialize", "you draw the weights of batch norm too")
def every_parameter(network):
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            paper(parameter)
        else:
            nn.init.zeros_(parameter)


@wrong("initialize", "around 1, as some programs do")
def as_some_programs_do(network):
    on_weights(network, paper)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


@wrong("initialize", "nothing would pass through it")
def batch_norm_off(network):
    on_weights(network, paper)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.zeros_(layer.weight)


@wrong("initialize", "you switch off the gradients of the weights")
def frozen(network):
    network.requires_grad_(False)
    on_weights(network, paper)


@wrong("initialize", "there is a NaN")
def not_numbers(network):
    on_weights(network, lambda w: nn.init.constant_(w, math.nan))


@wrong("initialize", "`initialize` returns a OrderedDict")
def returns_the_weights(network):
    on_weights(network, paper)
    return network.state_dict()


@wrong("initialize", "with AttributeError")
def bias_that_is_not_there(network):
    for layer in network.modules():
        if isinstance(layer, KINDS):
            paper(layer.weight)
            layer.bias.data.zero_()


# ---------------------------------------------------------------- 3. least_squares


def squares_of_d(real, fake):
    return ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2


def squares_of_g(fake):
    return ((fake - 1) ** 2).mean() / 2


@right("least_squares")
def least_squares(real, fake):
    return squares_of_d(real, fake), squares_of_g(fake)


@right("least_squares")
def least_squares_by_mse(real, fake):
    one, zero = torch.ones_like(fake), torch.zeros_like(fake)
    of_d = F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, zero)
    return [0.5 * of_d, 0.5 * F.mse_loss(fake, one)]


@right("least_squares")
def least_squares_by_moments(real, fake):
    of_d = (real @ real / len(real) - 2 * real.mean() + 1 + fake @ fake / len(fake)) / 2
    return of_d, (fake @ fake / len(fake) - 2 * fake.mean() + 1) / 2


@wrong("least_squares", "the two halves in the loss of D are missing")
def d_without_halves(real, fake):
    return 2 * squares_of_d(real, fake), squares_of_g(fake)


@wrong("least_squares", "in the loss of D you take a sigmoid")
def d_with_sigmoid(real, fake):
    return least_squares(real.sigmoid(), fake.sigmoid())


@wrong("least_squares", "the loss of D is a sum")
def d_sums(real, fake):
    return ((real - 1) ** 2).sum() / 2 + (fake**2).sum() / 2, squares_of_g(fake)


@wrong("least_squares", "the targets of D are swapped")
def d_swapped(real, fake):
    return squares_of_d(fake, real), squares_of_g(fake)


@wrong("least_squares", "D draws the fakes to -1")
def d_minus_one(real, fake):
    return ((real - 1) ** 2).mean() / 2 + ((fake + 1) ** 2).mean() / 2, squares_of_g(fake)


@wrong("least_squares", "D draws the fakes to 1 as well")
def d_all_real(real, fake):
    return squares_of_g(real) + squares_of_g(fake), squares_of_g(fake)


@wrong("least_squares", "only the real half is there: add")
def d_real_half(real, fake):
    return squares_of_g(real), squares_of_g(fake)


@wrong("least_squares", "only the fake half is there: add")
def d_fake_half(real, fake):
    return (fake**2).mean() / 2, squares_of_g(fake)


@wrong("least_squares", "you average over real ones and fakes together")
def d_one_batch(real, fake):
    target = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    return F.mse_loss(torch.cat([real, fake]), target), squares_of_g(fake)


@wrong("least_squares", "in the loss of D you take absolute values")
def d_absolute(real, fake):
    return ((real - 1).abs().mean() + fake.abs().mean()) / 2, squares_of_g(fake)


@wrong("least_squares", "in the loss of D you square the mean")
def d_square_of_the_mean(real, fake):
    return ((real.mean() - 1) ** 2 + fake.mean() ** 2) / 2, squares_of_g(fake)


@wrong("least_squares", "this is the loss of lesson GAN")
def d_logarithms(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean(), squares_of_g(fake)


@wrong("least_squares", "the generator's loss comes first")
def squares_the_wrong_way_round(real, fake):
    return least_squares(real, fake)[::-1]


@wrong("least_squares", "your generator draws its fakes to 0")
def g_to_zero(real, fake):
    return squares_of_d(real, fake), (fake**2).mean() / 2


@wrong("least_squares", "would drive its fakes away from 0")
def g_minimax(real, fake):
    return squares_of_d(real, fake), -(fake**2).mean() / 2


@wrong("least_squares", "your generator takes minus the whole loss of D")
def g_minus_d(real, fake):
    return squares_of_d(real, fake), -squares_of_d(real, fake)


@wrong("least_squares", "the half in the generator's loss is missing")
def g_without_half(real, fake):
    return squares_of_d(real, fake), ((fake - 1) ** 2).mean()


@wrong("least_squares", "in the generator's loss you take a sigmoid")
def g_with_sigmoid(real, fake):
    return squares_of_d(real, fake), squares_of_g(fake.sigmoid())


@wrong("least_squares", "the generator's loss is a sum")
def g_sum(real, fake):
    return squares_of_d(real, fake), ((fake - 1) ** 2).sum() / 2


@wrong("least_squares", "minus the mean output, as in WGAN")
def g_wgan(real, fake):
    return squares_of_d(real, fake), -fake.mean()


@wrong("least_squares", "your generator looks at the real ones")
def g_of_real(real, fake):
    return squares_of_d(real, fake), squares_of_g(real)


@wrong("least_squares", "both losses are that of D")
def d_twice(real, fake):
    return squares_of_d(real, fake), squares_of_d(real, fake)


@wrong("least_squares", "no gradient reaches `real` and `fake`")
def squares_detached(real, fake):
    return least_squares(real.detach(), fake.detach())


@wrong("least_squares", "is something on its way detached")
def fakes_of_d_detached(real, fake):
    return squares_of_d(real, fake.detach()), squares_of_g(fake)


# ---------------------------------------------------------------- 4. wasserstein


def score_gap(real, fake):
    return fake.mean() - real.mean()


@right("wasserstein")
def wasserstein(real, fake):
    return score_gap(real, fake), -fake.mean()


@right("wasserstein")
def wasserstein_by_sums(real, fake):
    mean = fake.sum() / len(fake)
    return [-(real.sum() / len(real) - mean), 0 - mean]


@right("wasserstein")
def wasserstein_by_weights(real, fake):
    weight = torch.cat(
        [torch.full_like(real, -1 / len(real)), torch.full_like(fake, 1 / len(fake))]
    )
    return torch.cat([real, fake]) @ weight, (fake / -len(fake)).sum()


@wrong("wasserstein", "this is what the critic makes large")
def critic_maximises(real, fake):
    return real.mean() - fake.mean(), -fake.mean()


@wrong("wasserstein", "you add the two means")
def critic_adds(real, fake):
    return real.mean() + fake.mean(), -fake.mean()


@wrong("wasserstein", "you turn both signs")
def critic_minus_both(real, fake):
    return -real.mean() - fake.mean(), -fake.mean()


@wrong("wasserstein", "the critic's loss is made of sums")
def critic_sums(real, fake):
    return fake.sum() - real.sum(), -fake.mean()


@wrong("wasserstein", "the critic's scores go through a sigmoid")
def critic_sigmoid(real, fake):
    return wasserstein(real.sigmoid(), fake.sigmoid())


@wrong("wasserstein", "a critic is no classifier")
def critic_logarithms(real, fake):
    return -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean(), -fake.mean()


@wrong("wasserstein", "the critic's loss has the squares of step 3")
def critic_squares(real, fake):
    return squares_of_d(real, fake), -fake.mean()


@wrong("wasserstein", "you take the absolute value")
def critic_absolute(real, fake):
    return score_gap(real, fake).abs(), -fake.mean()


@wrong("wasserstein", "only the real half is in the critic's loss")
def critic_real_only(real, fake):
    return -real.mean(), -fake.mean()


@wrong("wasserstein", "the critic's loss is halved")
def critic_halved(real, fake):
    return score_gap(real, fake) / 2, -fake.mean()


@wrong("wasserstein", "the generator's loss comes first")
def scores_swapped(real, fake):
    return -fake.mean(), score_gap(real, fake)


@wrong("wasserstein", "your generator wants low scores")
def g_low(real, fake):
    return score_gap(real, fake), fake.mean()


@wrong("wasserstein", "your generator's loss has the real ones in it")
def g_with_real(real, fake):
    return score_gap(real, fake), -score_gap(real, fake)


@wrong("wasserstein", "both losses are that of the critic")
def critic_twice(real, fake):
    return score_gap(real, fake), score_gap(real, fake)


@wrong("wasserstein", "the generator's loss is a sum")
def g_score_sum(real, fake):
    return score_gap(real, fake), -fake.sum()


@wrong("wasserstein", "the generator's loss has the logarithm of lesson GAN")
def g_logarithm(real, fake):
    return score_gap(real, fake), F.softplus(-fake).mean()


@wrong("wasserstein", "the generator's loss is the square of step 3")
def g_square(real, fake):
    return score_gap(real, fake), squares_of_g(fake)


@wrong("wasserstein", "your generator scores the real ones")
def g_scores_real(real, fake):
    return score_gap(real, fake), -real.mean()


@wrong("wasserstein", "the generator's score goes through a sigmoid")
def g_sigmoid(real, fake):
    return score_gap(real, fake), -fake.sigmoid().mean()


@wrong("wasserstein", "no gradient reaches `real` and `fake`")
def scores_as_numbers(real, fake):
    return torch.tensor(score_gap(real, fake).item()), torch.tensor(-fake.mean().item())


@wrong("wasserstein", "is something on its way detached")
def real_detached(real, fake):
    return score_gap(real.detach(), fake), -fake.mean()


# ---------------------------------------------------------------- 5. between


def one_an_example(x):
    return torch.rand(len(x), *[1] * (x.ndim - 1)).to(x)


@right("between")
def between(real, fake):
    share = one_an_example(real)
    return share * real + (1 - share) * fake


@right("between")
def between_by_lerp(real, fake):
    return torch.lerp(real, fake, one_an_example(real))


@right("between")
def between_flat(real, fake):
    u = torch.empty(len(real), 1).uniform_().to(real)
    return (fake.flatten(1) + u * (real - fake).flatten(1)).view_as(real)


@right("between")
def between_one_by_one(real, fake):
    mixed = []
    for x, g in zip(real, fake, strict=True):
        u = torch.rand(()).to(x)
        mixed.append(u * x + (1 - u) * g)
    return torch.stack(mixed)


@wrong("between", "all your places lie at one share")
def in_the_middle(real, fake):
    return (real + fake) / 2


@wrong("between", "one number for the whole batch")
def one_for_all(real, fake):
    u = torch.rand(1).to(real)
    return u * real + (1 - u) * fake


@wrong("between", "not one a pixel")
def one_a_pixel(real, fake):
    return torch.lerp(fake, real, torch.rand_like(real))


@wrong("between", "belong to the columns of a picture")
def numbers_without_axes(real, fake):
    u = torch.rand(len(real)).to(real)
    return u * real + (1 - u) * fake


@wrong("between", "your two weights do not add up to 1")
def two_numbers(real, fake):
    pixels = real.flatten(1)
    mixed = torch.rand(len(pixels), 1).to(real) * pixels
    return (mixed + torch.rand(len(pixels), 1).to(real) * fake.flatten(1)).view_as(real)


@wrong("between", "some places are not between the two")
def normal_numbers(real, fake):
    u = torch.randn(len(real), *[1] * (real.ndim - 1)).to(real)
    return fake + u * (real - fake)


@wrong("between", "you choose one of the two")
def either_or(real, fake):
    return torch.where(one_an_example(real) > 0.5, real, fake)


@wrong("between", "your places are not spread evenly")
def towards_the_middle(real, fake):
    u = (one_an_example(real) + one_an_example(real)) / 2
    return u * real + (1 - u) * fake


@wrong("between", "a uniform number is 0.50 on average")
def squared_numbers(real, fake):
    return torch.lerp(fake, real, one_an_example(real) ** 2)


@wrong("between", "a second call gives the same places")
def seeded(real, fake):
    torch.manual_seed(0)
    return between(real, fake)


@wrong("between", "a place for each pair")
def one_place(real, fake):
    return between(real, fake)[:1]


# ---------------------------------------------------------------- 6. gradient_penalty


def slope_of(critic, x, keep=True):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(critic(x).sum(), x, create_graph=keep)[0]


def norms_of(critic, x):
    return slope_of(critic, x).flatten(1).norm(dim=1)


@right("gradient_penalty")
def gradient_penalty(critic, x):
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@right("gradient_penalty")
def gradient_penalty_with_epsilon(critic, x):
    x = x.clone().requires_grad_()
    score = critic(x)
    slope = torch.autograd.grad(
        outputs=score, inputs=x, grad_outputs=torch.ones_like(score), create_graph=True
    )[0]
    norm = (slope.pow(2).reshape(len(x), -1).sum(1) + 1e-12).sqrt()
    return F.mse_loss(norm, torch.ones_like(norm))


@right("gradient_penalty")
def gradient_penalty_one_by_one(critic, x):
    total = 0
    for one in x.split(1):
        one = one.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(one).squeeze(), one, create_graph=True)
        total = total + (slope.norm() - 1) ** 2
    return total / len(x)


@wrong("gradient_penalty", "one norm over the whole batch")
def norm_of_the_batch(critic, x):
    return (slope_of(critic, x).norm(2) - 1) ** 2


@wrong("gradient_penalty", "over the second axis alone")
def norm_of_channels(critic, x):
    return ((slope_of(critic, x).norm(2, dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "over the last axis alone")
def norm_of_rows(critic, x):
    return ((slope_of(critic, x).norm(dim=-1) - 1) ** 2).mean()


@wrong("gradient_penalty", "you compare each number of the gradient with 1")
def every_number(critic, x):
    return ((slope_of(critic, x).abs() - 1) ** 2).mean()


@wrong("gradient_penalty", "you pull the norm to 0")
def to_zero(critic, x):
    return (slope_of(critic, x).flatten(1) ** 2).sum(1).mean()


@wrong("gradient_penalty", "you subtract 1 from the squared norm")
def no_root(critic, x):
    return (((slope_of(critic, x).flatten(1) ** 2).sum(1) - 1) ** 2).mean()


@wrong("gradient_penalty", "the square is missing")
def no_square(critic, x):
    return (norms_of(critic, x) - 1).mean()


@wrong("gradient_penalty", "you take the absolute value of norm - 1")
def absolute(critic, x):
    return (norms_of(critic, x) - 1).abs().mean()


@wrong("gradient_penalty", "you average the norms before")
def mean_of_norms(critic, x):
    return (norms_of(critic, x).mean() - 1) ** 2


@wrong("gradient_penalty", "your penalty is a sum")
def summed(critic, x):
    return ((norms_of(critic, x) - 1) ** 2).sum()


@wrong("gradient_penalty", "divided by the number of examples")
def mean_score(critic, x):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).mean(), x, create_graph=True)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "your penalty is one-sided")
def one_sided(critic, x):
    return (F.relu(norms_of(critic, x) - 1) ** 2).mean()


@wrong("gradient_penalty", "the weight 10 is in your penalty")
def weighted(critic, x):
    return 10 * gradient_penalty(critic, x)


@wrong("gradient_penalty", "you add up absolute values")
def city_blocks(critic, x):
    return ((slope_of(critic, x).flatten(1).norm(p=1, dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "you penalise the score itself")
def on_the_score(critic, x):
    return ((critic(x) - 1) ** 2).mean()


@wrong("gradient_penalty", "you return one number an example")
def penalties(critic, x):
    return (norms_of(critic, x) - 1) ** 2


@wrong("gradient_penalty", "you return the norms")
def bare_norms(critic, x):
    return norms_of(critic, x)


@wrong("gradient_penalty", "create_graph=True")
def without_create_graph(critic, x):
    slope = slope_of(critic, x, keep=False)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "is a part of it detached")
def factor_detached(critic, x):
    off = norms_of(critic, x) - 1
    return (off * off.detach()).mean()


@wrong("gradient_penalty", "a root has an infinite slope at 0")
def bare_root(critic, x):
    return (((slope_of(critic, x).flatten(1) ** 2).sum(1).sqrt() - 1) ** 2).mean()


@wrong("gradient_penalty", "you leave gradients in the critic's parameters")
def by_backward(critic, x):
    x = x.clone().requires_grad_()
    with warnings.catch_warnings():  # torch warns of it too
        warnings.simplefilter("ignore")
        critic(x).sum().backward(create_graph=True)
    return ((x.grad.flatten(1).norm(dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "you leave marks on the caller's x")
def marks_x(critic, x):
    x.requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


@wrong("gradient_penalty", "the critic wants (n,")
def flattened_for_the_critic(critic, x):
    return gradient_penalty(critic, x.flatten(1)[:, :1])


# ---------------------------------------------------------------- 7. joined


@right("joined")
def joined(z, y, weight):
    d = z.shape[1]
    return z @ weight[:, :d].T + weight[:, d:].T[y]


@right("joined")
def joined_by_one_hot(z, y, weight):
    code = F.one_hot(y, weight.shape[1] - z.shape[1]).to(z)
    return F.linear(torch.cat([z, code], dim=1), weight)


@right("joined")
def joined_by_embedding(z, y, weight):
    of_z, of_y = weight.split([z.shape[1], weight.shape[1] - z.shape[1]], dim=1)
    return F.embedding(y, of_y.T) + torch.einsum("nd,fd->nf", z, of_z)


def on_z(z, weight):
    return z @ weight[:, : z.shape[1]].T


@wrong("joined", "the label has no say")
def no_label(z, y, weight):
    return on_z(z, weight)


@wrong("joined", "the noise has no say")
def no_noise(z, y, weight):
    return weight[:, z.shape[1] :].T[y]


@wrong("joined", "you join the label before z")
def label_first(z, y, weight):
    code = F.one_hot(y, weight.shape[1] - z.shape[1]).to(z)
    return torch.cat([code, z], dim=1) @ weight.T


@wrong("joined", "among the columns of z")
def columns_of_z(z, y, weight):
    return on_z(z, weight) + weight.T[y]


@wrong("joined", "from the end")
def from_the_end(z, y, weight):
    return on_z(z, weight) + weight.flip(1)[:, y].T


@wrong("joined", "one column too far to the left")
def labels_from_one(z, y, weight):
    return on_z(z, weight) + weight[:, z.shape[1] - 1 + y].T


@wrong("joined", "every example gets the column of the first label")
def first_label(z, y, weight):
    return on_z(z, weight) + weight[:, z.shape[1] + int(y[0])]


@wrong("joined", "you add up the columns of all labels")
def all_labels(z, y, weight):
    ones = torch.ones(len(z), weight.shape[1] - z.shape[1]).to(z)
    return torch.cat([z, ones], dim=1) @ weight.T


@wrong("joined", "labels are names")
def label_as_a_number(z, y, weight):
    return on_z(z, weight) + y[:, None].to(z) * weight[:, z.shape[1]]


@wrong("joined", "you multiply what comes of z and of y")
def multiplied(z, y, weight):
    return on_z(z, weight) * weight[:, z.shape[1] + y].T


@wrong("joined", "you subtract the label's column")
def subtracted(z, y, weight):
    return on_z(z, weight) - weight[:, z.shape[1] + y].T


@wrong("joined", "you put the layer's ReLU into it")
def with_relu(z, y, weight):
    return joined(z, y, weight).relu()


@wrong("joined", "you average the two parts")
def averaged(z, y, weight):
    return joined(z, y, weight).mul(0.5)


@wrong("joined", "no gradient reaches `z` and `weight`")
def joined_without_a_graph(z, y, weight):
    with torch.no_grad():
        return joined(z, y, weight)


@wrong("joined", "is something on its way detached")
def label_columns_detached(z, y, weight):
    return on_z(z, weight) + weight[:, z.shape[1] :].T.detach()[y]


# ---------------------------------------------------------------- 8. slerp


def angle_of(a, b):
    return torch.arccos(torch.clamp(torch.dot(a, b) / a.norm() / b.norm(), -1, 1))


def weigh(omega, a, b, t):
    t = t[:, None]
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()


@right("slerp")
def slerp(a, b, t):
    cosine = (a @ b / (a.norm() * b.norm())).clamp(-1, 1)
    omega, t = cosine.acos(), t[:, None]
    if omega.sin() < 1e-3:
        return (1 - t) * a + t * b
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()


@right("slerp")
def slerp_by_a_basis(a, b, t):
    """Turn in the plane of the two, then let the lengths come as the formula has them."""
    a, b, t = a.double(), b.double(), t.double()
    e = a / a.norm()
    rest = b - (b @ e) * e
    if rest.norm() < 1e-4 * b.norm():
        return torch.lerp(a, b, t[:, None])
    f = rest / rest.norm()
    omega = torch.atan2(b @ f, b @ e)
    first, second = ((1 - t) * omega).sin() / omega.sin(), (t * omega).sin() / omega.sin()
    along = first * a.norm() + second * b.norm() * omega.cos()
    return along[:, None] * e + (second * b.norm() * omega.sin())[:, None] * f


@right("slerp")
def slerp_with_cosine_similarity(a, b, t):
    cosine = F.cosine_similarity(a, b, dim=0)
    if cosine > 0.9999:
        return torch.stack([torch.lerp(a, b, s) for s in t])
    omega = torch.acos(cosine)
    return torch.outer(((1 - t) * omega).sin() / omega.sin(), a) + torch.outer(
        (t * omega).sin() / omega.sin(), b
    )


def safe(turn):
    """A wrong turn, that does know what to do with codes that point the same way."""

    def answer(a, b, t):
        return torch.lerp(a, b, t[:, None]) if angle_of(a, b) < 1e-3 else turn(a, b, t)

    return answer


@wrong("slerp", "which cuts through the inside of the sphere")
def straight(a, b, t):
    return a + t[:, None] * (b - a)


@wrong("slerp", "pushed out to the sphere")
def pushed_out(a, b, t):
    line = torch.lerp(a, b, t[:, None])
    length = a.norm() + t * (b.norm() - a.norm())
    return length[:, None] * line / line.norm(dim=1, keepdim=True)


@wrong("slerp", "your way begins at b")
def backwards(a, b, t):
    return slerp(a, b, 1 - t)


@wrong("slerp", "you divide by the angle")
def over_the_angle(a, b, t):
    omega = angle_of(a, b)
    return weigh(omega, a, b, t) * omega.sin() / omega


@wrong("slerp", "you do not divide by the sine")
def not_divided(a, b, t):
    omega = angle_of(a, b)
    return weigh(omega, a, b, t) * omega.sin()


@wrong("slerp", "you take the directions of a and b into the sum")
def of_directions(a, b, t):
    return slerp(a / a.norm(), b / b.norm(), t)


@wrong("slerp", "you bring the result to length 1")
def normalised(a, b, t):
    return F.normalize(slerp(a, b, t), dim=1)


@wrong("slerp", "your angle is the cosine itself")
def no_arc_cosine(a, b, t):
    return weigh(F.cosine_similarity(a, b, dim=0), a, b, t)


@wrong("slerp", "that between the lines")
def between_lines(a, b, t):
    return weigh(F.cosine_similarity(a, b, dim=0).abs().acos(), a, b, t)


@wrong("slerp", "you weigh by square roots of t")
def square_roots(a, b, t):
    return torch.outer((1 - t) ** 0.5, a) + torch.outer(t**0.5, b)


@wrong("slerp", "you weigh by a quarter turn")
def quarter_turn(a, b, t):
    quarter = math.pi / 2
    return torch.outer((t * quarter).cos(), a) + torch.outer((t * quarter).sin(), b)


@wrong("slerp", "a is missing from your sum")
def only_b(a, b, t):
    omega = angle_of(a, b)
    return torch.outer((t * omega).sin() / omega.sin(), b)


@wrong("slerp", "your cosine is the bare product")
def bare_product(a, b, t):
    return weigh(torch.arccos(a @ b), a, b, t)


@wrong("slerp", "the angle is 0, and you get 0/0")
def nothing_to_turn(a, b, t):
    return weigh(angle_of(a, b), a, b, t)


@wrong("slerp", "for codes that point the same way the result of `slerp` is wrong")
def stays_at_a(a, b, t):
    if angle_of(a, b) < 1e-3:
        return a.expand(len(t), -1)
    return slerp(a, b, t)


# ---------------------------------------------------------------- 9. frechet


def moments(x):
    return x.mean(dim=0), torch.cov(x.T)


def matrix_root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0) ** 0.5) @ vectors.T


def overlap(a, b):
    root = matrix_root(a)
    return torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()


def gap_of_means(real, fake):
    return (real.mean(dim=0) - fake.mean(dim=0)).square().sum()


def gap_of_spreads(a, b):
    return a.trace() + b.trace() - 2 * overlap(a, b)


@right("frechet")
def frechet(real, fake):
    (m1, s1), (m2, s2) = moments(real.double()), moments(fake.double())
    root = matrix_root(s1)
    cross = torch.linalg.eigvalsh(root @ s2 @ root).clamp_min(0).sqrt().sum()
    return (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * cross


@right("frechet")
def frechet_by_the_eigenvalues_of_the_product(real, fake):
    (m1, s1), (m2, s2) = moments(real), moments(fake)
    roots = torch.linalg.eigvals(s1 @ s2).real.clamp_min(0).sqrt()
    return ((m1 - m2) ** 2).sum() + torch.trace(s1) + torch.trace(s2) - 2 * roots.sum()


@right("frechet")
def frechet_by_singular_values(real, fake):
    """tr((S1^(1/2) S2 S1^(1/2))^(1/2)) is the sum of the singular values of X1 X2', centred."""
    a, b = (x.double() - x.double().mean(dim=0) for x in (real, fake))
    a, b = a / math.sqrt(len(a) - 1), b / math.sqrt(len(b) - 1)
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
    return gap_of_means(real, fake) + spread


@right("frechet")
def frechet_in_single_precision(real, fake):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    return gap_of_means(real, fake) + gap_of_spreads(s1, s2)


@wrong("frechet", "only the means are compared")
def means_only(real, fake):
    return gap_of_means(real, fake)


@wrong("frechet", "only the covariances are compared")
def spreads_only(real, fake):
    return gap_of_spreads(torch.cov(real.T), torch.cov(fake.T))


@wrong("frechet", "the distance of the means is not squared")
def means_not_squared(real, fake):
    return (real.mean(0) - fake.mean(0)).norm() + spreads_only(real, fake)


@wrong("frechet", "you average over the features")
def mean_over_features(real, fake):
    return F.mse_loss(real.mean(0), fake.mean(0)) + spreads_only(real, fake)


def with_cross(real, fake, cross):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    return gap_of_means(real, fake) + s1.trace() + s2.trace() - cross(s1, s2)


@wrong("frechet", "the factor 2 before the root is missing")
def one_root(real, fake):
    return with_cross(real, fake, overlap)


@wrong("frechet", "the root of the product is missing")
def no_cross(real, fake):
    return with_cross(real, fake, lambda a, b: 0)


@wrong("frechet", "you add the trace of the root")
def cross_added(real, fake):
    return with_cross(real, fake, lambda a, b: -2 * overlap(a, b))


@wrong("frechet", "this is the root of the distance")
def not_the_square(real, fake):
    return frechet(real, fake).sqrt()


@wrong("frechet", "your covariances are divided by n")
def biased(real, fake):
    s1, s2 = torch.cov(real.T, correction=0), torch.cov(fake.T, correction=0)
    return gap_of_means(real, fake) + gap_of_spreads(s1, s2)


@wrong("frechet", "your covariances still have the means in them")
def not_centred(real, fake):
    s1, s2 = real.T @ real / (len(real) - 1), fake.T @ fake / (len(fake) - 1)
    return gap_of_means(real, fake) + gap_of_spreads(s1, s2)


@wrong("frechet", "you take the root of each entry")
def entrywise(real, fake):
    return with_cross(real, fake, lambda a, b: 2 * (a @ b).sqrt().trace())


@wrong("frechet", "as if features were independent")
def diagonal(real, fake):
    return gap_of_means(real, fake) + (real.std(0) - fake.std(0)).square().sum()


@wrong("frechet", "the root around your product is missing")
def product_without_root(real, fake):
    return with_cross(real, fake, lambda a, b: 2 * (a @ b).trace())


@wrong("frechet", "you multiply the roots of the two covariances")
def product_of_roots(real, fake):
    return with_cross(real, fake, lambda a, b: 2 * (matrix_root(a) @ matrix_root(b)).trace())


@wrong("frechet", "you compare the covariances entry by entry")
def entry_by_entry(real, fake):
    gap = torch.cov(real.T) - torch.cov(fake.T)
    return gap_of_means(real, fake) + gap.square().sum()


@wrong("frechet", "rounded to a little below, and their roots are NaN")
def not_clamped(real, fake):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    values = torch.linalg.eigvals(s1 @ s2).real
    values = torch.where(values.abs() < 1e-4, -values.abs() - 1e-9, values)  # as rounding may
    return gap_of_means(real, fake) + s1.trace() + s2.trace() - 2 * values.sqrt().sum()


@wrong("frechet", "without the inverse of a covariance")
def regularised(real, fake):
    s1, s2 = torch.cov(real.T), torch.cov(fake.T)
    if len(real) < real.shape[1]:
        s1, s2 = s1 + torch.eye(len(s1)).to(s1), s2 + torch.eye(len(s2)).to(s2)
    return gap_of_means(real, fake) + gap_of_spreads(s1, s2)


# ---------------------------------------------------------------- the bank, applied

RETURNS_NOTHING = "this step changes a network and returns nothing"


class TestChecks(ChecksOfALesson):
    bank = bank

    def test_a_wrong_shape_is_named(self, step):
        if step == "initialize":
            pytest.skip(RETURNS_NOTHING)
        super().test_a_wrong_shape_is_named(step)

    def test_a_nan_is_found(self, step):
        if step == "initialize":
            pytest.skip(RETURNS_NOTHING)  # its NaNs stand in the bank
        super().test_a_nan_is_found(step)

    def test_integers_are_refused_where_they_lose_the_answer(self, step):
        if step == "initialize":
            pytest.skip(RETURNS_NOTHING)
        super().test_integers_are_refused_where_they_lose_the_answer(step)


@pytest.mark.parametrize("kernel, stride, padding", [(4, 2, 1), (5, 2, 2), (3, 1, 1), (4, 1, 0)])
def test_the_formulas_are_those_of_torch(kernel, stride, padding):
    side = torch.arange(kernel, 40)
    for mine, torchs in zip(
        sides(side, kernel, stride, padding),
        sides_asked_of_torch(side, kernel, stride, padding),
        strict=True,
    ):
        assert torch.equal(mine, torchs)


def test_genlibs_own_initialisation_is_accepted():
    assert bank.verdict("initialize", initialize_of_genlib) is None


def test_losses_are_those_of_genlib():
    model = LSGAN(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    real, fake = torch.randn(5), torch.randn(4)
    of_d, of_g = least_squares(real, fake)
    assert torch.allclose(of_d, model.discriminator_objective(real, fake))
    assert torch.allclose(of_g, model.generator_objective(fake))
    model = WGANGP(nn.Linear(1, 1), nn.Linear(1, 1), latent_dim=1)
    of_critic, of_g = wasserstein(real, fake)
    assert torch.allclose(of_critic, model.discriminator_objective(real, fake))
    assert torch.allclose(of_g, model.generator_objective(fake))


def test_penalty_and_places_are_those_of_genlib():
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    model = WGANGP(nn.Linear(1, 3), critic, latent_dim=1)
    real, fake = torch.randn(6, 3), torch.randn(6, 3)
    torch.manual_seed(3)
    theirs = model.gradient_penalty(real, fake)
    torch.manual_seed(3)
    assert torch.allclose(theirs, gradient_penalty(critic, between(real, fake)))


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


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("allclose", "equal", "isfinite", "lerp", "cat", "where"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "you divide by the angle" in bank.verdict("slerp", over_the_angle)
    assert "the network is as it was" in bank.verdict("initialize", lambda network: None)
    assert "the loss of D is a sum" in bank.verdict("least_squares", d_sums)
