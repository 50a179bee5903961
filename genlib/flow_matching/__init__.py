"""Flow matching: a velocity that carries noise to data, learnt by regression on straight lines."""

from genlib.flow_matching.coupling import optimal_transport
from genlib.flow_matching.flow_matching import FlowMatching
from genlib.flow_matching.mean_flow import MeanFlow
from genlib.flow_matching.paths import LinearPath, Path, VariancePreservingPath, ideal_velocity
from genlib.flow_matching.straight import reflow_pairs, straightness

__all__ = [
    "FlowMatching", "LinearPath", "MeanFlow", "Path", "VariancePreservingPath", "ideal_velocity",
    "optimal_transport", "reflow_pairs", "straightness",
]  # fmt: skip
