"""The kernel of an early exit's head, which may be another at run time."""

from __future__ import annotations

from ... import lower
from ..kernel import Kernel, Kernels, Site, fill, plus


class Heads(Kernels):
    """Portable C99. Heads are a hundredth of a network, and their weights must lie as learning writes them."""

    def head(self, op: lower.FullyConnected, number: int, site: Site) -> Kernel:
        """FULLY_CONNECTED of one row, with the weights and biases of the exit `number` in the table of `emit.exits`."""
        code, arrays = self.quantize(op.requantization, "sum", site)
        return Kernel(
            fill(
                """
                const int8_t *weights = ${prefix}_exits[$number].weights;
                const int32_t *const bias = ${prefix}_exits[$number].bias;

                for (int32_t channel = 0; channel < $channels; channel++) {
                    int32_t sum = bias[channel];

                    for (int32_t i = 0; i < $depth; i++) {
                        sum += (input[i]$less) * *weights++;
                    }
                    output[channel] = $code;
                }
                """,
                prefix=site.prefix,
                number=number,
                channels=len(op.weights),
                depth=op.weights.shape[1],
                less=plus(-op.input_zero_point),
                code=code,
            ),
            arrays=arrays,
            helpers=("quantize",),
            macs=op.weights.size,
        )
