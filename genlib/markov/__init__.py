"""Models that draw by a Markov chain: one explicit but for a constant, one given by its chain alone."""

from genlib.markov.ais import annealed_importance
from genlib.markov.gsn import GSN
from genlib.markov.rbm import RBM, PersistentRBM
