import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from course.checking.suite import Bank, StepsOfALesson
from genlib.markov import RBM

bank = Bank("markov_chains")
gibbs_matrix, free_energy, p_on, gibbs_step = (
    bank.solutions[name] for name in ("gibbs_matrix", "free_energy", "p_on", "gibbs_step")
)
(
    effective_size,
    cd_gradient,
    log_partition,
    persistent,
    ais_log_weights,
    ais_log_z,
    walkback_loss,
) = (
    bank.solutions[name]
    for name in (
        "effective_size",
        "cd_gradient",
        "log_partition",
        "persistent",
        "ais_log_weights",
        "ais_log_z",
        "walkback_loss",
    )  # fmt: skip
)
bce = F.binary_cross_entropy_with_logits


# ---------------------------------------------------------------- 1. gibbs_matrix


def by_einsum(joint):
    p_x, p_h = joint.sum(1), joint.sum(0)
    return torch.einsum("ih,jh->ij", joint, joint / p_h) / p_x[:, None]


def by_loops(joint):
    n, m = joint.shape
    matrix = torch.zeros(n, n)
    for i, j, h in itertools.product(range(n), range(n), range(m)):
        matrix[i, j] += joint[i, h] / joint[i].sum() * joint[j, h] / joint[:, h].sum()
    return matrix


bank.right("gibbs_matrix", by_einsum, by_loops)
bank.wrong(
    "gibbs_matrix",
    {
        "needs torch.float": lambda joint: gibbs_matrix(joint.double()).to(
            torch.float32 if joint.dtype == torch.float64 else torch.float64
        ),
        "an x that hardly ever comes .* a small number": lambda joint: (
            joint / (joint.sum(1, keepdim=True) + 1e-8) @ (joint / joint.sum(0)).T
        ),
    },
)


# ---------------------------------------------------------------- 2. free_energy


def by_summing_over_h(x, weight, b, c):
    h = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(c)))).to(weight)
    energy = -(x @ b)[:, None] - h @ c - x @ weight @ h.T  # (B, 2^J)
    return -(-energy).logsumexp(dim=1)


def image_by_image(x, weight, b, c):
    free = []
    for image in x:
        on = torch.logaddexp(torch.zeros_like(c), c + weight.T @ image)
        free.append(-(b @ image) - sum(on))
    return torch.stack(free)


bank.right("free_energy", by_summing_over_h, image_by_image)
bank.wrong(
    "free_energy",
    {
        "no gradient reaches": lambda *given: free_energy(*given).detach(),
        "but the gradient of|no gradient reaches `weight` and `c`": lambda x, weight, b, c: (
            -x @ b - F.softplus((c + x @ weight).detach()).sum(1)
        ),
        "sum over axis 1 too": lambda x, weight, b, c: (
            -F.softplus(c + x @ weight) - x * b if x.shape[1] == len(c) else 0 * x
        ),
    },
)


# ---------------------------------------------------------------- 3. p_on


def from_two_energies(state, weight, bias):
    """The softmax of off and on, unit by unit."""
    on = F.linear(state, weight.T, bias)
    return torch.stack([torch.zeros_like(on), on]).softmax(dim=0)[1]


bank.right(
    "p_on",
    from_two_energies,
    lambda state, weight, bias: (
        1 / (1 + (-(bias + torch.einsum("bi,ij->bj", state, weight))).exp())
    ),
)
bank.wrong(
    "p_on",
    {"draws random numbers of its own": lambda *given: torch.bernoulli(p_on(*given))},
)


# ---------------------------------------------------------------- 4. gibbs_step


def by_log_odds(x, weight, b, c, u_h, u_x):
    h = torch.where(torch.logit(u_h) < c + x @ weight, 1.0, 0.0).to(x)
    return torch.where(torch.logit(u_x) < b + h @ weight.T, 1.0, 0.0)


def by_heaviside(x, weight, b, c, u_h, u_x):
    zero = torch.zeros((), dtype=x.dtype)
    h = torch.heaviside(p_on(x, weight, c) - u_h, zero)
    return torch.heaviside(torch.sigmoid(F.linear(h, weight, b)) - u_x, zero)


