import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from course.checking import core
from course.checking.core import Unanswered, Wrong
from course.checking.suite import Bank, StepsOfALesson

bank = Bank("pixelcnn", whole="mask colour_mask")
(
    conditionals, mask, masked_conv, receptive_field, blind_spot, look_up, gate, nll, sample, complete, colour_mask,
) = (bank.solutions[step] for step in bank.steps)  # fmt: skip


# ---------------------------------------------------------------- 1. conditionals


def conditionals_by_loops(table):
    factors = []
    for i in range(4):
        factor = torch.zeros([2] * (i + 1), dtype=torch.float64)
        for pixels in itertools.product((0, 1), repeat=i + 1):
            factor[pixels] = table[pixels].sum() / table[pixels[:-1]].sum()
        factors.append(factor)
    return tuple(factors)


bank.right("conditionals", conditionals_by_loops)
bank.wrong("conditionals", {
    "p.x1 . earlier pixels.: you return the logarithm": lambda table: [p.log() for p in conditionals(table)],
    "does not depend on x1": lambda table: [*conditionals(table)[:3], conditionals(table.flip(0).add(table))[3]],
    "does not sum to one over its own pixel": lambda table: [
        *conditionals(table)[:3], (table + 0.01) / table.sum(3, True)
    ],
    "returns 3: return 4 tensors": lambda table: conditionals(table)[:3],
    "a small number": lambda table: [
        p / (p.sum(-1, keepdim=True) + 1e-8) for p in (table.sum((1, 2, 3)), table.sum((2, 3)), table.sum(3), table)
    ],
})  # fmt: skip


# ---------------------------------------------------------------- 2. mask


def mask_of_booleans(kind, size):
    number = torch.arange(size * size).reshape(size, size)
    centre = size * size // 2
    return number < centre if kind == "A" else number <= centre


