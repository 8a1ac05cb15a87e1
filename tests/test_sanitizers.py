"""The address sanitiser over features and decisions, with heap buffers of their very size."""

import shutil
import subprocess

import pytest

from mcu_codegen.emit.decision import emit_decision
from mcu_codegen.emit.frontend import emit_frontend
from mcu_codegen.listen import frontend
from mcu_codegen.listen.decision import Decision

_MAIN = """\
#include "kws_decision.h"
#include "kws_frontend.h"

#include <stdlib.h>

int main(int count, char **arguments)
{
    int16_t *hop = malloc(KWS_FRONTEND_HOP * sizeof *hop);
    int8_t *features = malloc(KWS_FRONTEND_COEFFICIENTS);
    int8_t *scores = malloc(4);
    uint32_t state = 1u;
    volatile int8_t last;
    kws_decision_detection detection;

    (void)arguments;
    if (kws_frontend_selftest() != 0 || kws_decision_selftest() != 0) {
        return 2;
    }
    kws_frontend_reset();
    kws_decision_reset();
    for (int32_t step = 0; step < 400; step++) {
        for (int32_t i = 0; i < KWS_FRONTEND_HOP; i++) {
            state = state * 1664525u + 1013904223u;
            hop[i] = (int16_t)(step % 3 == 0 ? 32767 : (int32_t)(state >> 16) - 32768);
        }
        (void)kws_frontend_push(hop, features);
        for (int32_t i = 0; i < 4; i++) {
            scores[i] = (int8_t)((int32_t)(state >> (8 * i) & 255u) - 128);
        }
        if (kws_decision_hop()) {
            (void)kws_decision_step(scores, &detection);
        }
    }
    last = features[KWS_FRONTEND_COEFFICIENTS - (count == 1)]; /* with an argument: one too far */
    free(hop);
    free(features);
    free(scores);
    (void)last;
    return 0;
}
"""


@pytest.mark.parametrize("preset", frontend.PRESETS)
def test_features_and_decisions_stay_in_their_buffers(tmp_path, preset):
    """The control, one byte too far, shows that the sanitiser is awake."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is absent")
    sources = emit_frontend(frontend.PRESETS[preset])
    sources |= emit_decision(Decision(), ["_silence_", "_unknown_", "yes", "no"]) | {"main.c": _MAIN}
    for file, text in sources.items():
        (tmp_path / file).write_text(text)
    options = ["-std=c99", "-O1", "-g", "-fsanitize=address"]
    build = ["gcc", *options, "-o", "main", *(file for file in sources if file.endswith(".c"))]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    if "-lasan" in done.stderr:
        pytest.skip("gcc has no address sanitiser here")
    assert done.returncode == 0, done.stderr
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    control = subprocess.run([tmp_path / "main", "beyond"], capture_output=True, text=True)
    assert control.returncode != 0 and "heap-buffer-overflow" in control.stderr
