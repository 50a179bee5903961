"""What no table of this lesson's checks knows: right answers in other styles, and wrong ones with their words."""

import math

import torch
import torch.nn.functional as F
from torch import distributions as D

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("diffusion")
(
    noisy, posterior, ideal_denoiser, convert, denoising_loss, elbo_term, ddim_step, guided, noisy_mixture,
    flow_log_prob,
) = (bank.solutions[step] for step in bank.steps)  # fmt: skip
each = bank.solutions["each"]


class TestSteps(StepsOfALesson):
    bank = bank


# ---------------------------------------------------------------- right answers


def posterior_by_bayes(x_t, x, alpha_t, sigma_t, alpha_s, sigma_s):
    """What x says, corrected by what x_t says beyond it, as in a Kalman filter."""
    ratio = alpha_t / alpha_s
    gain = ratio * sigma_s**2 / sigma_t**2
    surprise = x_t - each(ratio * alpha_s, x) * x
    return each(alpha_s, x) * x + each(gain, x) * surprise, ((1 - gain * ratio) * sigma_s**2).sqrt()


def posterior_by_log_snr(x_t, x, alpha_t, sigma_t, alpha_s, sigma_s):
    new = -torch.expm1(2 * (alpha_t / sigma_t).log() - 2 * (alpha_s / sigma_s).log())
    ratio = alpha_t / alpha_s * (sigma_s / sigma_t) ** 2
    return each(ratio, x) * x_t + each(alpha_s * new, x) * x, new.sqrt() * sigma_s


def exponents(x_t, alpha, sigma, data):
    return -(x_t[:, None] - alpha[:, None, None] * data).square().sum(2) / (2 * sigma[:, None] ** 2)


def ideal_by_the_largest(*given):
    exponent = exponents(*given)
    weight = (exponent - exponent.amax(1, keepdim=True)).exp()
    return (weight @ given[3]) / weight.sum(1, keepdim=True)


def ideal_by_products(x_t, alpha, sigma, data):
    square = alpha[:, None] ** 2 * data.square().sum(1) - 2 * alpha[:, None] * (x_t @ data.T)
    return (-square / (2 * sigma[:, None] ** 2)).softmax(1) @ data


def ideal_by_distances(x_t, alpha, sigma, data):
    apart = torch.cdist(x_t[:, None], alpha[:, None, None] * data)[:, 0]
    return torch.softmax(-((apart / sigma[:, None]) ** 2) / 2, 1) @ data


def convert_by_v(kind, said, x_t, alpha, sigma):
    a, s = each(alpha, x_t), each(sigma, x_t)
    v = said if kind == "v" else (a * x_t - said) / s if kind == "x" else (said - s * x_t) / a
    return (
        said if kind == "x" else a * x_t - s * v,
        said if kind == "eps" else s * x_t + a * v,
        v,
    )


def loss_by_torch(denoiser, x, eps, alpha, sigma, weight):
    x_hat = denoiser(noisy(x, eps, alpha, sigma), alpha, sigma)
    return (each(weight, x) * F.mse_loss(x_hat, x, reduction="none")).mean()


def term_by_distributions(x, x_hat, *levels):
    (mean, std), (mean_hat, _) = posterior(x, x, *levels), posterior(x, x_hat, *levels)
    std = each(std, x).expand_as(x)
    return D.kl_divergence(D.Normal(mean, std), D.Normal(mean_hat, std)).flatten(1).sum(1)


def mixture_by_distributions(x_t, alpha, sigma, means, stds, weights):
    """The score by autograd, and differentiable itself where x_t is."""
    x = x_t if x_t.requires_grad else x_t.detach().clone().requires_grad_()
    std = ((alpha[:, None] * stds) ** 2 + sigma[:, None] ** 2).sqrt()[..., None]
    parts = D.Independent(D.Normal(alpha[:, None, None] * means, std), 1)
    log_p = D.MixtureSameFamily(D.Categorical(weights.expand(len(x), -1)), parts).log_prob(x)
    return log_p, torch.autograd.grad(log_p.sum(), x, create_graph=True)[0]


