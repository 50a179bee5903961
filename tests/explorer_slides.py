"""A notebook of every slide that holds an explorer, as its lesson has it, on models that take no time.

What a slide shows and calls comes from the lesson's own source. Only what its cells take for granted is
made here: networks as they are built, before any training, of the lesson's kinds and under its names.
"""

import jupytext
import nbformat
from nbformat import NotebookNode

from course.publish.build import LIVE_DECK, NOTEBOOK_METADATA, ROOT

FIRST = """
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course import explorers
from genlib import pretrained
from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.data import EightGaussians, load
from genlib.diffusion import Diffusion
from genlib.flow_matching import FlowMatching
from genlib.markov import GSN, RBM
from genlib.networks import TimeMLP
from genlib.variational import VAE, Autoencoder

DEVICE = "cpu"
test, bars = load("digits", "test"), load("bars")


def bold(model, std=0.3):
    # what differs at the input looks different at the output, also without training
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model
"""

# lesson -> what the cells of its explorers take for granted
GIVEN = {
    "taxonomy": """
digits, half = test.floats(), 100
x_test = digits[: 2 * half]
outliers, simple = {"mirrored": x_test[:half].flip(-1)}, {"blank": torch.zeros(1, *test.shape)}
threshold = {"log p(x)": -20.0, "classifier": 0.1}
scores = {
    name: {"log p(x)": -x.sum(dim=(1, 2, 3)), "classifier": torch.rand(len(x))}
    for name, x in ({"digits": x_test[half:]} | outliers | simple).items()
}
S = bars.shape
models = {
    "PixelCNN": PixelCNN(S, hidden_dim=8, depth=1),
    "Row LSTM": RowLSTM(S, hidden_dim=8, depth=1),
    "VAE": VAE(S, latent_dim=2),
    "RBM": RBM(S, hidden_dim=4),
    "GSN": GSN(S, hidden_dim=8, noise=0.2),
    "GAN": GAN(MLPGenerator(S, latent_dim=2), MLPDiscriminator(S), latent_dim=2),
    "Diffusion": Diffusion(S, levels=2, network=TimeMLP(S)),
}
measured = {
    name: {"kl": 0.1, "covered": 20, "valid": 0.5, "total_variation": 0.3, "known": "exact"} for name in models
}
seconds = {name: {"seconds": 1.0, "ms to draw 1000": 20} for name in models}
""",
    "pixelrnn": """
models = {
    "RowLSTM": RowLSTM(test.shape, levels=test.levels, hidden_dim=8, depth=2),
    "DiagonalBiLSTM": DiagonalBiLSTM(test.shape, levels=test.levels, hidden_dim=8, depth=1),
}
""",
    "pixelcnn": """
pixelcnn = PixelCNN(test.shape, levels=test.levels, hidden_dim=8, depth=2)
gated = GatedPixelCNN(test.shape, levels=test.levels, hidden_dim=8, depth=2)
""",
    "vae": """
plane = VAE(test.shape, latent_dim=2)
bold(plane.decoder)
train, codes = test, torch.randn(len(test.labels), 2)
hand = bold(VAE(test.shape, latent_dim=6, likelihood="dequantised_gaussian", levels=test.levels, scale=0.2), std=0.1)
faces, names = test.floats(), ["slant", "thickness", "size", "class"]
r2 = {"learnt": torch.rand(4, 6)}
""",
    "gan": """
bumps = MixtureSameFamily(
    Categorical(torch.tensor([0.4, 0.6])),
    Normal(torch.tensor([-2.0, 1.5]), torch.tensor([0.5, 0.7])),
)
away = GAN(nn.Linear(1, 1), MLPDiscriminator((1,), hidden_dim=64), latent_dim=1)
nn.init.constant_(away.generator.bias, 8.0)
""",
    "gan_architectures": """
gan = bold(GAN(MLPGenerator(test.shape, latent_dim=64), MLPDiscriminator(test.shape), latent_dim=64))
a = torch.randn(8, 64)
""",
    "markov_chains": """
rbms = {"PCD": bold(RBM(bars.shape, hidden_dim=8))}
""",
    "diffusion": """
model, pictures = bold(Diffusion(test.shape), std=0.1).eval(), test.floats()
points, ring = Diffusion((2,)).eval(), EightGaussians()
""",
    "flow_matching": """
flows = {
    name: bold(FlowMatching((2,)), std=0.15).eval() for name in ("independent", "optimal transport", "rectified")
}
ring = EightGaussians()
""",
}


def slides_of(lesson: str) -> list[list[NotebookNode]]:
    """Those slides of a lesson, as lists of cells, on which there is an explorer."""
    slides: list[list[NotebookNode]] = [[]]
    for cell in jupytext.read(
        ROOT / "course" / "lessons" / lesson / "lecture.py", fmt="py:percent"
    ).cells:
        if cell.metadata.get("slideshow", {}).get("slide_type") in ("slide", "subslide"):
            slides.append([])
        slides[-1].append(cell)
    return [slide for slide in slides if any(holds_an_explorer(cell) for cell in slide)]


def holds_an_explorer(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and "_explorer(" in cell.source


def explorer_slides(lessons: list[str]) -> NotebookNode:
    """The notebook, not run: what is given, then the slides, lesson after lesson."""

    def code(source: str, slide_type: str) -> NotebookNode:
        slideshow = {"slideshow": {"slide_type": slide_type}}
        return nbformat.v4.new_code_cell(source.strip(), metadata=slideshow)

    title = nbformat.v4.new_markdown_cell(
        "# Explorers", metadata={"slideshow": {"slide_type": "slide"}}
    )
    cells = [title, code(FIRST, "skip")]
    for lesson in lessons:
        cells.append(code(GIVEN[lesson], "skip"))
        cells += [cell for slide in slides_of(lesson) for cell in slide]
    metadata = NOTEBOOK_METADATA | {"rise": LIVE_DECK}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(metadata))
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:03d}"
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in ("slideshow", "tags")}
        )
    return notebook
