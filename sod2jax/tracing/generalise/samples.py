"""Traces of a function at concrete sizes, and those of one structure among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import StateError
from sod2jax.tracing.concrete import traced_at
from sod2jax.tracing.generalise.form import Form, form_of

Sample = tuple[_compat.Jaxpr, Form, Any]
"""(closed jaxpr, its form, tree of the result)"""


class Sampler:
    """Traces a function at concrete sizes.

    Args:
      fun: takes the dynamic arguments by position.
      tree: structure of the tuple of arguments.
      leaves: the arrays with their symbolic shapes.

    Attributes:
      traces: how many traces were made.
      error: what the first trace that failed raised.
    """

    def __init__(self, fun: Callable[..., Any], tree: Any, leaves: Sequence[Leaf]):
        self._fun, self._tree, self._leaves = fun, tree, leaves
        self.traces, self.error = 0, None

    def __call__(self, sizes: Mapping[str, int]) -> Sample | None:
        """The trace at some sizes; None if the function fails there."""
        self.traces += 1
        try:
            concrete = traced_at(self._fun, self._tree, self._leaves, sizes)
        except StateError:
            raise
        except Exception as error:  # the exact-shape run of that size raises it again
            self.error = self.error or error
            return None
        return concrete.jaxpr, form_of(concrete.jaxpr), concrete.out_tree


class Samples:
    """The traces of a function by structure.

    Args:
      sampler: traces the function.
      points: sizes to trace it at.
    """

    def __init__(self, sampler: Sampler, points: Iterable[Mapping[str, int]]):
        self._sampler = sampler
        self._groups: list[list[tuple[dict[str, int], Sample]]] = []
        self._tried: set[tuple[tuple[str, int], ...]] = set()
        self.add(points)

    @property
    def known(self) -> list[tuple[dict[str, int], Form, Any]]:
        """(sizes, form, tree of the result) of every trace."""
        return [(point, form, tree) for group in self._groups for point, (_, form, tree) in group]

    def _add(self, pair: tuple[dict[str, int], Sample]) -> None:
        same = (group for group in self._groups if _are_alike(group[0][1], pair[1]))
        group = next(same, None)
        if group is None:
            self._groups.append([pair])
        else:
            group.append(pair)

    def add(self, points: Iterable[Mapping[str, int]]) -> None:
        """Traces the function at more sizes."""
        for point in points:
            key = tuple(sorted(point.items()))
            sample = None if key in self._tried else self._sampler(point)
            self._tried.add(key)
            if sample is not None:
                self._add((dict(point), sample))

    def apart(self, sizes: Mapping[str, int]) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """The sizes whose traces are like that at some of them, and those whose are not."""
        own = next((g for g in self._groups if any(p == sizes for p, _ in g)), [])
        alike = [point for point, _ in own]
        rest = [point for group in self._groups for point, _ in group if point not in alike]
        return alike, rest

    def are_alike(self, sizes: Mapping[str, int], others: Mapping[str, int]) -> bool:
        """Whether the traces at two sizes have one structure."""
        self.add([sizes, others])
        return others in self.apart(sizes)[0]

    @property
    def _largest(self) -> list[tuple[dict[str, int], Sample]]:
        return max(self._groups, key=len, default=[])

    @property
    def points(self) -> list[dict[str, int]]:
        """The sizes where the trace has the most common structure."""
        return [point for point, _ in self._largest]

    @property
    def first(self) -> Sample:
        """One of the traces of that structure."""
        return self._largest[0][1]

    @property
    def forms(self) -> list[Form]:
        """The forms of those traces, in the order of ``points``."""
        return [form for _, (_, form, _) in self._largest]

    @property
    def columns(self) -> list[tuple[int, ...]]:
        """Each integer of the form at all points."""
        return list(zip(*(form.ints for form in self.forms), strict=True))


def _are_alike(a: Sample, b: Sample) -> bool:
    return a[1].skeleton == b[1].skeleton and a[2] == b[2]
