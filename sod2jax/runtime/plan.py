"""What a plan of a call is, and what running it comes to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sod2jax import _compat
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir import dims
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.program import Program
from sod2jax.transfer import trim


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
      bucket: where it ran, or its first part did.
      elements: (true, padded) elements of the symbolic inputs.
      result: the function's result, if the run holds.
      sizes: the data-dependent sizes that it computed, in order.
      violated: the guards that they violate.
      holds: whether everything that the program was traced under turned out true.
    """

    bucket: Bucket
    elements: tuple[int, int]
    result: Any = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    violated: tuple[Comparison, ...] = ()
    holds: bool = True


@dataclasses.dataclass(frozen=True)
class Landing:
    """Where the results of a call are to lie.

    Attributes:
      places: of each; none where all lie where XLA puts them.
      commits: whether they are committed to their device, though the program is not.
      mesh: that they say they are on, if the program says the same of another one.
    """

    places: tuple[Any, ...] = ()
    commits: bool = False
    mesh: Any = None

    def trimmed(self, outputs: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Any]:
        """The outputs of an executable, cut to their true shapes."""
        if self.places:
            triples = zip(outputs, shapes, self.places, strict=True)
            results = [trim(y, shape, place) for y, shape, place in triples]
        else:
            results = [trim(y, shape) for y, shape in zip(outputs, shapes, strict=True)]
        if self.mesh is not None:
            results = [_compat.renamed(y, self.mesh) for y in results]
        return list(map(_compat.committed, results)) if self.commits else results


ANYWHERE = Landing()
"""Where XLA puts them."""


class Plan(Protocol):
    """Everything that depends on the shapes of a call but not on its values."""

    @property
    def program(self) -> Program:
        """What runs."""
        ...

    @property
    def bucket(self) -> Bucket:
        """Where it runs, or its first part does."""
        ...

    def run(self, leaves: Sequence[Any], poison: bool, foreign: bool = False) -> Outcome:
        """Runs a call whose leaves have the plan's shapes.

        Args:
          leaves: of the call.
          poison: as for ``transfer.pad``.
          foreign: whether to run in executables that rely on nothing in the padding of inputs; in
            others, where zeros are relied on, there is no poison.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        ...


def symbolic_inputs(program: Program) -> tuple[int, ...]:
    """The inputs that have a symbolic dimension."""
    return tuple(k for k, s in enumerate(program.in_shapes) if any(map(dims.is_symbolic, s)))


def elements(
    program: Program, sizes: Mapping[str, int], padded: Sequence[tuple[int, ...]]
) -> tuple[int, int]:
    """(true, padded) elements of the symbolic inputs; ``padded`` are their padded shapes.

    What the host computes counts for nothing: its sizes may be known only later.
    """
    count = len(program.in_shapes) - len(program.numbers)
    symbolic = [k for k in symbolic_inputs(program) if k < count]
    true = sum(math.prod(dims.evaluate(d, sizes) for d in program.in_shapes[k]) for k in symbolic)
    return true, sum(math.prod(padded[k]) for k in symbolic)


def described(kind: str, program: Program, sizes: Mapping[str, int], bucket: Bucket) -> str:
    """A plan in a few words."""
    shown = ", ".join(f"{name}={size}" for name, size in sizes.items()) or "no symbols"
    return f"{kind}({program.name}: {shown} in [{bucket}])"
