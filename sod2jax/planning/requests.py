"""What a program is searched for, and its traces at concrete sizes, which confirm programs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sod2jax.arguments.signature import solve
from sod2jax.errors import ShapeError, SpecError
from sod2jax.ir import dims
from sod2jax.ir.program import Program
from sod2jax.places import ANYWHERE, Places
from sod2jax.tracing.concrete import Concrete, traced_at
from sod2jax.tracing.regimes import Regime


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Request:
    """A function and arguments to find a program for.

    Attributes:
      key: the tree and what is static: calls that may share programs have it in common.
      function: takes the arguments by position.
      arguments: pytrees of arrays, or of what stands for arrays.
      donated: for each of these arrays, whether calls consume it.
      places: where they lie.
      commits: whether results are committed to the default device.
    """

    key: Any
    function: Callable[..., Any]
    arguments: Sequence[Any]
    donated: tuple[bool, ...] = ()
    places: Places = ANYWHERE
    commits: bool = False

    def __repr__(self) -> str:
        return f"Request({len(self.arguments)} arguments)"


class ConcreteTraces:
    """Traces at concrete sizes; those of programs without symbols are not made again.

    Args:
      count: is told how many traces are made.
    """

    def __init__(self, count: Callable[[int], None]):
        self._count = count
        self._known: dict[tuple[tuple[Any, Places], tuple[Any, ...]], Concrete] = {}

    def add(self, request: Request, regime: Regime, program: Program) -> None:
        """Remembers a program without symbols."""
        key = request.key, request.places
        self._known[key, _arrays(regime, {})] = Concrete(program.jaxpr, program.out_tree)

    def forget(self, key: Any) -> None:
        """Forgets those for requests of a key."""
        self._known = {each: c for each, c in self._known.items() if each[0][0] != key}

    def tracer(self, request: Request, regime: Regime) -> Callable[[Mapping[str, int]], Concrete]:
        """Gives the trace of a function at sizes of a regime; raises what the function raises."""
        tree = jax.tree.structure(tuple(request.arguments))

        def tracer(sizes: Mapping[str, int]) -> Concrete:
            known = self._known.get(((request.key, request.places), _arrays(regime, sizes)))
            if known is not None:
                return known
            self._count(1)
            return traced_at(request.function, tree, regime.leaves, sizes)

        return tracer

    def sizes(self, request: Request, regime: Regime) -> list[dict[str, int]]:
        """The sizes of a regime's symbols at which there are traces already."""
        ranks = [len(leaf.shape) for leaf in regime.leaves]
        known = []
        for key, arrays in self._known:
            shapes = [shape for shape, _, _ in arrays]
            if key != (request.key, request.places) or ranks != list(map(len, shapes)):
                continue
            leaves = [
                dataclasses.replace(leaf, aval=leaf.aval.update(shape=shape))
                for leaf, shape in zip(regime.leaves, shapes, strict=True)
            ]
            with contextlib.suppress(ShapeError, SpecError):
                known.append(solve(leaves))
        return known

    def __repr__(self) -> str:
        return f"ConcreteTraces({len(self._known)} known)"


def _arrays(regime: Regime, sizes: Mapping[str, int]) -> tuple[Any, ...]:
    """The arrays of a regime at sizes of its symbols."""
    return tuple(
        (tuple(dims.evaluate(d, sizes) for d in leaf.shape), leaf.aval.dtype, leaf.aval.weak_type)
        for leaf in regime.leaves
    )
