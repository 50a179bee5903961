# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Start here
#
# **Is everything there, and how does this course work?**
#
# Ten minutes, and nothing to learn by heart. The first part checks your installation. The second shows the three kinds of
# notebooks: lessons, exercises, problem sets. If this is your first notebook: Shift and Enter runs the cell you are in and
# goes on to the next one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Is everything there?
#
# Run the next cell. Each line is one thing that the lessons use. Where there is something to do, an arrow says what.

# %% tags=["nbval-ignore-output"]
from course import start

findings = start.check_environment()
print("\n".join(str(finding) for finding in findings))

# %% [markdown] slideshow={"slide_type": "subslide"}
# `MISSING` stops some lesson. An arrow on a line that begins with `ok` is a choice: real data are not needed, and are
# downloaded only when you ask for them. What the lessons need, in one line:

# %%
print("everything that the lessons need is there:", start.ready(findings))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### When something is wrong
#
# | what you see | what to do |
# | --- | --- |
# | a line `MISSING` above | what its arrow says |
# | `No module named 'genlib'`, or genlib is not in this Python | The kernel is another Python. Open the notebooks with `make lab`; or choose *Kernel, Change Kernel, Python 3 (ipykernel)* there |
# | the kernel died | Not enough memory: about 2 GB must be free. Shut down other notebooks (*Kernel, Shut Down All Kernels*) |
# | a cell shows `[*]` and nothing happens | It is computing: lessons train networks, some cells for half a minute. *Kernel, Interrupt* ends it |
# | an explorer is a still picture | It moves only where a kernel runs: run its cell, after those above it |
# | everything is slow on a shared machine | Set `OMP_NUM_THREADS=1` before Jupyter starts |
# | your figures differ in the last digit | So they should: processors round differently. What is printed as a claim holds on each |
# | a variable is not defined | Cells build on those above: *Run, Run All Above Selected Cell* |
#
# If nothing helps, restart: *Kernel, Restart Kernel and Run All Cells*. Then ask, with what the first cell prints.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Lessons
#
# A lesson answers one question: [{{taxonomy}} Taxonomy]({{taxonomy}}_taxonomy.ipynb) asks what it means to learn $p(x)$. It is here as it was
# executed. Read it, run it, change it. Its first code cell holds what is worth changing, for instance `DATASET`.
#
# The data are small, and lie in memory as one tensor: images (B, C, H, W) with values in [0, 1].

# %% alt="Twenty handwritten digits, each of 8 by 8 grey pixels."
from genlib import plots
from genlib.data import load

digits = load("digits", "test")
x = digits[:20].floats()
plots.show_images(x, columns=10)
print(f"{len(digits)} images, of which x holds {tuple(x.shape)}, from {x.min():.0f} to {x.max():.0f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Lessons make claims, and claims are checked: a cell prints them, and the tests compare what it prints. Some figures have
# controls, and move while a kernel runs. Beside the lessons stand slides (`make slides`) and a website (`make book`).

# %%
print(f"black pixels are more than a third of all: {bool((x == 0).float().mean() > 1 / 3)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# Lesson {{taxonomy}} has [exercises]({{taxonomy}}_taxonomy_exercises.ipynb), and so has each one after it. A step is a card, a gap, and a
# check. The check calls your function with inputs of its own. It names the likely mistake, where it knows it.
#
# Try one here. **Write** `brightness(x)`: the mean of the pixels of each image, (B, C, H, W) -> (B,). Somebody has begun.

# %%
from course import checks


def brightness(x):
    return x.mean()


# %% [markdown] slideshow={"slide_type": "subslide"}
# And the check. In the exercises this is one line, `checks.start_here.brightness(brightness)`, and a wrong answer shows what
# it says in red. Here it is caught and printed.

# %%
try:
    checks.start_here.brightness(brightness)
except checks.Wrong as mistake:
    print("Not yet:", mistake)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Do what it says: change the function above, run it, run the check again. Other mistakes get other words; try
# `x.sum(dim=(1, 2, 3))`.
#
# <details><summary>An answer</summary>
#
# `return x.mean(dim=(1, 2, 3))` averages over channels, rows and columns, and leaves the images.
#
# </details>
#
# Exercises have a hint that opens, like this answer. The full answers stand in notebooks of their own, in the folder
# `solutions/`, if your copy of the course has it. Nobody grades exercises.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Problem sets
#
# They are homework, in `notebooks/assignments/`. A gap looks the same. The cells with tests are few, because your
# work is graded by others that you do not see: passing the ones you see is no proof.
#
# 1. Write where it says `raise NotImplementedError()` or `YOUR ANSWER HERE`.
# 2. *Kernel, Restart Kernel and Run All Cells*. What works only in the order in which you ran the cells fails later.
# 3. Save, and hand in the one notebook, under the name it has.
#
# Do not delete or copy the locked cells; cells of your own are welcome. What comes back is a page with points and, where a
# test knows it, the mistake.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} {{after}}
