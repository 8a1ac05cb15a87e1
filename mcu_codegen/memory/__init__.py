"""The static memory plan: where every activation, persistent tensor and scratch buffer lies in one arena.

`demand` is what kernels ask for, `lifetimes` what lives when, what may lie on what, and the least that any arena can
have; `packing` searches offsets, `plan` puts it together, and `check` proves the result by playing it. `order` looks
for an order of the operators in which less lives at once.
"""

from .check import check
from .demand import ALIGNMENT, Demand, Over
from .order import ordered
from .plan import Block, EntryPlan, Place, Plan, needs, plan

__all__ = ["ALIGNMENT", "Block", "Demand", "EntryPlan", "Over", "Place", "Plan", "check", "needs", "ordered", "plan"]
