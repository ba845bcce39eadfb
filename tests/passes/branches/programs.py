"""Functions with branches, and what became of their conds."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import sod2jax
from sod2jax.ir.jaxprs import equations
from tests.harnesses.base import Arg, Harness

INDEX = Arg((), np.int32, lambda rng, shape: rng.integers(-2, 5, shape))
S, BS, FLAG = Arg("s"), Arg("b, s"), Arg((), np.bool_)


def heavy(x: jax.Array) -> jax.Array:
    """Work that no bucket makes cheap: far more than a branch costs."""
    return x * (2 + jnp.cos(jnp.linspace(0, 1, 8192) + lax.logistic(x.mean()))).mean()


def heavier(x: jax.Array) -> jax.Array:
    return heavy(heavy(x) - 1) + jnp.sort(x)


def analysed(fun: Callable[..., Any], *args: Arg, **options: Any) -> Any:
    """The analysis of a function; symbols go up to 64."""
    harness = Harness("", fun, args)
    options.setdefault("constraints", tuple(f"{name} <= 64" for name in harness.symbols))
    specs = tuple(arg.spec if isinstance(arg.spec, str) else None for arg in args)
    optimized = sod2jax.optimize(fun, shapes=specs, on_unsupported="error", **options)
    sizes = dict.fromkeys(harness.symbols, 5)
    return optimized.analyse(*(arg.values(np.random.default_rng(0), sizes) for arg in args))


def counts(jaxpr: Any) -> collections.Counter[str]:
    """How many equations of each primitive there are, at any depth."""
    return collections.Counter(eqn.primitive.name for eqn in equations(jaxpr))


def conds(analysis: Any) -> list[Any]:
    return [eqn for eqn in equations(analysis.program.jaxpr) if eqn.primitive.name == "cond"]


def reasons(analysis: Any, what: str) -> list[str]:
    """The reasons of the remarks whose text starts so."""
    return [change.reason for change in analysis.remarks if change.what.startswith(what)]
