"""A traced function: a closed symbolic jaxpr with its trees and the region it is valid in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from sod2jax import _compat
from sod2jax._compat import Atom, Jaxpr
from sod2jax.errors import counted
from sod2jax.ir import dims, foreign, trees
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.dims import Dim
from sod2jax.ir.region import Region


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A function traced once for a whole region of shapes.

    Attributes:
      name: name of the function.
      jaxpr: closed jaxpr whose avals carry symbolic dimensions.
      constants: closed-over arrays, in the order of ``_compat.all_constants``; every executable
        shares them.
      in_names: how a user would write each input, such as ``x['mask']``.
      out_tree: structure of the result; its static parts may hold symbolic sizes.
      region: the sizes that the symbols may take.
      guards: comparisons of sizes that the trace took for true.
      computed_dims: the dimensions whose true sizes the program computes, in the order of its last
        outputs, which are those sizes.
      data_dependent: the symbols whose true sizes are known only then.
      varying: where it was generalised from concrete traces, gives the constants that vary with
        the sizes (see ``generalise.VaryingConstants``); they are its last inputs.
      doubts: what the trace may have taken for granted without asking.
      numbers: what the host computes from the sizes for each call (see ``tracing.host_values``);
        they are the last inputs.
      host_sizes: the symbols whose true sizes that gives, too; no buckets are made of them.
      result_types: where the type of each result says that it lies; None where it does not.
    """

    name: str
    jaxpr: Jaxpr
    constants: tuple[Any, ...]
    in_names: tuple[str, ...]
    out_tree: Any
    region: Region
    guards: tuple[Comparison, ...] = ()
    computed_dims: tuple[Dim, ...] = ()
    data_dependent: frozenset[str] = frozenset()
    varying: Any = None
    doubts: tuple[str, ...] = ()
    host_sizes: frozenset[str] = frozenset()
    numbers: tuple[Any, ...] = ()
    result_types: tuple[Any, ...] = ()

    @functools.cached_property
    def opened(self) -> Jaxpr:
        """The jaxpr with what foreign primitives compute in their place, needed or not."""
        return foreign.opened(self.jaxpr, always=True)

    @functools.cached_property
    def has_sizes_in_tree(self) -> bool:
        """Whether the structure of the result differs from size to size."""
        return trees.has_sizes(self.out_tree)

    def tree(self, sizes: Mapping[str, int]) -> Any:
        """Structure of the result at some sizes, which its static parts may hold."""
        return trees.evaluated(self.out_tree, sizes) if self.has_sizes_in_tree else self.out_tree

    @property
    def in_shapes(self) -> tuple[tuple[Dim, ...], ...]:
        """Shape of each flat input, in dimensions."""
        return tuple(_shape(var) for var in self.jaxpr.invars)

    @property
    def out_shapes(self) -> tuple[tuple[Dim, ...], ...]:
        """Shape of each flat output, in dimensions."""
        return tuple(_shape(atom) for atom in self.jaxpr.outvars)

    @property
    def results(self) -> tuple[Any, ...]:
        """The outputs that are the function's own: those before the data-dependent sizes."""
        return tuple(self.jaxpr.outvars[: len(self.jaxpr.outvars) - len(self.computed_dims)])

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols known before it runs, sorted: the order of the vector of true sizes."""
        return tuple(name for name in self.region.names if name not in self.data_dependent)

    @property
    def bucket_symbols(self) -> tuple[str, ...]:
        """Those of ``symbols`` that buckets are made of."""
        return tuple(name for name in self.symbols if name not in self.host_sizes)

    @property
    def order(self) -> tuple[str, ...]:
        """The data-dependent symbols, in the order in which it computes them."""
        return tuple(str(d) for d in self.computed_dims if str(d) in self.data_dependent)

    @property
    def numbers_by_variable(self) -> dict[Any, Any]:
        """What the host computes, by the inputs that take it."""
        inputs = self.jaxpr.invars[len(self.jaxpr.invars) - len(self.numbers) :]
        return dict(zip(inputs, self.numbers, strict=True))

    def numbers_at(self, sizes: Mapping[str, int]) -> tuple[Any, ...]:
        """What the host computes at some sizes; None for what needs others to be known.

        Raises:
          TraceError: a number is not there what the trace took it for.
        """
        return tuple(x.at(sizes) if x.symbols <= sizes.keys() else None for x in self.numbers)

    def never_true(self, sizes: Mapping[str, int]) -> Comparison | None:
        """A guard about data-dependent sizes that no run with these known sizes can make true."""
        about = [guard for guard in self.guards if guard.symbols & self.data_dependent]
        region = self.region.below(sizes, sizes)
        return next((guard for guard in about if region.proves(guard.negated)), None)

    def __repr__(self) -> str:
        return f"Program({self._head})"

    @property
    def _head(self) -> str:
        return f"{self.name}: {counted(len(self.jaxpr.eqns), 'equation')}, for {self.region}"

    def with_jaxpr(self, jaxpr: Jaxpr, **changed: Any) -> Program:
        """The program with another jaxpr, whose constants are some of its own."""
        kept = positions(_compat.all_constants(jaxpr), _compat.all_constants(self.jaxpr))
        constants = tuple(self.constants[k] for k in kept)
        return dataclasses.replace(self, jaxpr=jaxpr, constants=constants, **changed)

    def __str__(self) -> str:
        inputs = [
            f"  {name}: {var.aval.str_short()}"
            for name, var in zip(self.in_names, self.jaxpr.invars, strict=True)
        ]
        guards = [
            f"  guard: {guard.plain}" + (f" at {guard.source}" if guard.source else "")
            for guard in self.guards
        ]
        return "\n".join([f"program {self._head}", *_shortened(inputs), *guards])


def positions(values: Iterable[Any], among: Iterable[Any]) -> list[int]:
    """Where each of some objects, itself and not its equal, stands among others."""
    places = {id(value): k for k, value in enumerate(among)}
    return [places[id(value)] for value in values]


def _shape(atom: Atom) -> tuple[Dim, ...]:
    return tuple(map(dims.from_jax, atom.aval.shape))


def _shortened(lines: list[str], most: int = 12) -> list[str]:
    if len(lines) <= most:
        return lines
    symbolic = lines[-(most // 2) :]
    return [*lines[: most // 2], f"  ... {len(lines) - 2 * (most // 2)} more inputs ...", *symbolic]
