"""What the machine that measures calls itself."""

import platform
import re
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """What the GPU, or else the processor, calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # another system than Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
