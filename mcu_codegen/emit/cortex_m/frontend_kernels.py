"""What the front ends of all instruction sets share: how C calls their kernels, and tables as these read them."""

from __future__ import annotations

import numpy as np

from ...listen import frontend
from ..portable.frontend import FrontEndRenderer, Stage, Table
from .assembly import Assembly
from .guard import guard

BANDS = (
    "const void *power",
    "const uint16_t *weights",
    "const uint8_t *bins",
    "uint16_t *logs",
    "const uint16_t *chords",
)
"""Parameters of what makes logarithms of bands: powers, their weights, bins of each interval up to a 0, logarithms,
chords."""


class KernelFrontEnd(FrontEndRenderer):
    """An instruction set that has kernels."""

    def __init__(self, front_end: frontend.FrontEnd) -> None:
        """Raises ValueError where kernels would not cover the frame: two quarters in the history, whatever is kept or
        heard ending between the sixteenths of its quarters, and bands by eights."""
        super().__init__(front_end)
        sizes = (front_end.window, front_end.hop, self.history)
        if any(size % 32 for size in sizes) or self.history < frontend.FFT // 2 or front_end.bands % 8:
            raise ValueError(
                f"front end '{front_end.name}': no kernels for {front_end.bands} bands, a window of {front_end.window},"
                f" a hop of {front_end.hop} and a history of {self.history} samples"
            )

    def bands(self) -> Assembly:
        """Sums up powers into bands, and takes the logarithm of each. Parameters: `BANDS`."""
        raise NotImplementedError

    def copy(self) -> Assembly:
        """Copies to lower or other addresses. Parameters: to, from, count of bytes, a multiple of 16."""
        raise NotImplementedError

    def shared(self) -> Stage:
        return Stage(guard(self.instruction_set).text)

    def function(self, assembly: Assembly, name: str) -> str:
        """The C function kws_frontend_<name>. Raises Unencodable."""
        return assembly.helper(name).text.replace("${prefix}", "kws_frontend") + "\n"

    def frame(self, quarters: Assembly, weights: np.ndarray, about: str) -> Stage:
        """load_frame by a kernel that takes 16 points of each quarter of the frame at a time. It is called with where
        the first of them goes, a row of `weights`, and samples of the first, third and fourth quarter."""
        load = _LOAD_FRAME.replace("@WEIGHTS@", str(weights.shape[1]))
        return Stage(self.function(quarters, "quarters") + load, (Table("uint16_t", "window", weights, about),))

    def mel_logs(self) -> Stage:
        ended = np.append(self.tables.interval_bins, 0)
        bins = Table("uint8_t", "interval_bins", ended, "Bins between neighbouring centres of mel bands, and the end.")
        return Stage(self.function(self.bands(), "bands") + _MEL_LOGS, (bins, self.rising, self.log2_chords))

    def keep(self) -> Stage:
        move = _MOVE if self.history > self.front_end.hop else ""
        return Stage(self.function(self.copy(), "copy") + _KEEP.replace("@MOVE@", move))


def window_to_the_end(renderer: FrontEndRenderer) -> np.ndarray:
    """int32[512], Q15: the window, and zeros up to the transform's size."""
    return np.pad(renderer.tables.window, (0, frontend.FFT - renderer.front_end.window))


def twiddles(renderer: FrontEndRenderer, turns: np.ndarray) -> np.ndarray:
    """int32 (*turns.shape, 2): cosine and -sine of turns / 512 of a circle, below three quarters: Q31 of the
    specification's Q15. One becomes a little less, which by rounding gives the same products below 2**30."""
    parts = frontend.twiddle(turns, renderer.tables.minus_sine)
    return np.minimum(np.stack(parts, axis=-1).astype(np.int64) << 16, 2**31 - 1).astype(np.int32)


_MEL_LOGS = """\
static void mel_logs(void)
{
    kws_frontend_bands(&arena.bins[FIRST_BIN], rising, interval_bins, arena.logs, log2_chords);
}
"""

_LOAD_FRAME = """\
/* Where the window's sample `index` is, in the history or in the hop; behind both, anything with a weight of 0. */
static const int16_t *sample(const int16_t *hop, uint32_t index)
{
    return index >= HISTORY && index < KWS_FRONTEND_WINDOW ? hop + (index - HISTORY) : arena.history + index % HISTORY;
}

static void load_frame(const int16_t *hop)
{
    for (uint32_t part = 0; part < 4u; part++) {
        const uint32_t first = 32u * part;

        kws_frontend_quarters(&arena.bins[4u * part], window + @WEIGHTS@u * part, arena.history + first,
                              sample(hop, 256u + first), sample(hop, 384u + first));
    }
}
"""

_KEEP = """\
static void keep(const int16_t *hop)
{
    enum { KEPT = HISTORY - KWS_FRONTEND_HOP };

@MOVE@    kws_frontend_copy(arena.history + KEPT, hop, KWS_FRONTEND_HOP * sizeof *hop);
}
"""

_MOVE = """\
    kws_frontend_copy(arena.history, arena.history + KWS_FRONTEND_HOP, KEPT * sizeof *hop);
"""
