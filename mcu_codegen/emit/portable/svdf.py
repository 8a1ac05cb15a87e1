"""The kernel of SVDF."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ... import arithmetic, lower
from ...graph import Tensor
from ...memory import ALIGNMENT, Demand
from ..kernel import Array, Kernel, Kernels, Site, ctype, fill, nest


class SvdfKernel(Kernels):
    """Portable C99, but for the products of filters with values, which have the kernels of FULLY_CONNECTED."""

    def svdf(self, op: lower.Svdf, site: Site) -> Kernel:
        """What the filters give is in ``scratch``, the scratch of their kernel behind it."""
        filters, moments = op.time.shape
        codes = Tensor("", (1, filters), op.time.dtype.name)
        filtered = self.render(op.features, Site(site.prefix, site.inputs[:1], codes))
        behind = -(-codes.bytes // ALIGNMENT) * ALIGNMENT
        scratch = f"(scratch + {behind})" if filtered.demand.scratch_bytes else "scratch"
        # the zero point's share of each sum, which wraps as all of it does
        shares = op.state_zero_point * op.time.astype(np.int64).reshape(len(op.bias), -1).sum(axis=1)
        code, _ = self.quantize(op.requantization, "(int32_t)sum", site)
        body = fill(
            """
            $codes *const newest = ($codes *)(void *)scratch;
            {
                $codes *filtered = newest;

                $filter
            }
            $shift
            $append
            for (int32_t unit = 0; unit < $units; unit++) {
                uint32_t sum = (uint32_t)unit_bias[unit];

                for (int32_t i = unit * $terms; i < (unit + 1) * $terms; i++) {
                    sum += (uint32_t)(state[i] * time[i]);
                }
                output[unit] = $code;
            }
            """,
            codes=ctype(codes),
            filter=re.sub(r"\bscratch\b", scratch, re.sub(r"\boutput\b", "filtered", filtered.body)),
            append=nest([("i", filters)], f"state[i * {moments} + {moments - 1}] = newest[i];"),
            units=len(op.bias),
            terms=op.rank * moments,
            code=code,
            shift=nest([("i", filters * moments - 1)], "state[i] = state[i + 1];"),
        )
        arrays = (
            *filtered.arrays,
            Array("time", ctype(codes), op.time),
            Array("unit_bias", "int32_t", arithmetic.wrap32(op.bias - shares)),
        )
        return replace(
            filtered,
            body=body,
            demand=Demand(behind + filtered.demand.scratch_bytes),
            states=("state",),
            arrays=arrays,
            helpers=tuple(dict.fromkeys((*filtered.helpers, self.quantizer(op.requantization)))),
            macs=filtered.macs + op.time.size,
        )
