"""Whether anything rises above the noise: where nothing does, no inference need run. In integers; the specification.

The *level* of a frame is the sum of its codes, of MFCC the first code: a logarithm of its power either way, averaged
over the bands. The *floor* follows it, quickly down and slowly up, so that it stays near the noise between words; it
begins at the level of digital silence. A frame whose level exceeds the floor by more than `margin` is *loud*.

The loop begins awake. Whenever the decision is due,

- awake, it runs an inference; after `hold_hops` frames of which none was loud it falls asleep behind that one;
- asleep, it runs none, and the decision takes no step, unless one of the frames since it was last due is loud: then it
  wakes. The network first hears, in their order, those frames and the `lead_hops` before them, as far as it has not
  heard them, and runs.

So the network hears a stream from which stretches of noise are cut out; there is no other difference. What is scored
are windows of the frames that were heard, by a whole network and by its step alike. `hold_hops` is as long as the
window, so that a cut never touches a word that was loud, and what stands before a word in its window is noise of the
same room, if earlier noise.
`emit.activity` writes the same as C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .frontend import SAMPLE_RATE, FrontEnd

FLOOR_BITS = 10  # of a fraction of the floor
FALL, RISE = 6, 9  # a frame moves the floor by the 64th of its way to a lower level, the 512th of that to a higher one
MARGIN = 3.0  # dB
_LEAD = 0.2  # seconds
_LIMITS = (0.1, 40.0)  # dB


@dataclass(frozen=True)
class Activity:
    """What the loop sleeps by."""

    summed: int  # codes of a frame that are its level
    silence: int  # the level of digital silence
    margin: int  # codes, of a level
    hold_hops: int
    lead_hops: int  # whole strides of the decision, so that steps go on where they would

    @staticmethod
    def of(front_end: FrontEnd, window: int, stride_hops: int, decibels: float = MARGIN) -> Activity:
        """For a network that hears `window` frames. Raises InputError where a margin of `decibels`, of power averaged
        over the bands, is none."""
        if not _LIMITS[0] <= decibels <= _LIMITS[1]:
            raise InputError(f"--skip-silence {decibels:g}: {_LIMITS[0]:g} to {_LIMITS[1]:g} dB are accepted")
        mel = front_end.coefficients == front_end.bands
        summed = front_end.coefficients if mel else 1
        codes = front_end.bands if mel else front_end.bands**0.5  # of a level that is one nat of `scale` 1 louder
        nats = decibels * np.log(10) / 10
        strides = -(-round(_LEAD * SAMPLE_RATE / front_end.hop) // stride_hops)
        return Activity(
            summed,
            int(front_end.floor_codes[:summed].sum(dtype=np.int32)),
            max(1, round(nats * codes / front_end.scale)),
            max(window, stride_hops),
            strides * stride_hops,
        )

    def watch(self, features: np.ndarray, due: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """bool[frames], whether the network ever hears each of int8 `features` [frames, coefficients]; bool[len(due)],
        whether an inference runs. `due` are how many frames there are whenever the decision is due."""
        levels = features[:, : self.summed].sum(axis=1, dtype=np.int64).tolist()
        heard, awake = np.ones(len(levels), bool), np.ones(len(due), bool)
        floor = self.silence << FLOOR_BITS
        quiet, asleep, before, slept = 0, False, 0, 0
        for inference, count in enumerate(due):
            for level in levels[before:count]:
                scaled = level << FLOOR_BITS
                quiet = 0 if scaled > floor + (self.margin << FLOOR_BITS) else quiet + 1
                floor += (scaled - floor) >> (FALL if scaled < floor else RISE)
            if not asleep:
                asleep, slept = quiet >= self.hold_hops, count
            elif quiet < count - before:
                asleep = False
                heard[slept : max(slept, before - self.lead_hops)] = False
            else:
                awake[inference] = False
            before = count
        if asleep:
            heard[slept:] = False
        return heard, awake
