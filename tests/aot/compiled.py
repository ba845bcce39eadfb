"""Models compiled for a device that is not there, beside plain `jax.jit` at the same shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import sod2jax
from sod2jax.bench.suite import load_file
from sod2jax.memory import XlaMemory
from sod2jax.runtime.compile import Executable
from sod2jax.target import Target

SUITES = Path(__file__).resolve().parents[2] / "bench" / "suites"


def both(name: str, device: Any, size: str = "tiny") -> tuple[XlaMemory, XlaMemory]:
    """What XLA assigns to a model's largest bucket, and to `jax.jit` at the shape of that."""
    suite = load_file(SUITES / f"{name}.py").SUITE.build(
        size, batch=1, requests=1, seed=0, weights=None
    )
    fun = sod2jax.optimize(
        suite.fun,
        shapes=suite.shapes,
        constraints=suite.constraints,
        buckets={symbol: (most,) for symbol, most in suite.maximum.items()},
        tune="off",
        audit=False,
        on_unsupported="error",
    )
    arguments = (suite.params, *suite.requests[0])
    fun.compile(*arguments, target=device)
    (executable,) = fun.planner.specialisations[0].ready
    plain = exact(suite.fun, arguments, executable, Target.of(device))
    return XlaMemory.of(executable.call), XlaMemory.of(plain)


def exact(fun: Any, arguments: Sequence[Any], executable: Executable, target: Target) -> Any:
    """`jax.jit` at the padded shapes, with the same compiler options."""
    leaves, tree = jax.tree.flatten(tuple(arguments))
    specs = [
        target.placed(jax.ShapeDtypeStruct(shape, jax.typeof(leaf).dtype))
        for shape, leaf in zip(executable.in_shapes, leaves, strict=True)
    ]
    traced = jax.jit(fun).trace(*jax.tree.unflatten(tree, specs))
    return traced.lower().compile(compiler_options=dict(target.compiler_options) or None)