def own_numbers(x, weight, b, c, u_h, u_x):
    h = torch.bernoulli(p_on(x, weight, c))
    return torch.bernoulli(p_on(h, weight.T, b))


bank.right("gibbs_step", by_log_odds, by_heaviside)
bank.wrong(
    "gibbs_step",
    {
        "draws random numbers of its own": own_numbers,
        "returns torch.bool": lambda *given: gibbs_step(*given) == 1,
    },
)


# ---------------------------------------------------------------- 5. effective_size


def by_convolution(f, lags):
    f = f - f.sum() / len(f)
    padded = F.pad(f, (0, lags))
    rho = F.conv1d(padded[None, None], f[None, None])[0, 0] / (f @ f)
    return rho, len(f) / (2 * rho.sum() - 1)


def by_fft(f, lags):
    f = (f - f.mean()).double()
    power = torch.fft.rfft(f, 2 * len(f)).abs().square()
    covariance = torch.fft.irfft(power)[: lags + 1]
    rho = covariance / covariance[0]
    return [rho, len(f) / (1 + 2 * sum(rho[1:]))]


def with_a_number(f, lags):
    rho, size = effective_size(f, lags)
    return rho, float(size)


bank.right("effective_size", by_convolution, by_fft, with_a_number)
bank.wrong("effective_size", {"another order": lambda f, lags: effective_size(f, lags)[::-1]})


# ---------------------------------------------------------------- 6. cd_gradient


def parts_of(x, weight, c):
    """The means of x h, x and h over a batch, h being probabilities."""
    h = p_on(x, weight, c)
    outer = torch.stack([torch.outer(a, p) for a, p in zip(x, h, strict=True)])
    return outer.mean(0), x.mean(0), h.mean(0)


def by_parts(x, ends, weight, b, c):
    both = zip(parts_of(ends, weight, c), parts_of(x, weight, c), strict=True)
    return [of_ends - of_data for of_ends, of_data in both]


def by_autograd(x, ends, weight, b, c):
    parameters = [p.detach().clone().requires_grad_() for p in (weight, b, c)]
    loss = free_energy(x, *parameters).mean() - free_energy(ends, *parameters).mean()
    return torch.autograd.grad(loss, parameters)


bank.right("cd_gradient", by_parts, by_autograd)


# ---------------------------------------------------------------- 7. log_partition


def state_by_state(weight, b, c):
    if len(c) > len(b):
        weight, b, c = weight.T, c, b
    log_z = torch.tensor(-math.inf).to(b)
    for h in itertools.product([0, 1], repeat=len(c)):
        h = torch.tensor(h).to(c)
        log_z = torch.logaddexp(log_z, h @ c + F.softplus(b + weight @ h).sum())
    return log_z


def of_bits(weight, b, c):
    if len(c) > len(b):
        return of_bits(weight.T, c, b)
    n = len(c)
    h = ((torch.arange(2**n).unsqueeze(1) >> torch.arange(n)) % 2).to(c)
    return (h @ c + F.softplus(b + h @ weight.T).sum(dim=1)).logsumexp(dim=0)


def always_images(weight, b, c):
    x = (torch.arange(2 ** len(b))[:, None] >> torch.arange(len(b)) & 1).to(b)
    return (-free_energy(x, weight, b, c)).logsumexp(0)


def image_by_image_in_a_loop(weight, b, c):
    log_z = torch.tensor(-math.inf).to(b)
    for x in itertools.product([0.0, 1.0], repeat=len(b)):
        log_z = torch.logaddexp(log_z, -free_energy(torch.tensor([x]).to(b), weight, b, c)[0])
    return log_z


bank.right("log_partition", state_by_state, of_bits, lambda *rbm: log_partition(*rbm).item())
bank.wrong(
    "log_partition",
    {
        "you go through all images": always_images,
        "you go through all hidden states": lambda weight, b, c: always_images(weight.T, c, b),
        "you go through all images, 2": image_by_image_in_a_loop,
        "large weights .* is infinite": lambda *rbm: log_partition(*rbm).exp().log(),
    },
)


