"""Training beyond the notebook: recipes by name, a folder for each run, the loops on many devices.

`python -m genlib` is the door to it. `loop` and `devices` bring Lightning Fabric, which takes seconds to
import, so they are imported where a training begins.
"""

from genlib.train.config import Config, load_model, read_run
from genlib.train.folder import RunError, RunFolder
from genlib.train.recipes import (
    RECIPES,
    Images,
    Recipe,
    build_model,
    images_of,
    read_options,
    recipe,
)