def mixture_by_the_mean(x_t, alpha, sigma, means, stds, weights):
    v = (alpha[:, None] * stds) ** 2 + sigma[:, None] ** 2
    square = (x_t[:, None] - alpha[:, None, None] * means).square().sum(2)
    joint = weights.log() - square / (2 * v) - x_t.shape[1] / 2 * (2 * math.pi * v).log()
    pull = joint.softmax(1) / v
    return joint.logsumexp(1), alpha[:, None] * (pull @ means) - pull.sum(1, keepdim=True) * x_t


def flow_with_a_graph(velocity, x, times):
    y, integral = x.clone().requires_grad_(), 0
    for t, s in zip(times[:-1], times[1:], strict=True):
        v = velocity(y, t)
        slope = torch.autograd.grad(v.sum(), y, create_graph=True)[0]
        y, integral = y + (s - t) * v, integral + (s - t) * slope
    return integral - y**2 / 2 - 0.5 * math.log(2 * math.pi)


bank.right(
    "noisy",
    lambda x, eps, a, s: (a * x.movedim(0, -1) + s * eps.movedim(0, -1)).movedim(-1, 0),
    lambda x, eps, a, s: torch.einsum("b,b...->b...", a, x) + torch.einsum("b,b...->b...", s, eps),
)
bank.right("posterior", posterior_by_bayes, posterior_by_log_snr)
bank.right("ideal_denoiser", ideal_by_the_largest, ideal_by_products, ideal_by_distances)
bank.right("convert", convert_by_v)
bank.right("denoising_loss", loss_by_torch)
bank.right("elbo_term", term_by_distributions)
bank.right(
    "ddim_step",
    lambda x_t, x, a_t, s_t, a_s, s_s: each(s_s / s_t, x) * x_t + each(a_s - a_t * s_s / s_t, x) * x,
    lambda x_t, x, a_t, s_t, a_s, s_s: noisy(x, convert("x", x, x_t, a_t, s_t)[1], a_s, s_s),
)  # fmt: skip
bank.right(
    "guided",
    lambda told, untold, w, *at: w * told(*at) + (1 - w) * untold(*at),
    lambda told, untold, w, *at: torch.lerp(untold(*at), told(*at), w),
)
bank.right("noisy_mixture", mixture_by_distributions, mixture_by_the_mean)
bank.right("flow_log_prob", flow_with_a_graph)


# ---------------------------------------------------------------- wrong answers


def mixture_by_autograd_alone(x_t, *rest):
    x = x_t.detach().clone().requires_grad_()
    score = torch.autograd.grad(noisy_mixture(x, *rest)[0].sum(), x)[0]
    return noisy_mixture(x_t, *rest)[0], score


def mixture_out_of_log_space(x_t, alpha, sigma, means, stds, weights):
    log_p, score = noisy_mixture(x_t, alpha, sigma, means, stds, weights)
    return log_p.exp().log(), score


def marks_x(velocity, x, times):
    return flow_log_prob(velocity, x.requires_grad_(), times).detach()


