"""The ways to run variable-size requests through JAX that the bench compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

import sod2jax
from sod2jax.bench.suite import Inputs, Suite
from sod2jax.memory import XlaMemory

REFERENCE = "jit-exact"
PADDED_BY_HAND = ("jit-pad-max", "jit-pow2")
SMALLEST_BUCKET = 16


@dataclass(frozen=True)
class Method:
    """One way to run a suite.

    Attributes:
      call: inputs -> output of the true size.
      sizes: inputs -> the sizes that the call computes with.
      peak_bytes: inputs -> XLA's peak for the executable that runs them, arguments included; None
        where the backend does not say.
    """

    call: Callable[[Inputs], Any]
    sizes: Callable[[Inputs], Mapping[str, int]]
    peak_bytes: Callable[[Inputs], int | None]


def _jit_exact(suite: Suite) -> Method:
    """`jax.jit` as it is: a trace and a compile for every new shape."""
    jitted = jax.jit(suite.fun)
    return Method(
        call=lambda inputs: jitted(suite.params, *inputs),
        sizes=suite.dims,
        peak_bytes=lambda inputs: _jit_peak(jitted, suite.params, inputs),
    )


def _jit_pad_max(suite: Suite) -> Method:
    """Everything padded by hand to the maximum: one executable."""
    return _padded(suite, lambda _: dict(suite.maximum))


def _jit_pow2(suite: Suite) -> Method:
    """Padded by hand to powers of two from 16, the last capped at the maximum."""

    def bucket(dims: Mapping[str, int]) -> dict[str, int]:
        return {name: min(next_power_of_two(n), suite.maximum[name]) for name, n in dims.items()}

    return _padded(suite, bucket)


def _padded(suite: Suite, bucket: Callable[[Mapping[str, int]], dict[str, int]]) -> Method:
    pad, trim = suite.pad, suite.trim
    if pad is None or trim is None:
        raise ValueError(f"the suite {suite.name} is not padded by hand")
    jitted = jax.jit(suite.fun)

    def sizes(inputs: Inputs) -> dict[str, int]:
        return bucket(suite.dims(inputs))

    def call(inputs: Inputs) -> Any:
        dims = suite.dims(inputs)
        return trim(jitted(suite.params, *pad(inputs, bucket(dims))), dims)

    def peak_bytes(inputs: Inputs) -> int | None:
        return _jit_peak(jitted, suite.params, pad(inputs, sizes(inputs)))

    return Method(call, sizes, peak_bytes)


def _sod2jax(suite: Suite) -> Method:
    """The function of `jit-exact`, decorated; nothing padded or masked by hand."""
    optimized = sod2jax.optimize(suite.fun, shapes=suite.shapes, constraints=suite.constraints)

    # A call that runs with its exact shape has no bucket.
    def sizes(inputs: Inputs) -> Mapping[str, int]:
        return optimized.bucket_for(suite.params, *inputs) or suite.dims(inputs)

    def peak_bytes(inputs: Inputs) -> int | None:
        bucket = optimized.bucket_for(suite.params, *inputs)
        if bucket is None:
            return _jit_peak(jax.jit(suite.fun), suite.params, inputs)
        figures = optimized.memory_plan(bucket).xla
        return None if figures is None else _total(figures)

    return Method(lambda inputs: optimized(suite.params, *inputs), sizes, peak_bytes)


def next_power_of_two(n: int) -> int:
    """The smallest power of two that is at least `n` and at least 16."""
    return max(SMALLEST_BUCKET, 1 << (n - 1).bit_length())


def _jit_peak(jitted: Any, params: Any, inputs: Inputs) -> int | None:
    """Peak bytes of the executable for `inputs`; JAX keeps it if `jitted` has run them."""
    return _total(XlaMemory.of(jitted.lower(params, *inputs).compile()))


def _total(xla: XlaMemory) -> int | None:
    """Arguments, outputs and temporaries: they exist at once while an executable runs.

    XLA's own peak is not used, because on CPU it leaves the temporaries out.
    """
    if xla.argument_bytes is None or xla.output_bytes is None or xla.temp_bytes is None:
        return None
    total = xla.argument_bytes + xla.output_bytes + xla.temp_bytes
    return total - (xla.alias_bytes or 0)


METHODS: dict[str, Callable[[Suite], Method]] = {
    REFERENCE: _jit_exact,
    "jit-pad-max": _jit_pad_max,
    "jit-pow2": _jit_pow2,
    "sod2jax": _sod2jax,
}
