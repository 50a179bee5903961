"""The tree of generative models, as data: what each leaf promises, and which model belongs where."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from genlib.adversarial import GAN, LSGAN, R1GAN, WGANGP, HingeGAN, MinimaxGAN
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.diffusion import Diffusion, ProbabilityFlow
from genlib.flow_matching import FlowMatching, MeanFlow
from genlib.markov import GSN, RBM, PersistentRBM
from genlib.variational import VAE


@dataclass(frozen=True)
class Leaf:
    """One way to learn p(x), and what a model that goes this way can do."""

    name: str
    classes: tuple[type[nn.Module], ...]  # the course's models that stand here
    methods: frozenset[str]  # what such a model has, of all that the tree speaks of
    density: str  # what it can say about p(x)
    sampling: str  # how it draws
    opened_by: str  # the paper that opened it


@dataclass(frozen=True)
class Branch:
    """A question that divides the models below it."""

    name: str
    children: tuple["Branch | Leaf", ...]


# The tree is Goodfellow's (2016, NIPS 2016 tutorial: Generative adversarial networks,
# arXiv:1701.00160, section 2), with two leaves that came later: in steps, and by an ODE. Methods are
# named as the course names them.
TRACTABLE = Leaf(
    "tractable",
    (PixelCNN, GatedPixelCNN, RowLSTM, DiagonalBiLSTM),
    frozenset({"log_prob", "loss", "sample"}),
    density="exact",
    sampling="one value after another",
    opened_by="Frey, Hinton & Dayan (1996), Does the wake-sleep algorithm produce good density "
    "estimators?",
)
BY_ODE = Leaf(
    "tractable by an ODE",
    (FlowMatching, MeanFlow, ProbabilityFlow),
    frozenset({"log_prob", "loss", "sample", "velocity"}),
    density="exact, up to its steps",
    sampling="noise that is carried along",
    opened_by="Chen, Rubanova, Bettencourt & Duvenaud (2018), Neural ordinary differential equations, "
    "arXiv:1806.07366",
)
VARIATIONAL = Leaf(
    "variational",
    (VAE,),
    frozenset({"elbo", "likelihood", "loss", "posterior", "prior", "reconstruct", "sample"}),
    density="a lower bound",
    sampling="one pass",
    opened_by="Kingma & Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114",
)
IN_STEPS = Leaf(
    "variational, in steps",
    (Diffusion,),
    frozenset({"denoise", "elbo", "loss", "sample", "score"}),
    density="a lower bound",
    sampling="noise undone step by step",
    opened_by="Sohl-Dickstein, Weiss, Maheswaranathan & Ganguli (2015), Deep unsupervised learning using "
    "nonequilibrium thermodynamics, arXiv:1503.03585",
)
BOLTZMANN = Leaf(
    "Markov chain",
    (RBM, PersistentRBM),
    frozenset({"free_energy", "gibbs", "log_partition", "log_prob", "loss", "sample"}),
    density="up to a constant",
    sampling="a chain that must mix",
    opened_by="Ackley, Hinton & Sejnowski (1985), A learning algorithm for Boltzmann machines",
)
STOCHASTIC = Leaf(
    "Markov chain",
    (GSN,),
    frozenset({"loss", "sample", "chain"}),
    density="none",
    sampling="a chain that must mix",
    opened_by="Bengio, Thibodeau-Laufer, Alain & Yosinski (2014), Deep generative stochastic "
    "networks trainable by backprop, arXiv:1306.1091",
)
DIRECT = Leaf(
    "direct",
    (GAN, MinimaxGAN, LSGAN, HingeGAN, R1GAN, WGANGP),
    frozenset({"discriminator_loss", "generate", "generator_loss", "sample"}),
    density="none",
    sampling="one pass",
    opened_by="Goodfellow et al. (2014), Generative adversarial nets, arXiv:1406.2661",
)
TREE = Branch(
    "generative models",
    (
        Branch(
            "explicit density",
            (TRACTABLE, BY_ODE, Branch("approximate", (VARIATIONAL, IN_STEPS, BOLTZMANN))),
        ),
        Branch("implicit density", (STOCHASTIC, DIRECT)),
    ),
)


def leaves(tree: Branch | Leaf = TREE) -> Iterator[Leaf]:
    """The leaves of a tree, in the order in which they are written.

    Example:
        >>> [leaf.name for leaf in leaves()][:4]
        ['tractable', 'tractable by an ODE', 'variational', 'variational, in steps']
    """
    if isinstance(tree, Leaf):
        yield tree
    else:
        for child in tree.children:
            yield from leaves(child)


def path(leaf: Leaf, tree: Branch | Leaf = TREE) -> tuple[str, ...]:
    """The names on the way from the root of the tree to a leaf, without the root's own.

    Example:
        >>> path(place(VAE))
        ('explicit density', 'approximate', 'variational')
    """
    for child in getattr(tree, "children", ()):
        if child is leaf:
            return (child.name,)
        if any(leaf is other for other in leaves(child)):
            return (child.name, *path(leaf, child))
    raise ValueError(f"the leaf {leaf.name!r} is not on the tree")


def place(model: nn.Module | type[nn.Module]) -> Leaf | None:
    """The leaf a model belongs to, judged by what it can do and not by its name.

    Of all the methods that the tree names, it must have those of the leaf, each of them, and no
    others: a name promises, so a model with `log_prob` and `elbo` would claim to be two things.

    Args:
        model: a model or a class of models.

    Returns:
        A leaf of `TREE`, or None if the model belongs nowhere.

    Example:
        >>> from genlib.variational import Autoencoder
        >>> place(GAN).name, place(Autoencoder)  # an autoencoder has no `sample`
        ('direct', None)
    """
    spoken_of = frozenset[str]().union(*(leaf.methods for leaf in leaves()))
    able = {name for name in spoken_of if callable(getattr(model, name, None))}
    return next((leaf for leaf in leaves() if leaf.methods == able), None)
