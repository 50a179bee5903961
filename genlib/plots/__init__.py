"""Figures of the course: each comes from one call, in one style.

Every function draws a new figure and leaves it open, so that a notebook shows it below the cell.
Importing this package puts the style on every later figure, a student's own included. Colours are
from Okabe & Ito's palette, which colour-blind readers can tell apart.
"""

from genlib.plots.codes import empty_cells, show_code_grid, show_codes
from genlib.plots.curves import show_curves, show_points
from genlib.plots.images import drawn_so_far, show_images, show_rows
from genlib.plots.style import (
    BLUE,
    COLOURS,
    GREEN,
    NOT_THERE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    TEN_COLOURS,
)
from genlib.plots.tables import show_tables