# ---------------------------------------------------------------- 8. persistent


def by_index(x, chains, weight, b, c, rate, u_h, u_x):
    rbm, state = [weight.clone(), b.clone(), c.clone()], chains.clone()
    for t in range(len(u_h)):
        state = gibbs_step(state, *rbm, u_h[t], u_x[t])
        slopes = by_autograd(x, state, *rbm)
        for p, slope in zip(rbm, slopes, strict=True):
            p -= rate * slope
    return [state, *rbm]


def by_recursion(x, chains, weight, b, c, rate, u_h, u_x):
    if len(u_h) == 0:
        return chains, weight, b, c
    ends = gibbs_step(chains, weight, b, c, u_h[0], u_x[0])
    slopes = cd_gradient(x, ends, weight, b, c)
    rbm = (p.sub(slope, alpha=rate) for p, slope in zip((weight, b, c), slopes, strict=True))
    return by_recursion(x, ends, *rbm, rate, u_h[1:], u_x[1:])


def in_place_of_the_old(x, chains, weight, b, c, rate, u_h, u_x):
    for now_h, now_x in zip(u_h, u_x, strict=True):
        chains = gibbs_step(chains, weight, b, c, now_h, now_x)
        for p, slope in zip((weight, b, c), cd_gradient(x, chains, weight, b, c), strict=True):
            p -= rate * slope
    return chains, weight, b, c


def with_own_numbers(x, chains, weight, b, c, rate, u_h, u_x):
    u_h, u_x = torch.rand_like(u_h), torch.rand_like(u_x)
    return persistent(x, chains, weight, b, c, rate, u_h, u_x)


bank.right("persistent", by_index, by_recursion)
bank.wrong(
    "persistent",
    {
        "changes its argument": in_place_of_the_old,
        "draws random numbers of its own": with_own_numbers,
        "return 4 tensors": lambda *given: persistent(*given)[1:],
        "in each other's place|another order": lambda *given: (
            *persistent(*given)[1:],
            persistent(*given)[0],
        ),
    },
)


# ---------------------------------------------------------------- 9. ais_log_weights


def in_a_loop(states, betas, weight, b, c):
    log_w = 0
    for k, x in enumerate(states):
        for beta, sign in ((betas[k], 1), (betas[k + 1], -1)):
            log_w = log_w + sign * free_energy(x, beta * weight, beta * b, beta * c)
    return log_w


def at_once(states, betas, weight, b, c):
    def minus_f(beta):  # (K,) -> (K, n)
        beta = beta[:, None, None]
        return (beta * (states * b)).sum(2) + F.softplus(beta * (c + states @ weight)).sum(2)

    return (minus_f(betas[1:]) - minus_f(betas[:-1])).sum(dim=0)


bank.right("ais_log_weights", in_a_loop, at_once)
bank.wrong(
    "ais_log_weights",
    {"large weights .* is infinite|NaN": lambda *given: ais_log_weights(*given).exp().log()},
)


# ---------------------------------------------------------------- 10. ais_log_z


def by_the_largest(log_w, n_visible, n_hidden):
    largest = log_w.max()
    w = (log_w - largest).exp()
    variance = (w - w.mean()).square().sum() / (len(w) - 1) / len(w)
    log_z = largest + w.mean().log() + math.log(2**n_visible) + math.log(2**n_hidden)
    return log_z, variance.sqrt() / w.mean()


def one_by_one(log_w, n_visible, n_hidden):
    total = log_w[0].double()
    for one in log_w[1:]:
        total = torch.logaddexp(total, one.double())
    shares = (log_w - total).exp()  # they add up to one
    error = (((len(log_w) * shares - 1) ** 2).sum() / len(log_w) / (len(log_w) - 1)) ** 0.5
    return [total + math.log(2 ** (n_visible + n_hidden) / len(log_w)), error]


def around(centre):
    """A mean of weights that subtracts some other number than the largest."""

    def answer(log_w, n_visible, n_hidden):
        middle = centre(log_w)
        log_mean = middle + (log_w - middle).exp().mean().log()
        return log_mean + (n_visible + n_hidden) * math.log(2), ais_log_z(log_w, 1, 1)[1]

    return answer


