"""What stands around a training: what is refused before it, and how it is asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from genlib.data import ImageSet
from genlib.train.config import Config, fingerprint
from genlib.train.devices import check_devices
from genlib.train.folder import RunError, RunFolder
from genlib.train.order import Order
from genlib.training import check_batch_norm


def check(config: Config, n_images: int, model: nn.Module) -> None:
    """Refuse whatever would make the training fail, in one process and before anything is written."""
    check_devices(config)
    smallest = n_images // Order(n_images, config.batch_size, config.seed).batches
    check_batch_norm(model, smallest)
    if smallest < config.world_size:
        raise RunError(
            f"batches of {smallest} images cannot be shared out among {config.world_size} devices: "
            "take a larger --batch-size, or fewer devices"
        )


def go_back_to_checkpoint(config: Config, data: ImageSet, folder: RunFolder) -> None:
    """Take from a run's folder what its last checkpoint does not know of; other images are refused."""
    if folder.read_config()["images"]["sha256"] != fingerprint(data):
        raise RunError(
            f"the images of {config.data} are not those the run in {folder.path} began with: "
            "set GENLIB_DATA to the folder they were in, or train anew"
        )
    folder.clean()
    step = folder.load()[1]["step"] if folder.checkpoint.exists() else 0
    folder.forget_after(step)


@contextmanager
def stop_when_asked(training: Any) -> Iterator[None]:
    """Ctrl-C, or a SIGTERM from a cluster's scheduler, sets `training.stop`; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if training.stop:
            raise KeyboardInterrupt
        training.stop = 1

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
