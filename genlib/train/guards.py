"""What stands around a training: what is refused before it, and how it is asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import nn

from genlib.data import ImageSet
from genlib.train.config import Config, fingerprint
from genlib.train.devices import check_devices, compile_networks
from genlib.train.folder import RunError, RunFolder
from genlib.train.order import Order
from genlib.train.recipes import build_model, images_of
from genlib.training import check_batch_norm


def check(config: Config, data: ImageSet, model: nn.Module | None = None) -> None:
    """Refuse whatever would make the training fail, in one process and before anything is written.

    Raises:
        RunError, ValueError: with what to do.
    """
    check_devices(config)
    if model is None:
        images = images_of(data, config.conditional, config.binary)
        model = build_model(config.model, images, config.options)  # refuses what cannot be built
        if config.compile:
            compile_networks(model)
    order = Order(len(data), config.batch_size, config.seed)
    smallest = len(order.batch(order.batches - 1))
    check_batch_norm(model, smallest)
    if smallest < config.world_size:
        raise RunError(
            f"batches of {smallest} images cannot be shared out among {config.world_size} devices: "
            "take a larger --batch-size, or fewer devices"
        )


def go_back_to_checkpoint(config: Config, data: ImageSet, folder: RunFolder) -> None:
    """Take from a run's folder what its last checkpoint does not know of.

    Raises:
        RunError: the images are not those it began with, or a file is damaged.
    """
    if folder.read_config()["images"]["sha256"] != fingerprint(data):
        raise RunError(
            f"the images of {config.data} are not those the run in {folder.path} began with: "
            "set GENLIB_DATA to the folder they were in, or train anew"
        )
    folder.clean()
    step = folder.load()[1]["step"] if folder.checkpoint.exists() else 0
    folder.forget_after(step)


class CanStop(Protocol):
    """A training that ends after its current update once `stop` is not 0."""

    stop: int


@contextmanager
def stop_when_asked(training: CanStop) -> Iterator[None]:
    """Ctrl-C, or a SIGTERM from a cluster's scheduler, ends the training after the current update.

    A second one ends it at once.
    """
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
