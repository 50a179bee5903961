"""One surface in all families: what comes after the first argument is given by name."""

import inspect

import pytest
import torch

from genlib import adversarial, autoregressive, diffusion, flow_matching, markov, variational

FAMILIES = (autoregressive, variational, diffusion, flow_matching, adversarial, markov)
MODELS = [
    model
    for family in FAMILIES
    for model in vars(family).values()
    if inspect.isclass(model) and (hasattr(model, "loss") or hasattr(model, "sample"))
]
# A GAN is two networks, and x_t comes with its time; everything else about them has a name.
PAIRS = {"discriminator_objective", "boundary", "log_likelihood", "gradient_penalty"}
PAIRS |= {"ask", "denoise", "noisy", "score", "velocity"}
# and a jump with both of its times
TRIPLES = {"average_velocity"}
# what a subclass of PixelModel writes, called by the base class alone
INNER = {"network", "above", "across", "layer"}


def in_place(function) -> list[str]:
    """The arguments that may be given without their names, but for `self`."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, x in inspect.signature(function).parameters.items() if x.kind in kinds]
    return [name for name in names if name != "self"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_model_is_built_by_names(model):
    most = 2 if issubclass(model, adversarial.GAN) else 1
    assert len(in_place(model.__init__)) <= most, inspect.signature(model)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_labels_and_steps_are_given_by_name(model):
    own = inspect.getmembers(model, inspect.isfunction)
    public = {
        name: function
        for name, function in own
        if function.__module__.startswith("genlib.") and name[0] != "_" and name not in INNER
    }
    wrong = {
        name: in_place(function)
        for name, function in public.items()
        if len(in_place(function)) > 1 + (name in PAIRS) + 2 * (name in TRIPLES)
    }
    assert not wrong
    for name in ("sample", "loss", "log_prob", "elbo", "discriminator_loss"):
        if name in public and "y" in inspect.signature(public[name]).parameters:
            assert "y" not in in_place(public[name])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_knows_its_labels_and_takes_them(model):
    for name in ("loss", "sample", "log_prob", "elbo", "discriminator_loss", "generator_loss"):
        if hasattr(model, name):
            assert "y" in inspect.signature(getattr(model, name)).parameters, name


@pytest.mark.parametrize(
    "model",
    [
        markov.RBM((1, 2, 2), hidden_dim=3),
        markov.GSN((1, 2, 2), hidden_dim=3, noise=0.2),
        variational.Autoencoder((1, 2, 2), latent_dim=2),
        diffusion.Diffusion((1, 2, 2)),
        flow_matching.FlowMatching((1, 2, 2)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_unconditional_model_refuses_labels(model):
    x, y = torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])
    assert model.n_classes == 0
    assert model.loss(x, y=None).isfinite()
    calls = [lambda: model.loss(x, y=y)]
    calls += [lambda: model.sample(2, y=y)] if hasattr(model, "sample") else []
    calls += [lambda: model.log_prob(x, y=y)] if isinstance(model, markov.RBM) else []
    for call in calls:
        with pytest.raises(ValueError, match="unconditional: leave the labels"):
            call()


def test_a_width_has_one_name():
    other = {"channels", "n_hidden", "features", "n_features", "width"}
    for family in FAMILIES:
        for x in vars(family).values():
            if inspect.isclass(x):
                assert not other & set(inspect.signature(x.__init__).parameters), x
