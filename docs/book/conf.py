"""How the website is built. Run `make book`: course/publish/book.py first puts everything into build/book/source."""

import os
import re

from docutils import nodes

from course.publish import dark

project = "Deep generative models"
author = "the authors of the course"
html_title = project
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "show_prev_next": True,
}
if repository := os.environ.get("REPOSITORY"):  # course/publish/book.py takes it from the syllabus
    icon = {"name": "Repository", "url": repository, "icon": "fa-solid fa-code-branch"}
    html_theme_options["icon_links"] = [icon]
html_context = {"default_mode": "auto"}  # as the reader's system has it
html_extra_path = ["_extra"]  # the notebooks, to be downloaded
# code and not what it prints, and of an example only what is typed
copybutton_selector = "div:not(.output) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
html_copy_source = False
html_show_sourcelink = False

# pages show the outputs that the tests compare
nb_execution_mode = "off"
# nothing is fetched when a page is read
nb_ipywidgets_js = {}
mathjax_path = "tex-svg.js"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False
napoleon_custom_sections = ["Shapes", "Source", "Units"]


def as_rest(app, what, name, obj, options, lines):
    """Docstrings are written like the lessons: $x$ is mathematics and `x` is code. Say so in reStructuredText."""
    kept = []  # what must not be changed any more; a number stands in its place

    def keep(text):
        kept.append(text)
        return f"\x01{len(kept) - 1}\x02"

    text, example = [], False
    for line in lines:
        example = line.lstrip().startswith((">>>", "...")) or (example and bool(line.strip()))
        text.append(keep(line) if example else line)
    text = "\n".join(text)

    def display(match):
        return keep(f"\n\n{match[1]}.. math:: {' '.join((match[2] + match[3]).split())}\n\n")

    text = re.sub(r"(?<=\n)( *)\$\$(.+?)\$\$([.,;]?)", display, text, flags=re.DOTALL)
    text = re.sub(r"`([^`]+)`", lambda m: keep(f"``{' '.join(m[1].split())}``"), text)
    text = re.sub(r"\$([^$]+)\$", lambda m: keep(f":math:`{' '.join(m[1].split())}`"), text)
    text = re.sub(r"(?<!\\)([*|])", r"\\\1", text)  # reStructuredText's own marks
    text = re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)
    # a mark is none where it touches a letter
    text = re.sub(r"(?<=[^\s('\"\[{<\-/:\x02])(\x01\d+\x02)", r"\\ \1", text)
    text = re.sub(r"(\x01\d+\x02)(?=[^\s)'\"\]}>\-/:.,;!?\\\x01])", r"\1\\ ", text)
    while "\x01" in text:
        text = re.sub(r"\x01(\d+)\x02", lambda m: kept[int(m[1])], text)
    lines[:] = text.split("\n")


def not_ours(app, what, name, obj, skip, options):
    """Leave out what a class takes over from PyTorch, word for word."""
    return (
        True if not getattr(obj, "__module__", "genlib").startswith(("genlib", "course")) else None
    )


# an arXiv id, new (1312.6114) or old (physics/9803008), or a DOI
PAPER = re.compile(
    r"\barXiv:(?P<arxiv>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})"
    r"|\bdoi:(?P<doi>10\.\d{4,9}/[^\s,;)]*[^\s,;).])",
    re.IGNORECASE,
)
NO_PROSE = (nodes.reference, nodes.FixedTextElement, nodes.literal, nodes.math, nodes.raw)


def link_papers(app, doctree):
    """Every id of a paper leads to it."""
    for text in list(doctree.findall(nodes.Text)):
        above, node = [], text.parent
        while node is not None:
            above, node = [*above, node], node.parent
        if any(isinstance(node, NO_PROSE) for node in above) or not PAPER.search(text):
            continue
        parts, end = [], 0
        for paper in PAPER.finditer(text):
            site = "https://arxiv.org/abs/" if paper["arxiv"] else "https://doi.org/"
            to = site + (paper["arxiv"] or paper["doi"])
            link = nodes.reference("", paper[0], refuri=to, internal=False)
            parts += [nodes.Text(text[end : paper.start()]), link]
            end = paper.end()
        text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def finish_page(app, pagename, templatename, context, doctree):
    """Figures for both modes; no full stop after a formula stands alone in the next line."""
    if "body" in context:
        body = dark.with_twins(context["body"])
        formula = r'(<span class="math [^>]*>[^<]*</span>[.,;:?!)]+)'
        context["body"] = re.sub(formula, r'<span class="unbroken">\1</span>', body)


def setup(app):
    app.connect("doctree-read", link_papers)
    app.connect("html-page-context", finish_page)
    app.connect("autodoc-skip-member", not_ours)
    app.connect(
        "autodoc-process-docstring", as_rest, priority=400
    )  # before Napoleon, which has 500
