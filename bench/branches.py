"""What a branch costs on XLA: `cond` against `select`, by kind and size of the work it guards.

    python bench/branches.py

prints microseconds for one branch, the branch with work taken and not taken, beside what
`sod2jax.passes.branches.select` decides for these branches. Chains of branches are timed, so that
what XLA fuses across a select shows; the best of many runs counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sod2jax.cost import Counter
from sod2jax.ir.region import Region
from sod2jax.passes.branches.select import judge
from sod2jax.target import Target

CHAIN = 8
SECONDS = 0.3  # for one number
WORK: dict[str, Callable[[jax.Array], jax.Array]] = {
    "add": lambda x: x + 1,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
    "matmul": lambda x: x @ jnp.eye(x.shape[0]),
}
SIZES = {
    "add": (1, 4096, 65536, 524288),
    "tanh": (1, 4096, 16384, 65536),
    "softmax": (1, 1024, 8192, 65536),
    "matmul": (1, 16, 32, 64),
}


def chained(work: Callable[[jax.Array], jax.Array], branch: bool) -> Callable[..., jax.Array]:
    """A chain of branches, or of selects, each of its own predicate."""

    def idle(x: jax.Array) -> jax.Array:
        return x * 1.01

    def run(predicates: jax.Array, x: jax.Array) -> jax.Array:
        for k in range(CHAIN):
            p = predicates[k]
            x = lax.cond(p, work, idle, x) if branch else jnp.where(p, work(x), idle(x))
        return x

    return run


def microseconds(compiled: Any, *args: Any) -> float:
    """Best time of a call."""
    best, end = np.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def row(name: str, size: int) -> str:
    """One line of the table."""
    x = jnp.full((size, size) if name == "matmul" else (size,), 0.5)
    run = chained(WORK[name], branch=True)
    eqns = jax.jit(run).trace(np.zeros(CHAIN, bool), x).jaxpr.eqns
    cond = next(eqn for eqn in eqns if eqn.primitive.name == "cond")
    judgement = judge(cond, Counter(), Region(()), Target.default())
    times = []
    for taken in (np.ones(CHAIN, bool), np.zeros(CHAIN, bool)):
        for branch in (True, False):
            compiled = jax.jit(chained(WORK[name], branch)).lower(taken, x).compile()
            start = microseconds(jax.jit(lambda p, x: x).lower(taken, x).compile(), taken, x)
            times.append((microseconds(compiled, taken, x) - start) / CHAIN)
    taken_cond, taken_select, idle_cond, idle_select = (f"{t:8.2f}" for t in times)
    decided = "select" if judgement.selects else "cond"
    return f"{name:8} {size:7} {taken_cond} {taken_select}   {idle_cond} {idle_select}   {decided}"


def main() -> None:
    """Prints the table."""
    print("                   work taken         work not taken")
    print("work        size     cond   select       cond   select   decision")
    for name in WORK:
        for size in SIZES[name]:
            print(row(name, size), flush=True)


if __name__ == "__main__":
    main()
