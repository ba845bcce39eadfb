"""Memory plans: when each buffer of a program is live, where it goes, and what that adds up to."""

from __future__ import annotations

from sod2jax.memory.arena import Allocation, lower_bound, overlaps, plan_offsets
from sod2jax.memory.liveness import Buffer, live_ranges
from sod2jax.memory.plan import MemoryPlan, XlaMemory, plan_memory

__all__ = [
    "Allocation",
    "Buffer",
    "MemoryPlan",
    "XlaMemory",
    "live_ranges",
    "lower_bound",
    "overlaps",
    "plan_memory",
    "plan_offsets",
]
