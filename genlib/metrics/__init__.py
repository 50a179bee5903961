"""How good a model is: likelihoods, distances between samples and data, and what is known exactly on `bars`."""

from genlib.metrics.bars import bars_counts, bars_kl, bars_report
from genlib.metrics.comparison import format_table, report
from genlib.metrics.features import FeatureClassifier, train_classifier
from genlib.metrics.frechet import frechet_distance, gaussian_frechet
from genlib.metrics.likelihood import LogLikelihood, bits_per_dim, log_likelihood, log_probs
from genlib.metrics.modes import mode_counts, mode_coverage
from genlib.metrics.precision_recall import nearest_neighbours, precision_recall