def error_around(centre):
    def answer(log_w, n_visible, n_hidden):
        w = (log_w - centre(log_w)).exp()
        error = w.std() / w.mean() / len(w) ** 0.5
        return ais_log_z(log_w, n_visible, n_hidden)[0], error

    return answer


bank.right(
    "ais_log_z",
    by_the_largest,
    one_by_one,
    lambda *given: tuple(x.item() for x in ais_log_z(*given)),
    around(max),
    error_around(lambda log_w: log_w.logsumexp(0)),
)
bank.wrong(
    "ais_log_z",
    {
        "of all sizes .* is infinite": around(torch.mean),
        "of all sizes .*is infinite": around(min),
        "of all sizes .* contains NaN": error_around(torch.mean),
        "another order": lambda *given: ais_log_z(*given)[::-1],
        "return 2 tensors": lambda *given: ais_log_z(*given)[0],
    },
)


# ---------------------------------------------------------------- 11. walkback_loss


def by_softplus(network, x, noise, u):
    nats, state = [], x.clone()
    for t in range(len(u)):
        hit = (u[t, 0] < noise).to(x)
        logits = network(hit * (u[t, 1] < 0.5) + (1 - hit) * state)
        nats.append((F.softplus(logits) - x * logits).sum(dim=1))
        with torch.no_grad():
            state = (torch.logit(u[t, 2]) < logits).to(x)
    return torch.stack(nats).mean()


def first_the_walk(network, x, noise, u):
    """Then the loss of all its images at once."""
    with torch.no_grad():
        corrupted, state = [], x
        for now in u:
            corrupted.append(torch.where(now[0] < noise, now[1].lt(0.5).to(x), state))
            state = now[2].lt(network(corrupted[-1]).sigmoid()).to(x)
    logits = network(torch.cat(corrupted))
    of_x = -F.logsigmoid(torch.where(x.repeat(len(u), 1) == 1, logits, -logits))
    return of_x.sum(1).mean()


def detached(network, x, noise, u):
    """No gradient from the first step."""
    first, rest = walkback_loss(network, x, noise, u[:1]), walkback_loss(network, x, noise, u)
    return rest - (first - first.detach()) / len(u)


def trains(network, x, noise, u):
    loss = walkback_loss(network, x, noise, u)
    loss.backward()
    return loss


bank.right("walkback_loss", by_softplus, first_the_walk)
bank.wrong(
    "walkback_loss",
    {
        "draws random numbers of its own": lambda network, x, noise, u: walkback_loss(
            network, x, noise, torch.rand_like(u)
        ),
        "no gradient reaches the network": lambda *given: walkback_loss(*given).detach(),
        "no gradient reaches the network, ": lambda *given: walkback_loss(*given).item(),
        "the gradient that reaches the network is not": detached,
        "leave `backward\\(\\)` to the training loop": trains,
        "a network that is sure .* is infinite|infinite or NaN": lambda network, x, noise, u: (
            walkback_loss(network, x, noise, u).exp().log()
        ),
    },
)


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank


# ---------------------------------------------------------------- what the right answers are


def random_rbm(d=6, j=4):
    return torch.randn(d, j).double(), torch.randn(d).double(), torch.randn(j).double()


def test_a_gibbs_sweep_leaves_the_marginal_as_it_is():
    joint = torch.rand(5, 3).double() + 0.1
    joint /= joint.sum()
    p, matrix = joint.sum(1), gibbs_matrix(joint)
    assert torch.allclose(matrix.sum(1), torch.ones(5).double())
    assert torch.allclose(p @ matrix, p)
    balance = p[:, None] * matrix
    assert torch.allclose(balance, balance.T)


def test_the_functions_are_those_of_the_library():
    model = RBM((1, 2, 3), hidden_dim=4).double()
    rbm = random_rbm()
    model.weight.data, model.visible_bias.data, model.hidden_bias.data = rbm
    x = torch.bernoulli(torch.full((7, 1, 2, 3), 0.5)).double()
    flat = x.flatten(1)
    assert torch.allclose(free_energy(flat, *rbm), model.free_energy(x))
    assert torch.allclose(p_on(flat, rbm[0], rbm[2]), model.hidden(x))
    assert torch.allclose(log_partition(*rbm), model.log_partition())


