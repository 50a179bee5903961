"""The glossary of the website: the course's terms, each in the sentence of the lesson that says what it is."""

import re
from pathlib import Path

from course import syllabus
from course.publish import build, pages

# as they stand in bold in a lesson: where several do, the first one counts
TERMS = (
    "acceptance probability",
    "AUROC",
    "amortisation gap",
    "ancestral sampling",
    "annealed importance sampling",
    "autoregressive",
    "average velocity",
    "batch norm",
    "Bayes' rule",
    "checkerboard",
    "conditional GAN",
    "conditional generative model",
    "conditional loss",
    "continuity equation",
    "contrastive divergence",
    "coupling",
    "critic",
    "cross-entropy",
    "denoiser",
    "detailed balance",
    "denoising autoencoder",
    "density estimation",
    "discriminative",
    "discriminator",
    "duality",
    "earth mover's distance",
    "effective sample size",
    "ELBO",
    "energy",
    "evidence",
    "FID",
    "free energy",
    "Fréchet distance",
    "generative model",
    "generator",
    "Gibbs sampling",
    "guidance",
    "importance-weighted bound",
    "inpainting",
    "instance noise",
    "Jensen-Shannon divergence",
    "latent-variable model",
    "layer norm",
    "log signal-to-noise ratio",
    "log-likelihood",
    "Markov chain",
    "MADE",
    "marginal velocity",
    "mask A",
    "mask B",
    "maximum likelihood",
    "minimax",
    "mixture of logistics",
    "mode collapse",
    "nats",
    "negative log-likelihood",
    "non-saturating",
    "out-of-distribution",
    "partition function",
    "persistent contrastive divergence",
    "posterior",
    "precision",
    "probability flow",
    "pushforward",
    "quadrature",
    "recall",
    "rectified flow",
    "reparameterisation",
    "slerp",
    "stationary",
    "straightness",
    "supervised",
    "teacher forcing",
    "tractable",
    "transposed convolution",
    "truncation trick",
    "Tweedie's formula",
    "typical set",
    "U-Net",
    "variational",
    "velocity field",
    "walkback",
)

SHORT = 90  # characters: of less, the next sentence belongs to it
BACK = (
    "This ",
    "It ",
    "We call",
    "The average",
    "The right side",
    "(",
)  # said of the sentence before


def definition(text: str, term: str) -> str:
    """What a lesson's text says where a term stands in bold: that sentence, and a neighbour that it needs.

    Args:
        text: of a cell, in Markdown.
        term: without the asterisks; capitals do not matter.

    Returns:
        Nothing if the term is not there.

    Example:
        >>> definition("Good. Add the numbers and divide. This is the **mean**. So far.", "mean")
        'Add the numbers and divide. This is the **mean**.'
    """
    bold = re.compile(rf"\*\*{re.escape(term)}\*\*", re.IGNORECASE)
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-#|]|\d\.) )", text)
    for paragraph, below in zip(paragraphs, [*paragraphs[1:], ""], strict=True):
        line = re.sub(r"^(?:-|\d+\.) ", "", re.sub(r"\s+", " ", paragraph).strip())
        sentences = re.split(r"(?<=[.?!])(?<!al\.) (?=[A-Z*$(])", line)
        for i, sentence in enumerate(sentences):
            if bold.search(sentence):
                if i > 0 and sentence.startswith(BACK):
                    sentence = f"{sentences[i - 1]} {sentence}"
                elif len(sentence) < SHORT and i + 1 < len(sentences):
                    sentence += f" {sentences[i + 1]}"
                formula = below.strip() if sentence.endswith((":", "equals")) else ""
                return f"{sentence} {formula}" if formula.startswith("$$") else sentence
    return ""


def glossary(root: Path) -> str:
    """The page, in Markdown.

    Raises:
        build.BuildError: no lesson has a term in bold.
    """
    texts = [
        (lesson, cell.source)
        for lesson in pages.lectures(root)
        for cell in pages.read(root / lesson.executed).cells
        if cell.cell_type == "markdown"
    ]
    titles = {entry.place: entry.label for entry in syllabus.lessons(root)}
    lines = []
    for term in sorted(TERMS, key=str.lower):
        found = next(
            ((lesson, what) for lesson, text in texts if (what := definition(text, term))), None
        )
        if found is None:
            raise build.BuildError(
                f"no lesson has **{term}** in bold: say there what it is, or take it from course/publish/glossary.py"
            )
        lesson, what = found
        where = f"[lesson {titles[lesson.place]}](lessons/{lesson.name}.ipynb)"
        lines.append(f"{term}\n: {what} ({where})\n")
    return (
        "# Glossary\n\nThe terms of the course, each as the lesson says it that needs it first.\n\n"
        + "\n".join(lines)
    )
