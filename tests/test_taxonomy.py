"""The tree says of each model what the model can do, and a model that can do less is on no leaf."""

import pytest
import torch
from torch import nn

from genlib import adversarial, autoregressive, diffusion, flow_matching, markov, variational
from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import PixelCNN, PixelModel
from genlib.diffusion import Diffusion
from genlib.flow_matching import FlowMatching
from genlib.markov import GSN, RBM
from genlib.metrics import FeatureClassifier
from genlib.taxonomy import TREE, Branch, Leaf, leaves, path, place
from genlib.variational import VAE, Autoencoder

CLASSES = [(kind, leaf) for leaf in leaves() for kind in leaf.classes]


@pytest.mark.parametrize("kind, leaf", CLASSES, ids=lambda v: getattr(v, "__name__", ""))
def test_every_class_is_placed_on_the_leaf_that_names_it(kind: type[nn.Module], leaf: Leaf):
    assert place(kind) is leaf


def one_a_leaf() -> list[nn.Module]:
    shape = (1, 4, 4)
    return [
        PixelCNN(shape, hidden_dim=8, depth=1),
        FlowMatching((2,)),
        VAE(shape, latent_dim=4),
        Diffusion(shape, levels=2),
        RBM(shape, hidden_dim=4),
        GSN(shape, hidden_dim=8, noise=0.2),
        GAN(MLPGenerator(shape, latent_dim=4), MLPDiscriminator(shape), latent_dim=4),
    ]


def test_a_model_is_placed_like_its_class():
    assert [place(model) for model in one_a_leaf()] == list(leaves())


def test_every_model_of_a_family_stands_on_the_tree():
    """A model that is added to a package and forgotten here goes red; networks are not models."""
    named = {kind for kind, _ in CLASSES}
    for package in (autoregressive, variational, diffusion, flow_matching, markov, adversarial):
        for name, kind in vars(package).items():
            samples = isinstance(kind, type) and callable(getattr(kind, "sample", None))
            if samples and kind is not PixelModel:  # the base class of four leaves' models
                assert kind in named, f"{name} samples, and is on no leaf"


@pytest.mark.parametrize("kind, leaf", CLASSES, ids=lambda v: getattr(v, "__name__", ""))
def test_with_a_method_missing_it_has_left_its_leaf(kind: type[nn.Module], leaf: Leaf):
    for name in leaf.methods:
        lacking = type(f"{kind.__name__}Without_{name}", (kind,), {name: None})
        other = place(lacking)  # a flow that hides its velocity is one more tractable model
        assert other is None or other.methods == leaf.methods - {name}, name


@pytest.mark.parametrize("kind, leaf", CLASSES, ids=lambda v: getattr(v, "__name__", ""))
def test_with_a_promise_of_another_leaf_it_belongs_nowhere(kind: type[nn.Module], leaf: Leaf):
    for name in frozenset[str]().union(*(other.methods for other in leaves())) - leaf.methods:
        boasting = type(f"{kind.__name__}With_{name}", (kind,), {name: lambda self: None})
        other = place(boasting)
        assert other is None or other.methods == leaf.methods | {name}, name
        assert other is not leaf


def test_what_does_not_generate_belongs_nowhere():
    for model in (
        Autoencoder,
        Autoencoder((1, 8, 8), latent_dim=2),
        FeatureClassifier((1, 8, 8), n_classes=10),
        nn.Linear(2, 2),
        nn.Module,
    ):
        assert place(model) is None


def test_the_promises_are_kept():
    """Each method that a leaf names can be called, on one small model of every leaf."""
    x, z, t = torch.rand(3, 1, 4, 4).round(), torch.randn(3, 4), torch.rand(3)
    given = {
        "log_prob": (x,), "loss": (x,), "sample": (3,), "elbo": (x,), "posterior": (x,),
        "prior": (), "likelihood": (z,), "reconstruct": (x,), "free_energy": (x,),
        "gibbs": (x,), "log_partition": (), "chain": (x,), "discriminator_loss": (x,),
        "generator_loss": (3,), "generate": (z,), "denoise": (x, t), "score": (x, t),
    }  # fmt: skip
    named = {"gibbs": {"steps": 2}, "chain": {"steps": 2}}
    points = {"log_prob": (z[:, :2],), "loss": (z[:, :2],), "velocity": (z[:, :2], t)}
    for model in one_a_leaf():
        leaf, of = place(model), given | points if isinstance(model, FlowMatching) else given
        assert leaf is not None
        for name in leaf.methods:
            assert getattr(model, name)(*of[name], **named.get(name, {})) is not None, name


def test_the_tree_says_whether_there_is_a_density():
    for leaf in leaves():
        explicit = path(leaf)[0] == "explicit density"
        assert explicit == (leaf.density != "none")
        assert ("log_prob" in leaf.methods or "elbo" in leaf.methods) == explicit
        assert "sample" in leaf.methods
        assert ("chain" in leaf.sampling) == (path(leaf)[-1] == "Markov chain")


def test_paths_are_different_and_end_at_the_leaf():
    paths = [path(leaf) for leaf in leaves()]
    assert len(set(paths)) == len(paths) == 7
    assert [p[-1] for p in paths] == [leaf.name for leaf in leaves()]
    stranger = Leaf("stranger", (), frozenset(), "none", "not at all", "nobody")
    with pytest.raises(ValueError, match="not on the tree"):
        path(stranger)
    assert path(stranger, Branch("b", (stranger,))) == ("stranger",)
    assert TREE.name == "generative models"
