"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from course.checking.bank import Bank, ChecksOfALesson

bank = Bank(
    "gan",
    steps="pushforward discriminator_loss best_logit jsd generator_losses slopes "
    "discriminator_step generator_step hits",
    results={"pushforward": 2, "generator_losses": 2, "slopes": 2},
    may_be_integers=("hits",),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. pushforward


def slope_of(g, z):
    z = z.clone().requires_grad_()
    g(z).sum().backward()
    return z.grad


def log_normal(z):
    return -(z**2) / 2 - math.log(2 * math.pi) / 2


@right("pushforward")
def pushforward(g, z):
    z = z.clone().requires_grad_()
    x = g(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    return x.detach(), (log_normal(z) - slope.abs().log()).detach()


@right("pushforward")
def pushforward_by_torch(g, z):
    prior = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    return g(z).detach(), prior.log_prob(z) - slope_of(g, z).square().log() / 2


@right("pushforward")
def pushforward_by_the_jacobian(g, z):
    slope = torch.autograd.functional.jacobian(g, z.clone()).diagonal()
    return g(z).detach(), log_normal(z) - slope.abs().log()


@right("pushforward")
def pushforward_point_by_point(g, z):
    x, log_p = [], []
    for one in z.double():
        one = one[None].requires_grad_()
        y = g(one)
        y.backward()
        x.append(y.item())
        log_p.append((log_normal(one) - one.grad.abs().log()).item())
    return torch.tensor(x), torch.tensor(log_p)


@wrong("pushforward", "this is the log density of z")
def density_of_z(g, z):
    return g(z), log_normal(z)


@wrong("pushforward", "you add log |g'(z)|")
def slope_added(g, z):
    return g(z), log_normal(z) + slope_of(g, z).abs().log()


@wrong("pushforward", "you put x into the normal density")
def normal_at_x(g, z):
    return g(z), log_normal(g(z)) - slope_of(g, z).abs().log()


@wrong("pushforward", "as if the generator did nothing")
def normal_of_x(g, z):
    return g(z), log_normal(g(z))


@wrong("pushforward", "the constant of the normal density is missing")
def no_constant(g, z):
    return g(z), -(z**2) / 2 - slope_of(g, z).abs().log()


@wrong("pushforward", "so subtract half of it")
def whole_constant(g, z):
    return g(z), -(z**2) / 2 - math.log(2 * math.pi) - slope_of(g, z).abs().log()


@wrong("pushforward", "this is the density: return its logarithm")
def density_not_log(g, z):
    return g(z), log_normal(z).exp() / slope_of(g, z).abs()


@wrong("pushforward", "you subtract the slope itself")
def slope_without_log(g, z):
    return g(z), log_normal(z) - slope_of(g, z).abs()


@wrong("pushforward", "you divide a logarithm by the slope")
def log_divided(g, z):
    return g(z), log_normal(z) / slope_of(g, z).abs()


@wrong("pushforward", "divided by the number of points")
def slope_of_the_mean(g, z):
    z = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(g(z).mean(), z)
    return g(z), log_normal(z) - slope.abs().log()


@wrong("pushforward", "you return z in the place of x")
def returns_z(g, z):
    return z, pushforward(g, z)[1]


@wrong("pushforward", "take the slope's absolute value")
def without_absolute_value(g, z):
    return g(z), log_normal(z) - slope_of(g, z).log()


@wrong("pushforward", "far out the density rounds to 0")
def through_the_density(g, z):
    p = (-(z**2) / 2).exp() / math.sqrt(2 * math.pi)
    return g(z), (p / slope_of(g, z).abs()).log()


@wrong("pushforward", "they still hang on the graph")
def with_its_graph(g, z):
    z = z.clone().requires_grad_()
    x = g(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    return x, log_normal(z) - slope.abs().log()


@wrong("pushforward", "you leave marks on the caller's z")
def marks_z(g, z):
    z.requires_grad_()
    (slope,) = torch.autograd.grad(g(z).sum(), z)
    return g(z), log_normal(z) - slope.abs().log()


# ---------------------------------------------------------------- 2. discriminator_loss


@right("discriminator_loss")
def discriminator_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@right("discriminator_loss")
def discriminator_loss_by_bce(real, fake):
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


@right("discriminator_loss")
def discriminator_loss_by_logsigmoid(real, fake):
    return -(F.logsigmoid(real).sum() / len(real) + F.logsigmoid(-fake).sum() / len(fake))


@right("discriminator_loss")
def discriminator_loss_by_logaddexp(real, fake):
    zero = torch.zeros(())
    return torch.logaddexp(zero, -real).mean() + torch.logaddexp(zero, fake).mean()


@wrong("discriminator_loss", "you take sums")
def sums(real, fake):
    return F.softplus(-real).sum() + F.softplus(fake).sum()


@wrong("discriminator_loss", "only the real half is there")
def real_only(real, fake):
    return F.softplus(-real).mean()


@wrong("discriminator_loss", "only the fake half is there")
def fake_only(real, fake):
    return F.softplus(fake).mean()


@wrong("discriminator_loss", "the labels are swapped")
def labels_swapped(real, fake):
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.zeros_like(real)) + bce(fake, torch.ones_like(fake))


@wrong("discriminator_loss", 'both halves want the answer "real"')
def both_real(real, fake):
    return -F.logsigmoid(real).mean() - F.logsigmoid(fake).mean()


@wrong("discriminator_loss", "this is the value V(D, G)")
def value_of_the_game(real, fake):
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


@wrong("discriminator_loss", "you average the two halves")
def halves_averaged(real, fake):
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


@wrong("discriminator_loss", "over real ones and fakes together")
def one_batch(real, fake):
    label = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    return F.binary_cross_entropy_with_logits(torch.cat([real, fake]), label)


@wrong("discriminator_loss", "the sigmoid is taken twice")
def sigmoid_twice(real, fake):
    return discriminator_loss(real.sigmoid(), fake.sigmoid())


@wrong("discriminator_loss", "the logarithm is missing")
def no_logarithm(real, fake):
    return (1 - real.sigmoid()).mean() + fake.sigmoid().mean()


@wrong("discriminator_loss", "cuts every logarithm at -100")
def clamped_bce(real, fake):
    real, fake = real.sigmoid(), fake.sigmoid()
    bce = F.binary_cross_entropy
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


@wrong("discriminator_loss", "a small number inside your logarithm")
def epsilon(real, fake):
    eps = 1e-8
    real, fake = real.sigmoid(), fake.sigmoid()
    return -(real + eps).log().mean() - (1 - fake + eps).log().mean()


@wrong("discriminator_loss", "rounds to 0 or 1 before the logarithm")
def log_of_sigmoid(real, fake):
    return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


@wrong("discriminator_loss", "is something on its way detached")
def fakes_detached_in_the_loss(real, fake):
    return discriminator_loss(real, fake.detach())


@wrong("discriminator_loss", "no gradient reaches `real` and `fake`")
def a_number_for_the_log(real, fake):
    return torch.tensor(discriminator_loss(real, fake).item())


# ---------------------------------------------------------------- 3. best_logit


@right("best_logit")
def best_logit(log_p_data, log_p_fake):
    return log_p_data - log_p_fake


@right("best_logit")
def best_logit_by_two_logs(log_p_data, log_p_fake):
    log_sum = torch.logaddexp(log_p_data, log_p_fake)
    return (log_p_data - log_sum) - (log_p_fake - log_sum)


@right("best_logit")
def best_logit_stacked(log_p_data, log_p_fake):
    return torch.stack([log_p_fake, log_p_data]).diff(dim=0)[0].double()


@wrong("best_logit", "this is D* itself")
def best_d(log_p_data, log_p_fake):
    return (log_p_data - log_p_fake).sigmoid()


@wrong("best_logit", "the two are swapped")
def logit_of_the_fakes(log_p_data, log_p_fake):
    return log_p_fake - log_p_data


@wrong("best_logit", "this is the ratio D* / (1 - D*)")
def odds(log_p_data, log_p_fake):
    return (log_p_data - log_p_fake).exp()


@wrong("best_logit", "this is log D*")
def log_d(log_p_data, log_p_fake):
    return F.logsigmoid(log_p_data - log_p_fake)


@wrong("best_logit", "with a half in it")
def against_the_mixture(log_p_data, log_p_fake):
    return log_p_data - (torch.logaddexp(log_p_data, log_p_fake) - math.log(2))


@wrong("best_logit", "you subtract the densities")
def difference_of_densities(log_p_data, log_p_fake):
    return log_p_data.exp() - log_p_fake.exp()


@wrong("best_logit", "you divide one logarithm by the other")
def ratio_of_logs(log_p_data, log_p_fake):
    return log_p_data / log_p_fake


@wrong("best_logit", "you add the logarithms")
def sum_of_logs(log_p_data, log_p_fake):
    return log_p_data + log_p_fake


@wrong("best_logit", "your logit is infinite: simplify on paper")
def logit_of_the_sigmoid(log_p_data, log_p_fake):
    d = 1 / (1 + (log_p_fake - log_p_data).exp())
    return torch.logit(d)


@wrong("best_logit", "a small number or a clamp")
def logs_with_an_epsilon(log_p_data, log_p_fake):
    return ((log_p_data.exp() + 1e-12) / (log_p_fake.exp() + 1e-12)).log()


@wrong("best_logit", "far from both, the densities round to 0")
def log_of_the_ratio(log_p_data, log_p_fake):
    return (log_p_data.exp() / log_p_fake.exp()).log()


# ---------------------------------------------------------------- 4. jsd


def divergence(log_a, log_b, dx):
    return (log_a.exp() * (log_a - log_b) * dx).sum()


def mixture(log_p, log_q):
    return torch.logaddexp(log_p, log_q) - math.log(2)


@right("jsd")
def jsd(log_p, log_q, dx):
    m = mixture(log_p, log_q)
    return (divergence(log_p, m, dx) + divergence(log_q, m, dx)) / 2


@right("jsd")
def jsd_from_the_game(log_p, log_q, dx):
    """Half of the value at the best discriminator plus log 4."""
    logit = log_p - log_q
    value = -(log_p.exp() * F.softplus(-logit) + log_q.exp() * F.softplus(logit)) * dx
    mass = 0.5 * ((log_p.exp() + log_q.exp()) * dx).sum()  # 1, but for the grid
    return 0.5 * value.sum() + mass * math.log(2)


@right("jsd")
def jsd_by_kl_div(log_p, log_q, dx):
    m = torch.stack([log_p, log_q]).logsumexp(0) - math.log(2)
    both = torch.stack(
        [F.kl_div(m, log, log_target=True, reduction="none") for log in (log_p, log_q)]
    )
    return (both.mean(0) * dx).sum()


@wrong("jsd", "this is KL(p || q): compare")
def kl_forward(log_p, log_q, dx):
    return divergence(log_p, log_q, dx)


@wrong("jsd", "this is KL(q || p): compare")
def kl_backward(log_p, log_q, dx):
    return divergence(log_q, log_p, dx)


@wrong("jsd", "this is the mean of KL(p || q) and KL(q || p)")
def jeffreys(log_p, log_q, dx):
    return (divergence(log_p, log_q, dx) + divergence(log_q, log_p, dx)) / 2


@wrong("jsd", "the factor 1/2 before the two divergences")
def without_halves(log_p, log_q, dx):
    m = mixture(log_p, log_q)
    return divergence(log_p, m, dx) + divergence(log_q, m, dx)


@wrong("jsd", "the part of q is missing")
def half_of_it(log_p, log_q, dx):
    return divergence(log_p, mixture(log_p, log_q), dx) / 2


@wrong("jsd", "this is KL(p || m) alone")
def kl_to_the_mixture(log_p, log_q, dx):
    return divergence(log_p, mixture(log_p, log_q), dx)


@wrong("jsd", "your m is the sum p + q")
def sum_for_the_mixture(log_p, log_q, dx):
    m = torch.logaddexp(log_p, log_q)
    return (divergence(log_p, m, dx) + divergence(log_q, m, dx)) / 2


@wrong("jsd", "you average the logarithms")
def geometric_mixture(log_p, log_q, dx):
    m = (log_p + log_q) / 2
    return (divergence(log_p, m, dx) + divergence(log_q, m, dx)) / 2


@wrong("jsd", "the divergences are the wrong way round")
def from_the_mixture(log_p, log_q, dx):
    m = mixture(log_p, log_q)
    return (divergence(m, log_p, dx) + divergence(m, log_q, dx)) / 2


@wrong("jsd", "this is the value V(D*, G)")
def value_at_the_best(log_p, log_q, dx):
    return 2 * jsd(log_p, log_q, dx) - math.log(4)


@wrong("jsd", "the widths dx are missing")
def no_widths(log_p, log_q, dx):
    m = mixture(log_p, log_q)
    return (log_p.exp() * (log_p - m) + log_q.exp() * (log_q - m)).sum() / 2


@wrong("jsd", "one width for all cells")
def first_width(log_p, log_q, dx):
    return no_widths(log_p, log_q, dx) * dx[0]


@wrong("jsd", "this is the square root")
def distance(log_p, log_q, dx):
    return jsd(log_p, log_q, dx) ** 0.5


@wrong("jsd", "these are bits")
def in_bits(log_p, log_q, dx):
    return jsd(log_p, log_q, dx) / math.log(2)


@wrong("jsd", "where both densities round to 0")
def through_densities(log_p, log_q, dx):
    p, q = log_p.exp(), log_q.exp()
    m = (p + q) / 2
    return ((p * (p / m).log() + q * (q / m).log()) * dx).sum() / 2


# ---------------------------------------------------------------- 5. generator_losses


@right("generator_losses")
def generator_losses(fake):
    return -F.softplus(fake).mean(), F.softplus(-fake).mean()


@right("generator_losses")
def generator_losses_by_bce(fake):
    bce = F.binary_cross_entropy_with_logits
    return -bce(fake, torch.zeros_like(fake)), bce(fake, torch.ones_like(fake))


@right("generator_losses")
def generator_losses_by_logsigmoid(fake):
    n = len(fake)
    return [F.logsigmoid(-fake).sum() / n, -F.logsigmoid(fake).sum() / n]


@wrong("generator_losses", "the non-saturating loss comes first")
def losses_swapped(fake):
    return generator_losses(fake)[::-1]


@wrong("generator_losses", "has the discriminator's sign")
def minimax_with_ds_sign(fake):
    return F.softplus(fake).mean(), F.softplus(-fake).mean()


@wrong("generator_losses", "your minimax loss is log D")
def minimax_as_log_d(fake):
    return F.logsigmoid(fake).mean(), -F.logsigmoid(fake).mean()


@wrong("generator_losses", "your minimax loss is a sum")
def both_sums(fake):
    return -F.softplus(fake).sum(), F.softplus(-fake).sum()


@wrong("generator_losses", "your minimax loss is one number a fake")
def both_for_each(fake):
    return -F.softplus(fake), F.softplus(-fake)


@wrong("generator_losses", "the logarithm in your minimax loss is missing")
def minimax_without_log(fake):
    return (1 - fake.sigmoid()).mean(), F.softplus(-fake).mean()


@wrong("generator_losses", "some lecture notes have the generator maximise -log D")
def as_in_the_lecture_notes(fake):
    return F.logsigmoid(-fake).mean(), F.logsigmoid(fake).mean()


@wrong("generator_losses", "your second loss wants the fakes called fake")
def fakes_called_fake(fake):
    bce = F.binary_cross_entropy_with_logits
    return -F.softplus(fake).mean(), bce(fake, torch.zeros_like(fake))


@wrong("generator_losses", "both losses are the minimax loss")
def minimax_twice(fake):
    loss = F.logsigmoid(-fake).mean()
    return loss, loss


@wrong("generator_losses", "your second loss is a sum")
def second_summed(fake):
    return -F.softplus(fake).mean(), F.softplus(-fake).sum()


@wrong("generator_losses", "your second loss is 1 - D")
def second_without_log(fake):
    return -F.softplus(fake).mean(), (1 - fake.sigmoid()).mean()


@wrong("generator_losses", "cuts your second loss at 100")
def second_by_clamped_bce(fake):
    d = fake.sigmoid()
    return -F.softplus(fake).mean(), F.binary_cross_entropy(d, torch.ones_like(d))


@wrong("generator_losses", "the minimax loss is infinite or NaN")
def log_of_one_minus_sigmoid(fake):
    return (1 - fake.sigmoid()).log().mean(), -fake.sigmoid().log().mean()


@wrong("generator_losses", "the non-saturating loss is infinite or NaN")
def second_log_of_sigmoid(fake):
    return -F.softplus(fake).mean(), -fake.sigmoid().log().mean()


@wrong("generator_losses", "no gradient reaches `fake`")
def losses_detached(fake):
    return generator_losses(fake.detach())


@wrong("generator_losses", "is something on its way detached")
def second_of_detached(fake):
    return generator_losses(fake)[0], generator_losses(fake.detach())[1] + 0 * fake.sum()


# ---------------------------------------------------------------- 6. slopes


@right("slopes")
def slopes(fake):
    return -fake.sigmoid(), fake.sigmoid() - 1


@right("slopes")
def slopes_by_autograd(fake):
    fake = fake.clone().requires_grad_()
    losses = -F.softplus(fake), F.softplus(-fake)
    return tuple(torch.autograd.grad(loss.sum(), fake)[0] for loss in losses)


@right("slopes")
def slopes_by_exponentials(fake):
    return -1 / (1 + (-fake).exp()), -1 / (1 + fake.exp())


@wrong("slopes", "the slope of the minimax loss has the wrong sign")
def minimax_uphill(fake):
    return fake.sigmoid(), -(-fake).sigmoid()


@wrong("slopes", "the slope of the non-saturating loss comes first")
def slopes_swapped(fake):
    return slopes(fake)[::-1]


@wrong("slopes", "with respect to D, - 1 / (1 - D)")
def minimax_by_d(fake):
    d = fake.sigmoid()
    return -1 / (1 - d), -1 / d


@wrong("slopes", "for the minimax loss this is the slope of 1 - D")
def minimax_of_the_sigmoid(fake):
    d = fake.sigmoid()
    return -d * (1 - d), d - 1


@wrong("slopes", "divided by the number of fakes")
def slopes_of_the_means(fake):
    fake = fake.clone().requires_grad_()
    losses = -F.softplus(fake).mean(), F.softplus(-fake).mean()
    return tuple(torch.autograd.grad(loss, fake)[0] for loss in losses)


@wrong("slopes", "this is the minimax loss itself")
def losses_not_slopes(fake):
    return -F.softplus(fake), F.softplus(-fake)


@wrong("slopes", "the slope of the non-saturating loss has the wrong sign")
def non_saturating_uphill(fake):
    return -fake.sigmoid(), 1 - fake.sigmoid()


@wrong("slopes", "with respect to D, - 1 / D")
def non_saturating_by_d(fake):
    return -fake.sigmoid(), -1 / fake.sigmoid()


@wrong("slopes", "for the non-saturating loss this is the slope of 1 - D")
def non_saturating_of_the_sigmoid(fake):
    d = fake.sigmoid()
    return -d, -d * (1 - d)


@wrong("slopes", "your two slopes are the same")
def same_slope_twice(fake):
    return -fake.sigmoid(), -fake.sigmoid()


@wrong("slopes", "this is the non-saturating loss itself")
def second_loss_not_its_slope(fake):
    return -fake.sigmoid(), F.softplus(-fake)


@wrong("slopes", "the slope of the minimax loss is infinite or NaN")
def exponential_over_exponential(fake):
    return -fake.exp() / (1 + fake.exp()), -1 / (1 + fake.exp())


@wrong("slopes", "the slope of the non-saturating loss is infinite or NaN")
def autograd_through_log_sigmoid(fake):
    leaf = fake.clone().requires_grad_()
    (slope,) = torch.autograd.grad(-leaf.sigmoid().log().sum(), leaf)
    return -fake.sigmoid(), slope


@wrong("slopes", "you leave marks on the caller's logits")
def marks_the_logits(fake):
    fake.requires_grad_()
    F.softplus(-fake).sum().backward()
    return -fake.detach().sigmoid(), fake.grad


# ---------------------------------------------------------------- 7. discriminator_step


@right("discriminator_step")
def discriminator_step(discriminator, generator, optimizer, x, z):
    fake = generator(z).detach()
    loss = F.softplus(-discriminator(x)).mean() + F.softplus(discriminator(fake)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@right("discriminator_step")
def discriminator_step_without_a_graph(discriminator, generator, optimizer, x, z):
    with torch.no_grad():
        fake = generator(z)
    optimizer.zero_grad()
    loss = discriminator_loss(discriminator(x), discriminator(fake))
    loss.backward()
    optimizer.step()
    return loss.detach()


@right("discriminator_step")
def discriminator_step_in_one_pass(discriminator, generator, optimizer, x, z):
    logits = discriminator(torch.cat([x, generator(z).data]))
    loss = discriminator_loss(logits[: len(x)], logits[len(x) :])
    discriminator.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.clone()


@right("discriminator_step")
def discriminator_step_in_two_halves(discriminator, generator, optimizer, x, z):
    optimizer.zero_grad()
    real = F.softplus(-discriminator(x)).mean()
    real.backward()
    fake = F.softplus(discriminator(generator(z).detach())).mean()
    fake.backward()
    optimizer.step()
    return real + fake


@right("discriminator_step")
def discriminator_step_by_grad(discriminator, generator, optimizer, x, z):
    """Nothing is detached: only D's own gradients are asked for."""
    loss = discriminator_loss(discriminator(x), discriminator(generator(z)))
    parameters = list(discriminator.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimizer.step()
    return loss


def d_step(loss_of, detach=True, clear=True):
    """A step of the discriminator on another loss, of its two networks and the data."""

    def step(discriminator, generator, optimizer, x, z):
        fake = generator(z)
        loss = loss_of(discriminator, x, fake.detach() if detach else fake)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def on(loss):
    return lambda discriminator, x, fake: loss(discriminator(x), discriminator(fake))


@wrong("discriminator_step", "sends a gradient into the generator")
def not_detached(*arguments):
    return d_step(on(discriminator_loss), detach=False)(*arguments)


@wrong("discriminator_step", "you clear the generator's gradients")
def cleans_up_afterwards(discriminator, generator, optimizer, x, z):
    loss = d_step(on(discriminator_loss), detach=False)(discriminator, generator, optimizer, x, z)
    generator.zero_grad()
    return loss


@wrong("discriminator_step", "the discriminator does not move")
def cleared_too_late(discriminator, generator, optimizer, x, z):
    loss = discriminator_loss(discriminator(x), discriminator(generator(z).detach()))
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss


@wrong("discriminator_step", "of the last generator step are still in D's parameters")
def never_cleared(*arguments):
    return d_step(on(discriminator_loss), clear=False)(*arguments)


@wrong("discriminator_step", "you detach what D says of them")
def logits_detached(discriminator, generator, optimizer, x, z):
    loss = discriminator_loss(discriminator(x), discriminator(generator(z)).detach())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@wrong("discriminator_step", "only the real half of the loss is there")
def step_on_the_real_half(*arguments):
    return d_step(on(real_only))(*arguments)


@wrong("discriminator_step", "only the fake half of the loss is there")
def step_on_the_fake_half(*arguments):
    return d_step(on(fake_only))(*arguments)


@wrong("discriminator_step", "call the fakes real and the data fake")
def step_with_arguments_swapped(discriminator, generator, optimizer, x, z):
    fake = generator(z).detach()
    loss = discriminator_loss(discriminator(fake), discriminator(x))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@wrong("discriminator_step", "you train D on the generator's wish")
def step_on_the_generators_loss(*arguments):
    return d_step(lambda d, x, fake: generator_losses(d(fake))[1])(*arguments)


@wrong("discriminator_step", "you go uphill")
def step_on_the_value(*arguments):
    return d_step(on(value_of_the_game))(*arguments)


@wrong("discriminator_step", "you show D the noise itself")
def noise_for_fakes(discriminator, generator, optimizer, x, z):
    return d_step(on(discriminator_loss))(discriminator, lambda z: z, optimizer, x, z)


@wrong("discriminator_step", "you return the loss after it")
def late_loss(discriminator, generator, optimizer, x, z):
    discriminator_step(discriminator, generator, optimizer, x, z)
    return discriminator_loss(discriminator(x), discriminator(generator(z)))


@wrong("discriminator_step", "the generator moves too")
def moves_both(discriminator, generator, optimizer, x, z):
    together = torch.optim.SGD([*discriminator.parameters(), *generator.parameters()], lr=0.1)
    return d_step(on(discriminator_loss), detach=False)(discriminator, generator, together, x, z)


@wrong("discriminator_step", "off the gradients of the generator and leave them off")
def generator_frozen(discriminator, generator, optimizer, x, z):
    generator.requires_grad_(False)
    return d_step(on(discriminator_loss), detach=False)(discriminator, generator, optimizer, x, z)


@wrong("discriminator_step", "you draw noise of your own")
def own_noise(discriminator, generator, optimizer, x, z):
    z = torch.randn(len(x), x.shape[1])
    return discriminator_step(discriminator, generator, optimizer, x, z)


@wrong("discriminator_step", "the generator is never asked")
def fakes_from_nowhere(discriminator, generator, optimizer, x, z):
    def scattered(z):
        return torch.rand_like(x)

    return discriminator_step(discriminator, scattered, optimizer, x, z)


@wrong("discriminator_step", "D never sees the real x")
def fakes_twice(discriminator, generator, optimizer, x, z):
    return discriminator_step(discriminator, generator, optimizer, generator(z).detach(), z)


# ---------------------------------------------------------------- 8. generator_step


@right("generator_step")
def generator_step(discriminator, generator, optimizer, z):
    loss = F.softplus(-discriminator(generator(z))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@right("generator_step")
def generator_step_with_d_frozen(discriminator, generator, optimizer, z):
    discriminator.requires_grad_(False)
    loss = generator_losses(discriminator(generator(z)))[1]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    discriminator.requires_grad_(True)
    return loss.detach()


@right("generator_step")
def generator_step_that_clears_both(discriminator, generator, optimizer, z):
    generator.zero_grad()
    logits = discriminator(generator(z))
    loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    loss.backward()
    optimizer.step()
    discriminator.zero_grad()
    return loss


@right("generator_step")
def generator_step_by_grad(discriminator, generator, optimizer, z):
    loss = -F.logsigmoid(discriminator(generator(z))).mean()
    parameters = list(generator.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimizer.step()
    return loss


def g_step(loss_of):
    def step(discriminator, generator, optimizer, z):
        loss = loss_of(discriminator(generator(z)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


@wrong("generator_step", "the generator does not move")
def no_step(discriminator, generator, optimizer, z):
    loss = F.softplus(-discriminator(generator(z))).mean()
    optimizer.zero_grad()
    loss.backward()
    return loss


@wrong("generator_step", "old gradients are still in the generator's parameters")
def g_never_cleared(discriminator, generator, optimizer, z):
    loss = F.softplus(-discriminator(generator(z))).mean()
    loss.backward()
    optimizer.step()
    return loss


@wrong("generator_step", "this is the minimax loss")
def step_on_minimax(*arguments):
    return g_step(lambda fake: -F.softplus(fake).mean())(*arguments)


@wrong("generator_step", "your generator wants its fakes called fake")
def step_for_the_opponent(*arguments):
    return g_step(lambda fake: F.softplus(fake).mean())(*arguments)


@wrong("generator_step", "your generator maximises -log D")
def step_of_the_lecture_notes(*arguments):
    return g_step(lambda fake: F.logsigmoid(fake).mean())(*arguments)


@wrong("generator_step", "you step on the sum over the fakes")
def step_on_a_sum(*arguments):
    return g_step(lambda fake: F.softplus(-fake).sum())(*arguments)


@wrong("generator_step", "the generator is not part of your loss")
def noise_to_d(discriminator, generator, optimizer, z):
    return g_step(lambda fake: F.softplus(-fake).mean())(discriminator, lambda z: z, optimizer, z)


@wrong("generator_step", "you return the loss after it")
def g_late_loss(discriminator, generator, optimizer, z):
    generator_step(discriminator, generator, optimizer, z)
    return F.softplus(-discriminator(generator(z))).mean()


@wrong("generator_step", "your fakes are detached")
def g_detached(discriminator, generator, optimizer, z):
    loss = F.softplus(-discriminator(generator(z).detach())).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@wrong("generator_step", "the discriminator moves too")
def improves_d_as_well(discriminator, generator, optimizer, z):
    loss = generator_step(discriminator, generator, optimizer, z)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter -= 0.1 * parameter.grad
    return loss


@wrong("generator_step", "off the gradients of the discriminator and leave them off")
def d_frozen_for_ever(discriminator, generator, optimizer, z):
    discriminator.requires_grad_(False)
    return generator_step(discriminator, generator, optimizer, z)


@wrong("generator_step", "you draw noise of your own")
def g_own_noise(discriminator, generator, optimizer, z):
    return generator_step(discriminator, generator, optimizer, torch.randn(z.shape))


# ---------------------------------------------------------------- 9. hits


@right("hits")
def hits(x, centers, radius):
    distance, nearest = torch.cdist(x, centers).min(dim=1)
    return nearest[distance <= radius].bincount(minlength=len(centers))


@right("hits")
def hits_by_one_hot(x, centers, radius):
    squares = (x[:, None] - centers).square().sum(dim=2)
    belongs = F.one_hot(squares.argmin(dim=1), len(centers)).bool()
    return (belongs & (squares <= radius**2)).sum(dim=0).float()


@right("hits")
def hits_by_loops(x, centers, radius):
    counts = [0] * len(centers)
    for point in x:
        distances = [math.dist(point, center) for center in centers]
        if min(distances) <= radius:
            counts[distances.index(min(distances))] += 1
    return torch.tensor(counts)


@wrong("hits", "counted for both")
def every_disc(x, centers, radius):
    return (torch.cdist(x, centers) <= radius).sum(dim=0)


@wrong("hits", "points far from every mode are counted too")
def without_radius(x, centers, radius):
    return torch.cdist(x, centers).argmin(dim=1).bincount(minlength=len(centers))


@wrong("hits", "you compare the squared distance with the radius")
def squared_distance(x, centers, radius):
    squares, nearest = (x[:, None] - centers).square().sum(dim=2).min(dim=1)
    return nearest[squares <= radius].bincount(minlength=len(centers))


@wrong("hits", "you add up the absolute differences")
def city_blocks(x, centers, radius):
    distance, nearest = torch.cdist(x, centers, p=1).min(dim=1)
    return nearest[distance <= radius].bincount(minlength=len(centers))


@wrong("hits", "you ask each coordinate by itself")
def squares_not_discs(x, centers, radius):
    nearest = torch.cdist(x, centers).argmin(dim=1)
    inside = ((x - centers[nearest]).abs() <= radius).all(dim=1)
    return nearest[inside].bincount(minlength=len(centers))


@wrong("hits", "you say which modes are hit")
def which_modes(x, centers, radius):
    return torch.cdist(x, centers).min(dim=0).values <= radius


@wrong("hits", "you return the number of modes that are hit")
def number_of_modes(x, centers, radius):
    return (hits(x, centers, radius) > 0).sum()


@wrong("hits", "these are shares of all points")
def shares(x, centers, radius):
    return hits(x, centers, radius) / len(x)


@wrong("hits", "counted for mode 0")
def strays_in_mode_zero(x, centers, radius):
    distance, nearest = torch.cdist(x, centers).min(dim=1)
    return (nearest * (distance <= radius)).bincount(minlength=len(centers))


@wrong("hits", "the last mode is missing from your counts")
def no_minlength(x, centers, radius):
    distance, nearest = torch.cdist(x, centers).min(dim=1)
    return nearest[distance <= radius].bincount()


@wrong("hits", "you return a mode for each point")
def modes_of_points(x, centers, radius):
    return torch.cdist(x, centers).argmin(dim=1)


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
    bank = bank


def test_the_slip_of_the_lecture_notes_is_told_by_name():
    """The generator minimises -log D(G(z)), and wants its fakes called real."""
    in_the_loss = bank.verdict("generator_losses", as_in_the_lecture_notes)
    in_the_step = bank.verdict("generator_step", step_of_the_lecture_notes)
    assert "lecture notes" in in_the_loss and "It minimises -log D" in in_the_loss
    assert "lecture notes" in in_the_step and "it minimises -log D" in in_the_step
    assert "wants them called real" in bank.verdict("generator_losses", fakes_called_fake)
    assert "wants them called real" in bank.verdict("generator_step", step_for_the_opponent)


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0, 6.0])
def test_the_value_at_the_best_discriminator_is_twice_the_jsd_less_log_4(distance):
    x = torch.linspace(-12, 12 + distance, 4001, dtype=torch.double)
    dx = torch.full_like(x, (24 + distance) / 4000)
    log_p, log_q = log_normal(x), log_normal(x - distance)
    logit = best_logit(log_p, log_q)
    loss = ((log_p.exp() * F.softplus(-logit) + log_q.exp() * F.softplus(logit)) * dx).sum()
    expected = 2 * jsd(log_p, log_q, dx) - math.log(4)
    assert abs(-loss.item() - expected.item()) < 1e-9


def test_no_other_logit_beats_the_best_one():
    x = torch.linspace(-10, 10, 2001, dtype=torch.double)
    p, q = log_normal(x).exp(), log_normal((x - 1) / 0.5).exp() / 0.5
    best = best_logit(p.log(), q.log())

    def loss(logit):
        return (p * F.softplus(-logit) + q * F.softplus(logit)).sum()

    for change in (0.1, -0.1, 0.1 * x, x.sin()):
        assert loss(best + change) > loss(best)


def test_slopes_are_those_of_the_losses():
    fake = torch.randn(7, dtype=torch.double, requires_grad=True)
    for loss, slope in zip(generator_losses(fake), slopes(fake), strict=True):
        (gradient,) = torch.autograd.grad(loss * len(fake), fake)
        assert torch.allclose(gradient, slope)


@pytest.mark.parametrize("a, b", [(2.0, 1.0), (-0.5, 3.0)])
def test_a_linear_generator_makes_a_gaussian(a, b):
    z = torch.randn(9, dtype=torch.double)
    x, log_p = pushforward(lambda z: a * z + b, z)
    assert torch.allclose(log_p, torch.distributions.Normal(b, abs(a)).log_prob(x).double())


def test_steps_accept_other_ways_to_lay_out_a_call():
    """Extra passes through D, and a loss with more in it that changes nothing, are no mistake."""

    def looks_first(discriminator, generator, optimizer, x, z):
        with torch.no_grad():
            discriminator(x).mean(), discriminator(generator(z)).mean()
        return discriminator_step(discriminator, generator, optimizer, x, z)

    assert bank.verdict("discriminator_step", looks_first) is None


def test_a_detached_d_with_a_copy_is_accepted():
    """D copied, so that its own gradients stay as they were: dear, but right."""

    def through_a_copy(discriminator, generator, optimizer, z):
        loss = F.softplus(-copy.deepcopy(discriminator)(generator(z))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    assert bank.verdict("generator_step", through_a_copy) is None


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "softplus"), (torch, "cdist")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert "returns a bool" in bank.verdict(
        "discriminator_loss", lambda real, fake: F.softplus(real)
    )
    assert "this is D* itself" in bank.verdict("best_logit", best_d)
    assert "wrong sign" in bank.verdict("slopes", minimax_uphill)
