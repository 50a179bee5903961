"""Every test starts from the same random numbers and computes on one thread, without a screen."""

import matplotlib
import pytest
import torch

matplotlib.use("agg")  # here and not in the environment: the kernels of notebooks draw inline
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)
