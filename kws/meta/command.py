"""kws meta: the verbs of few-shot learning."""

from __future__ import annotations

VERBS = {
    "train": ("kws.meta.train", "Train a network so that a few clips teach it new words, or a new speaker"),
    "prune": ("kws.meta.prune", "Remove most weights of a meta-trained network, the least important for adaptation"),
    "adapt": ("kws.meta.adapt", "Teach a network, or one user, a new word by a few clips of it"),
    "evaluate": ("kws.meta.evaluate", "Accuracy after adaptation, over tasks of words that no training has heard"),
}
