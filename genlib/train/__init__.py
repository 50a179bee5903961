"""Training beyond the notebook: recipes by name, a folder for each run, the loops on many devices.

`python -m genlib` runs it. `loop` and `devices` bring Lightning Fabric, which takes seconds to
import, so they are imported where a training begins.
"""

from genlib.train.builders import Images, images_of
from genlib.train.config import Config, load_model, read_run
from genlib.train.folder import RunError, RunFolder
from genlib.train.recipes import RECIPES, Recipe, build_model, read_options, recipe
