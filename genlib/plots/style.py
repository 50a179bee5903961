"""The one style of all figures, and its colours."""

import matplotlib.pyplot as plt

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, SKY, PURPLE = "#D55E00", "#56B4E9", "#CC79A7"
COLOURS = [BLUE, ORANGE, GREEN, RED, PURPLE, SKY]
# for labels, which are also written as numbers: six of the palette, and four that differ from them in brightness
TEN_COLOURS = [*COLOURS, "black", "0.6", "#7B3F00", "#8C8C00"]
NOT_THERE = "#B7CDE2"
# set for good and not in plt.rc_context: leaving that context undoes the choice of the notebook's
# backend if the first figure made it, and no later figure is shown
STYLE = {
    "font.size": 12,  # read from the last row of a lecture hall: nothing is smaller
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
}
plt.rcParams.update(STYLE)