def kept(kind, size, *slices):
    allowed = torch.zeros(size, size)
    for place in slices:
        allowed[place] = 1
    allowed[size // 2, size // 2] = float(kind == "B")
    return allowed


bank.right("mask", mask_of_booleans)
bank.wrong("mask", {
    "below the centre row": lambda kind, size: mask(kind, size) + torch.ones(size, size).tril(-size // 2).flip(1),
    "to the right of the centre": lambda kind, size: kept(kind, size, slice(size // 2 + 1)),
    "part of the rows above": lambda kind, size: kept(kind, size, (slice(size // 2 + 1), slice(size // 2 + 1))),
    "to the left of the centre": lambda kind, size: kept(kind, size, slice(size // 2)),
    "The number 3 of .* stands in your code": lambda kind, size: mask(kind, 3),
    "only zeros and ones": lambda kind, size: (mask("A", size) + mask("B", size)) / 2,
    "A keeps the centre at this size": lambda kind, size: mask("B" if size > 3 else kind, size),
    "B hides the centre at this size": lambda kind, size: mask("A" if size == 1 else kind, size),
    "`F.conv2d` wants one dtype": lambda kind, size: mask(kind, size).to(
        {torch.float32: torch.float64}.get(torch.get_default_dtype(), torch.float32)
    ),
    "0 everywhere": lambda kind, size: 0 * mask(kind, size),
})  # fmt: skip


# ---------------------------------------------------------------- 3. masked_conv


def masked_conv_by_shifts(x, weight, mask, bias):
    size, (height, width) = len(mask), x.shape[2:]
    x = F.pad(x, [size // 2] * 4)
    out = bias[:, None, None]
    for a, b in itertools.product(range(size), repeat=2):
        shifted = x[:, :, a : a + height, b : b + width]
        out = out + mask[a, b] * torch.einsum("fc,bchw->bfhw", weight[:, :, a, b], shifted)
    return out


def overwrites_the_weight(x, weight, mask, bias):
    weight.data *= mask
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def gradient_of_a_whole_kernel(x, weight, mask, bias):
    masked = weight + (weight * mask - weight).detach()
    return F.conv2d(x, masked, bias, padding=weight.shape[-1] // 2)


bank.right("masked_conv", masked_conv_by_shifts)
bank.wrong("masked_conv", {
    "the optimiser owns the weight": overwrites_the_weight,
    "no gradient reaches `x` and `weight` and `bias`": torch.no_grad()(lambda *arguments: masked_conv(*arguments)),
    "no gradient reaches `x`,": lambda x, *others: masked_conv(x.detach(), *others),
    "no gradient reaches `weight`,": lambda x, weight, *others: masked_conv(x, weight.data, *others),
    "the gradient of `weight` is not": gradient_of_a_whole_kernel,
    "add the bias once": lambda x, weight, mask, bias: masked_conv(x, weight, mask, 2 * bias),
    "not near the border":
        lambda x, weight, mask, bias: F.conv2d(F.pad(x, [len(mask) // 2] * 4, mode="circular"), weight * mask, bias),
    "moved by 1": lambda x, weight, mask, bias: F.conv2d(F.pad(x, [len(mask) - 1, 0] * 2), weight * mask, bias),
})  # fmt: skip


# ---------------------------------------------------------------- 4. receptive_field


def gradient_at(net, x, pixel):
    x = x.clone().requires_grad_()
    net(x)[:, :, pixel[0], pixel[1]].sum().backward()
    return x.grad


def receptive_field_by_jacobian(net, x, pixel):
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x)[..., pixel[0], pixel[1]], x)
    return (jacobian != 0).flatten(0, -3).any(dim=0)


def receptive_field_by_poking(net, x, pixel):
    read = torch.zeros(x.shape[2:], dtype=torch.bool)
    for u, v, c in itertools.product(range(x.shape[2]), range(x.shape[3]), range(x.shape[1])):
        poked = x.clone()
        poked[:, c, u, v] += 3
        read[u, v] |= bool((net(poked) != net(x))[:, :, pixel[0], pixel[1]].any())
    return read


def uses_the_callers_images(net, x, pixel):
    x.requires_grad_()
    net(x)[:, :, pixel[0], pixel[1]].sum().backward()
    return x.grad.abs().sum(dim=(0, 1)) != 0


bank.right("receptive_field", receptive_field_by_jacobian, receptive_field_by_poking)
bank.wrong("receptive_field", {
    "leaves marks on its argument|leave marks on the caller's images": uses_the_callers_images,
    "return True or False": lambda *arguments: gradient_at(*arguments).abs().sum((0, 1)),
    "False everywhere": lambda *arguments: gradient_at(*arguments).sum((0, 1)) > 1e6,
    "a small number": lambda *arguments: gradient_at(*arguments).abs().sum((0, 1)) > 1e-6,
})  # fmt: skip


# ---------------------------------------------------------------- 5. and 6. blind_spot, look_up


def blind_spot_by_slices(read, pixel):
    hidden = torch.zeros_like(read)
    hidden[: pixel[0]] = ~read[: pixel[0]]
    hidden[pixel[0], : pixel[1]] = ~read[pixel[0], : pixel[1]]
    return hidden


def look_up_then_shift(x, weight, strict):
    rows, columns = weight.shape[2:]
    out = F.conv2d(x, weight, padding=(rows - 1, columns // 2))[:, :, : x.shape[2]]
    if strict:
        out = torch.cat([torch.zeros_like(out[:, :, :1]), out[:, :, :-1]], dim=2)
    return out


def padded(x, weight, left, right, above, below):
    return F.conv2d(F.pad(x, (left, right, above, below)), weight)


bank.right("blind_spot", blind_spot_by_slices)
bank.wrong("blind_spot", {
    "return True or False": lambda *arguments: blind_spot(*arguments).float(),
    "you count .*, which comes later": lambda read, pixel: ~read & ~blind_spot(read, pixel),
    "you count .*, which is read": lambda read, pixel: blind_spot(read & False, pixel),
    "left of the pixel in its own row": lambda read, pixel: blind_spot(read, (pixel[0], 0)),
    "in a row above": lambda read, pixel: blind_spot(read, pixel) & ~blind_spot(read, (pixel[0], 0)),
})  # fmt: skip
bank.right("look_up", look_up_then_shift)
bank.wrong("look_up", {
    "reads rows below the pixel":
        lambda x, weight, strict: padded(x, weight, weight.shape[3] // 2, weight.shape[3] // 2, 0, weight.shape[2] - 1),
    "has the shape .3, 4, 6, 5. where":
        lambda x, weight, strict: padded(x, weight, 0, 0, weight.shape[2] - 1 + strict, -int(strict)),
    "still reads the pixel's own row":
        lambda x, weight, strict: look_up(x, weight, strict) + 0.1 * look_up(x, weight, False),
    "the first row has nothing above": lambda x, weight, strict: look_up(x.roll(int(strict), 2), weight, False),
    "no gradient reaches `x`": lambda x, *others: look_up(x.detach(), *others),
})  # fmt: skip


# ---------------------------------------------------------------- 7. gate


def gate_by_one_hot(features, bias, y):
    of_label = F.one_hot(y, len(bias)).to(bias) @ bias  # (B, 2F)
    n = features.shape[1] // 2
    out = features + of_label.unflatten(1, (-1, 1, 1))
    return torch.tanh(out[:, :n]) / (1 + torch.exp(-out[:, n:]))


def gate_image_by_image(features, bias, y):
    made = []
    for image, label in zip(features, y.tolist(), strict=True):
        f, g = (image + bias[label, :, None, None]).split(len(image) // 2)
        made.append((2 * (2 * f).sigmoid() - 1) * g.sigmoid())
    return torch.stack(made)


def tanh_by_exp(features, bias, y):
    f, g = (features + bias[y][:, :, None, None]).chunk(2, dim=1)
    return (f.exp() - (-f).exp()) / (f.exp() + (-f).exp()) * g.sigmoid()


bank.right("gate", gate_by_one_hot, gate_image_by_image)
bank.wrong("gate", {
    "no gradient reaches `bias`": lambda features, bias, y: gate(features, bias.detach(), y),
    "no gradient reaches `features`": lambda features, bias, y: gate(features.detach(), bias, y),
    "wide open or shut .* (is infinite|NaN)": tanh_by_exp,
    "shape": lambda features, bias, y: gate(features.mT, bias, y),
    "half precision": lambda features, bias, y: gate(features, bias, y).bfloat16(),
})  # fmt: skip


def test_the_gate_of_the_exercise_is_the_gate_of_genlib():
    """genlib's weights absorb a factor of two in f, which makes one sigmoid do for both."""
    from genlib.autoregressive.gated_pixelcnn import gate as ours

    features, bias, y = torch.randn(3, 4, 2, 5), torch.randn(6, 4), torch.tensor([5, 0, 2])
    inner = torch.tensor([2.0, 2, 1, 1])[:, None, None]
    given = inner * (features + bias[y][:, :, None, None])
    assert torch.allclose(gate(features, bias, y), ours(given), atol=1e-6)


# ---------------------------------------------------------------- 8. nll


def nll_by_categorical(logits, level):
    log_p = Categorical(logits=logits.double().movedim(1, -1)).log_prob(level)
    return [-log_p.sum((1, 2, 3)), -log_p.mean((1, 2, 3)) / math.log(2)]


def with_bits(nats, level):
    return nats, nats / (level[0].numel() * math.log(2))


def nll_by_clamp(logits, level):
    p = logits.softmax(1).gather(1, level[:, None]).flatten(1)
    return with_bits(-p.clamp(min=1e-12).log().sum(1), level)


bank.right("nll", nll_by_categorical)
bank.wrong("nll", {
    "you sum over everything": lambda logits, level: with_bits(nll(logits, level)[0].sum(), level),
    "you average over everything": lambda logits, level: with_bits(nll(logits, level)[0].mean(), level),
    "returns one thing: return 2 tensors, the nats and the bits": lambda *arguments: nll(*arguments)[0],
    "in another order": lambda *arguments: nll(*arguments)[::-1],
    "a clamp": nll_by_clamp,
    "no gradient reaches `logits`": lambda logits, level: nll(logits.detach(), level),
    "the gradient of `logits` is not": lambda *arguments: (nll(*arguments)[0], nll(*arguments)[1].detach()),
})  # fmt: skip


# ---------------------------------------------------------------- 9. sample


def raster(shape):
    channels, height, width = shape
    return itertools.product(range(height), range(width), range(channels))


def draw_in(order):
    """A sampler that goes through the places in another order."""

    def answer(logits_of, n, shape, levels):
        x = torch.zeros(n, *shape)
        for i, j, c in order(list(raster(shape))):
            level = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample()
            x[:, c, i, j] = level / (levels - 1)
        return x

    return answer


def sample_from_noise(logits_of, n, shape, levels):
    x = torch.rand(n, *shape)  # what is not drawn yet must not matter
    for place in range(math.prod(shape)):
        pixel, c = divmod(place, shape[0])
        i, j = divmod(pixel, shape[2])
        p = logits_of(x)[:, :, c, i, j].softmax(dim=1)
        x[:, c, i, j] = torch.multinomial(p, 1)[:, 0].to(x) / (levels - 1)
    return x


def all_at_once(logits_of, n, shape, levels):
    logits = logits_of(torch.zeros(n, *shape))
    return Categorical(logits=logits.movedim(1, -1)).sample() / (levels - 1)


def never_fed_back(logits_of, n, shape, levels):
    x, out = torch.zeros(n, *shape), torch.zeros(n, *shape)
    for i, j, c in raster(shape):
        out[:, c, i, j] = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample() / (levels - 1)
    return out


def channels_together(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j in itertools.product(range(shape[1]), range(shape[2])):
        logits = logits_of(x)[..., i, j].movedim(1, -1)
        x[..., i, j] = Categorical(logits=logits).sample() / (levels - 1)
    return x


def rows_together(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i in range(shape[1]):
        logits = logits_of(x)[..., i, :].movedim(1, -1)
        x[..., i, :] = Categorical(logits=logits).sample() / (levels - 1)
    return x


def seeded(logits_of, n, shape, levels):
    torch.manual_seed(0)
    return sample(logits_of, n, shape, levels)


bank.right("sample", sample_from_noise)
bank.wrong("sample", {
    "draw all pixels from one call": all_at_once,
    "every call sees an empty image": never_fed_back,
    "a value is left undrawn": draw_in(lambda places: places[:-1]),
    "the channels of a pixel together": channels_together,
    "from the last value to the first": draw_in(lambda places: places[::-1]),
    "blue before green": draw_in(lambda places: sorted(places, key=lambda place: (place[:2], -place[2]))),
    "column by column": draw_in(lambda places: sorted(places, key=lambda place: (place[1], place[0], place[2]))),
    "all of red before green": draw_in(lambda places: sorted(places, key=lambda place: place[2])),
    "values do not follow their logits":
        lambda logits_of, *others: sample(lambda x: logits_of(x)[:, :, :1, :1, :1].expand_as(logits_of(x)), *others),
    "draw once for each image": lambda logits_of, n, *others: sample(logits_of, 1, *others).repeat(n, 1, 1, 1),
    "as if they were probabilities": lambda logits_of, *others: sample(lambda x: logits_of(x).log(), *others),
    "the levels are not drawn with": lambda logits_of, *others: sample(lambda x: 2 * logits_of(x), *others),
    "levels are not drawn with": lambda logits_of, *others: sample(lambda x: logits_of(x).softmax(1), *others),
    "at once, not at the end":
        lambda logits_of, n, shape, levels: sample(lambda x: logits_of(x), n, shape, 2) / (levels - 1),
    "changes more than one value": rows_together,
    r"Divide by levels - 1\.": lambda logits_of, n, shape, levels: sample(logits_of, n, shape, 2),
    "you divide by levels: divide by": lambda logits_of, n, shape, levels: sample(logits_of, n, shape, levels + 1),
    "no level k": lambda *arguments: sample(*arguments) + 0.05,
    "never calls `logits_of`": lambda _, n, shape, levels: torch.randint(levels, (n, *shape)) / (levels - 1),
    r"has the shape \(1, 2, 2\) where": lambda logits_of, n, *others: sample(logits_of, 1, *others)[0],
    "every call draws the same numbers": seeded,
    "a network of torch.float": lambda logits_of, *others: sample(
        lambda x: logits_of(x.to({torch.float32: torch.float64}.get(x.dtype, torch.float32))), *others
    ),
})  # fmt: skip


# ---------------------------------------------------------------- 10. complete


def fill_in(logits_of, x, levels, keep, known, order=None):
    for i, j, c in order or raster(x.shape[1:]):
        drawn = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample() / (levels - 1)
        x[:, c, i, j] = torch.where(keep[:, c, i, j], known[:, c, i, j], drawn)
    return x


def complete_in_place_of_the_unknown(logits_of, known, mask, levels):
    x = known.clone()
    for i, j, c in raster(known.shape[1:]):
        unknown = ~mask[:, c, i, j]
        if unknown.any():
            p = logits_of(x)[unknown, :, c, i, j].softmax(1)
            x[unknown, c, i, j] = torch.multinomial(p, 1)[:, 0].to(x) / (levels - 1)
    return x


def complete_from_noise(logits_of, known, mask, levels):
    return fill_in(logits_of, torch.randn_like(known), levels, mask, known)


def completed_at_once(logits_of, known, mask, levels):
    logits = logits_of(torch.where(mask, known, 0))
    drawn = Categorical(logits=logits.movedim(1, -1)).sample() / (levels - 1)
    return torch.where(mask, known, drawn)


def draws_backwards(logits_of, known, mask, levels):
    order = list(raster(known.shape[1:]))[::-1]
    return fill_in(logits_of, torch.where(mask, known, 0), levels, mask, known, order)


def one_draw_for_all(logits_of, known, mask, levels):
    x = torch.where(mask, known, 0)
    for i, j, c in raster(known.shape[1:]):
        p = logits_of(x)[:, :, c, i, j].softmax(1).cumsum(1)
        drawn = (p < torch.rand(1)).sum(1) / (levels - 1)
        x[:, c, i, j] = torch.where(mask[:, c, i, j], x[:, c, i, j], drawn)
    return x


def anew(logits_of, known, mask, levels):
    return sample(logits_of, len(known), known.shape[1:], levels)


bank.right("complete", complete_in_place_of_the_unknown, complete_from_noise)
bank.wrong("complete", {
    "nothing is drawn": lambda logits_of, known, mask, levels: known.clone(),
    "keep where the mask is False": lambda model, known, mask, levels: complete(model, known, ~mask, levels),
    "all missing values from one call": completed_at_once,
    "draw every value anew": anew,
    "Ask the mask at each value":
        lambda logits_of, known, mask, levels: complete(logits_of, known, mask[:1].expand_as(mask), levels),
    "come back at the end":
        lambda logits_of, known, mask, levels: torch.where(mask, known, anew(logits_of, known, mask, levels)),
    "does not follow from them": draws_backwards,
    "is left undrawn": lambda logits_of, known, mask, levels: fill_in(
        logits_of, torch.where(mask, known, 0), levels, mask, known, list(raster(known.shape[1:]))[:-1]
    ),
    "between two levels is changed":
        lambda logits_of, known, *others: complete(logits_of, (known * 6).round() / 6, *others),
    "levels are not drawn with": lambda logits_of, *others: complete(lambda x: logits_of(x).softmax(1), *others),
    "changes its argument `known`":
        lambda logits_of, known, mask, levels: fill_in(logits_of, known, levels, mask, known.clone()),
    "all images of a call are|every call draws the same": one_draw_for_all,
    "the levels are not drawn with": lambda logits_of, *others: complete(lambda x: 2 * logits_of(x), *others),
})  # fmt: skip


# ---------------------------------------------------------------- 11. colour_mask


def colour_mask_by_loops(kind, in_group, out_group):
    rows = [[int(i < o or (kind == "B" and i == o)) for i in in_group] for o in out_group]
    return torch.tensor(rows)


bank.right("colour_mask", colour_mask_by_loops)
bank.wrong("colour_mask", {
    "group 0 must not read an input of group 1":
        lambda kind, *groups: groups[0] != groups[1][:, None] if kind == "A" else colour_mask(kind, *groups),
    r"where \(6, 3\) is wanted": lambda kind, *others: torch.ones(3, 3).tril(-1 if kind == "A" else 0),
    "only zeros and ones": lambda kind, *others: colour_mask("A", *others) + colour_mask(kind, *others),
})  # fmt: skip


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "conv2d"), (F, "log_softmax")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert "returns torch.bool" in bank.verdict("masked_conv", masked_conv)
    no_mask = bank.verdict("masked_conv", lambda x, w, m, b: torch.conv2d(x, w, b, padding="same"))
    assert "the mask has no effect" in no_mask
    assert bank.verdict("mask", lambda kind, size: mask("B", size)) is not None


def test_jupyter_shows_a_diagnosis_in_one_line():
    assert Wrong("too bright")._render_traceback_() == [f"{core.NOT_YET} too bright"]

    def sharpen():
        raise Unanswered()

    with pytest.raises(Unanswered) as caught:
        sharpen()
    (line,) = caught.value._render_traceback_()
    assert "`sharpen` is still to be written" in line
    assert issubclass(Wrong, AssertionError) and issubclass(Unanswered, NotImplementedError)
