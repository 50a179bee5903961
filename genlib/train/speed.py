"""The names by which benchmarks/scale.py knows the flags of speed."""

from genlib.train.devices import compile_networks, use_tf32

__all__ = ["compile_networks", "use_tf32"]
