"""What of a generalised program varies with the sizes, read off a checked trace of each size."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison, violated
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region
from sod2jax.tracing.generalise.form import Form, same_value
from sod2jax.tracing.generalise.host_sizes import HostSize
from sod2jax.tracing.generalise.samples import Sampler


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """What the trace at some sizes says.

    Attributes:
      constants: that vary with the sizes.
      sizes: those of the call, and the host sizes.
    """

    constants: tuple[np.ndarray, ...]
    sizes: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Reading({len(self.constants)} constants at {dict(self.sizes)})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Generalised:
    """What the traces of all sizes must have in common.

    Attributes:
      form: the form of one of them.
      ints: the dimension of each of its integers.
      out_tree: structure of the result.
      varying: which of its constants vary.
      host_sizes: the integers that are no dimension of the others.
    """

    form: Form
    ints: tuple[Dim, ...]
    out_tree: Any
    varying: tuple[int, ...]
    host_sizes: tuple[HostSize, ...]

    def read(self, form: Form, out_tree: Any, sizes: Mapping[str, int]) -> Reading | None:
        """What a trace at some sizes says; None where it is another program."""
        if out_tree != self.out_tree or form.skeleton != self.form.skeleton:
            return None
        own = {host.name: host.read(form.ints) for host in self.host_sizes}
        known = {**sizes, **own}
        if any(dims.evaluate(d, known) != k for d, k in zip(self.ints, form.ints, strict=True)):
            return None
        pairs = zip(self.form.values, form.values, strict=True)
        same = [same_value(old, new) for old, new in pairs]
        if not all(same[k] for k in range(len(same)) if k not in self.varying):
            return None
        return Reading(tuple(np.asarray(form.values[k]) for k in self.varying), known)

    def __repr__(self) -> str:
        return f"Generalised({len(self.varying)} constants, {len(self.host_sizes)} host sizes)"


class VaryingConstants:
    """The constants and the host sizes of a program, from a checked trace of each size.

    Args:
      sampler: traces the function at concrete sizes.
      known: (sizes, form, tree of the result) of the traces that it made already.
      generalised: what all traces must have in common.
      region: the sizes that the program is for, host sizes among them.
      guards: what it takes for true.
      cause: why there is no symbolic trace.
    """

    def __init__(
        self,
        sampler: Sampler,
        known: Iterable[tuple[Mapping[str, int], Form, Any]],
        generalised: Generalised,
        region: Region,
        guards: tuple[Comparison, ...],
        cause: Exception,
    ):
        self.cause = cause
        self._sampler, self._generalised = sampler, generalised
        self._region, self._guards = region, guards
        self._lock = threading.Lock()
        self._sampled = {_key(sizes): (form, tree) for sizes, form, tree in known}
        self._known: dict[tuple[int, ...], Reading | None] = {}

    def at(self, sizes: Mapping[str, int]) -> Reading | None:
        """What varies, at true sizes; None where the function takes another course."""
        key = _key(sizes)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._read(self._sampled.pop(key, None), sizes)
            return self._known[key]

    @property
    def traces(self) -> int:
        """How many traces at concrete sizes were made."""
        return self._sampler.traces

    def _read(self, known: tuple[Form, Any] | None, sizes: Mapping[str, int]) -> Reading | None:
        if known is None:
            sampled = self._sampler(sizes)
            known = None if sampled is None else sampled[1:]
        if known is None:
            return None
        reading = self._generalised.read(*known, sizes)
        if reading is None or not self._region.contains(reading.sizes):
            return None
        of_host_sizes = tuple(g for g in self._guards if not g.symbols <= sizes.keys())
        return None if violated(of_host_sizes, reading.sizes) else reading

    def __str__(self) -> str:
        with self._lock:
            right = sum(reading is not None for reading in self._known.values())
            other = len(self._known) - right
        varying = len(self._generalised.varying)
        found = [f"{varying} of its constants vary with the sizes"] if varying else []
        lines = [
            "checked, not proved: generalised from traces at concrete sizes; each new size is "
            f"traced and compared before it runs: {right} fit so far, {other} run with exact "
            "shapes",
            *found,
            *map(str, self._generalised.host_sizes),
            f"The reason: {self.cause}",
        ]
        return "\n  ".join(lines)


def _key(sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[name] for name in sorted(sizes))