bank.wrong("noisy", {
    "draws random numbers of its own": lambda x, eps, a, s: noisy(x, torch.randn_like(x), a, s),
    "no gradient reaches `x`": lambda x, eps, a, s: noisy(x.detach(), eps, a, s),
    "stops for 4 images": lambda x, eps, a, s: a[:, None] * x + s[:, None] * eps,
    "right for 4 images .* series of three axes":
        lambda x, eps, a, s: noisy(x, eps, a, s) * (1 + (x.ndim == 3)),
    "half precision": lambda x, eps, a, s: noisy(x, eps, a, s).half(),
    "factor of `x` is .*, and the factor of `eps` is": lambda x, eps, a, s: noisy(eps, -x, a, s),
    "is not one number an example": lambda x, eps, a, s: noisy(x.clamp(-1, 1), eps, a, s),
})  # fmt: skip
bank.wrong("posterior", {
    "sigma_s = 0.* NaN": lambda *given: (posterior(*given)[0] + each(0 / given[5], given[0]), posterior(*given)[1]),
    "an axis of length 1": lambda *given: (posterior(*given)[0], each(posterior(*given)[1], given[0])),
    "another order": lambda *given: posterior(*given)[::-1],
    "factor of `x` is .* other is right": lambda y, x, *at: (posterior(y, 2 * x, *at)[0], posterior(y, x, *at)[1]),
    "very little noise .* small number": lambda x_t, x, a_t, s_t, a_s, s_s:
        posterior(x_t, x, a_t, (s_t**2 + 1e-8).sqrt(), a_s, s_s),
})  # fmt: skip
bank.wrong("ideal_denoiser", {
    "small number .* or a clamp": lambda *given: (lambda e: (e @ given[3]) / e.sum(1, keepdim=True))(
        exponents(*given).clamp(min=-80).exp()),
    "alpha = 0 .* NaN": lambda x_t, a, s, data: ideal_denoiser(x_t / a[:, None], a**0, s / a, data),
    "draws random numbers": lambda *given: given[3][exponents(*given).softmax(1).multinomial(1)[:, 0]],
})  # fmt: skip
bank.wrong("convert", {
    "another order": lambda *given: (convert(*given)[1], convert(*given)[0], convert(*given)[2]),
    "returns 2: return 3": lambda *given: convert(*given)[:2],
    "sigma is tiny .* small number": lambda kind, said, x_t, a, s:
        convert(kind, said, x_t, a, s + 1e-8 if kind == "x" else s),
    "alpha is tiny .* small number": lambda kind, said, x_t, a, s:
        convert(kind, said, x_t, a.clamp(min=1e-3) if kind == "eps" else a, s),
})  # fmt: skip
bank.wrong("denoising_loss", {
    "no gradient reaches the denoiser": torch.no_grad()(denoising_loss),
    "gradient that reaches the denoiser is not": lambda f, x, *rest:
        denoising_loss(f, x, *rest) / 2 + denoising_loss(f, x, *rest).detach() / 2,
    "level of shape": lambda f, *rest:
        denoising_loss(lambda x_t, a, s: f(x_t, each(a, x_t), each(s, x_t)), *rest),
    "half the right one": lambda *given: denoising_loss(*given) / 2,
    "minus": lambda *given: -denoising_loss(*given),
})  # fmt: skip
bank.wrong("elbo_term", {
    "no gradient reaches `x_hat`": torch.no_grad()(elbo_term),
    "square is right, but its weight is not": lambda x, x_hat, a_t, *rest: elbo_term(x, x_hat, a_t / 2, *rest),
    "the weight is right": lambda x, x_hat, *at: elbo_term(x, x_hat, *at) * (x - x_hat).flatten(1).norm(dim=1),
    "bits where nats": lambda *given: elbo_term(*given) / math.log(2),
    "little noise .* small number": lambda x, x_hat, a_t, s_t, a_s, s_s:
        (a_s**2 / (s_s**2 + 1e-8) - a_t**2 / (s_t**2 + 1e-8)) / 2 * (x - x_hat).square().flatten(1).sum(1),
})  # fmt: skip
bank.wrong("ddim_step", {
    "draws random numbers": lambda x_t, x, *at:
        posterior(x_t, x, *at)[0] + each(posterior(x_t, x, *at)[1], x) * torch.randn_like(x),
    "far away .* small number": lambda x_t, x, a_t, s_t, *rest: ddim_step(x_t, x, a_t, s_t + 1e-7, *rest),
})  # fmt: skip
bank.wrong("guided", {
    "changes its argument `x_t`": lambda told, untold, w, *at: untold(*at).add_(w * (told(*at) - untold(*at))),
    "right for 3 images .* w = 0": lambda told, untold, w, *at: guided(told, untold, w or 1.0, *at),
    "level of shape": lambda told, untold, w, x_t, a, s: guided(told, untold, w, x_t, each(a, x_t), each(s, x_t)),
})  # fmt: skip
bank.wrong("noisy_mixture", {
    "the gradient of `x_t` is not right": mixture_by_autograd_alone,
    "no gradient reaches `x_t`": torch.no_grad()(noisy_mixture),
    "far from all of them .* is infinite": mixture_out_of_log_space,
    "the score: the sign": lambda *given: (noisy_mixture(*given)[0], -noisy_mixture(*given)[1]),
})  # fmt: skip
bank.wrong("flow_log_prob", {
    "leaves marks on its argument": marks_x,
    "far away .* is infinite": lambda *given: flow_log_prob(*given).exp().log(),
    "log.2 pi./2 too small": lambda *given: flow_log_prob(*given) - math.log(2 * math.pi) / 2,
    "you sum over everything": lambda *given: flow_log_prob(*given).sum(),
})  # fmt: skip