def test_gibbs_steps_leave_the_rbm_as_it_is():
    """Summed over all states: a step with all uniform numbers is the matrix of the joint table."""
    weight, b, c = random_rbm(3, 2)
    x, h = (bank.solutions["all_states"](n).double() for n in (3, 2))
    joint = (x @ b)[:, None] + h @ c + x @ weight @ h.T
    matrix = gibbs_matrix((joint - joint.logsumexp((0, 1))).exp())
    n, start = 40_000, x[5].expand(40_000, -1)
    torch.manual_seed(0)
    ends = gibbs_step(start, weight, b, c, torch.rand(n, 2).double(), torch.rand(n, 3).double())
    counted = (ends @ torch.tensor([4.0, 2.0, 1.0]).double()).long().bincount(minlength=8) / n
    assert ((counted - matrix[5]).abs() < 4 * (matrix[5] * (1 - matrix[5]) / n).sqrt() + 1e-9).all()


@pytest.mark.parametrize("memory", [0.9, 0.5, -0.5])
def test_the_effective_size_of_an_autoregression_is_known(memory):
    torch.manual_seed(0)
    f, states = torch.zeros(()), []
    for shock in torch.randn(20_000):
        f = memory * f + shock
        states.append(f)
    rho, size = effective_size(torch.stack(states), 60)
    assert (rho - memory ** torch.arange(61)).abs().max() < 0.05
    assert abs(size.item() / (20_000 * (1 - memory) / (1 + memory)) - 1) < 0.2


def test_annealing_finds_the_partition_function():
    rbm, n = random_rbm(), 4000
    betas = torch.linspace(0, 1, 21).double()
    torch.manual_seed(0)
    states = [torch.bernoulli(torch.full((n, 6), 0.5)).double()]
    for beta in betas[1:-1]:
        u_h, u_x = torch.rand(n, 4).double(), torch.rand(n, 6).double()
        states.append(gibbs_step(states[-1], *(beta * p for p in rbm), u_h, u_x))
    log_w = ais_log_weights(torch.stack(states), betas, *rbm)
    log_z, error = ais_log_z(log_w, 6, 4)
    assert (log_z - log_partition(*rbm)).abs() < 4 * error
    assert 0 < error < 0.1


def test_the_error_bar_is_how_estimates_scatter():
    """Log-normal weights, whose mean is known: E[w] = e^(1/8)."""
    torch.manual_seed(0)
    many = 0.5 * torch.randn(1000, 200).double()
    log_z, error = torch.stack([torch.stack(ais_log_z(log_w, 0, 0)) for log_w in many]).T
    assert log_z.std().item() == pytest.approx(error.mean().item(), rel=0.1)
    assert ((log_z - 1 / 8).abs() < 2 * error).double().mean() > 0.92


def test_the_error_bar_never_exceeds_one():
    for spread in (1, 10, 1000):
        assert ais_log_z(spread * torch.randn(50).double(), 2, 2)[1] <= 1 + 1e-9
    assert ais_log_z(torch.tensor([0.0, -800.0, -900.0]), 2, 2)[1].item() == pytest.approx(1)


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    steps = {name: bank.step(name) for name in ("free_energy", "p_on", "gibbs_matrix")}
    log_odds, half = (
        steps[name].wrong[next(words for words in steps[name].wrong if says in words)]
        for name, says in (("p_on", "these are the log-odds"), ("gibbs_matrix", "half a sweep"))
    )
    for module, name in (
        (torch, "allclose"),
        (torch, "equal"),
        (F, "softplus"),
        (torch, "sigmoid"),
    ):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert bank.verdict("free_energy", lambda x, weight, b, c: F.softplus(x)) is not None
    assert "these are the log-odds" in bank.verdict("p_on", log_odds)
    assert "this is half a sweep" in bank.verdict("gibbs_matrix", half)
