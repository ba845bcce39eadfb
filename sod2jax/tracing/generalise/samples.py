"""Traces of a function at concrete sizes, and those of one structure among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from sod2jax import _compat
from sod2jax.arguments.signature import Leaf
from sod2jax.ir import dims
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
        specs = [
            jax.ShapeDtypeStruct(
                tuple(dims.evaluate(d, sizes) for d in leaf.shape),
                leaf.aval.dtype,
                weak_type=leaf.aval.weak_type,
            )
            for leaf in self._leaves
        ]
        self.traces += 1
        try:
            traced = jax.jit(self._fun).trace(*jax.tree.unflatten(self._tree, specs))
        except Exception as error:  # the exact-shape run of that size raises it again
            self.error = self.error or error
            return None
        return traced.jaxpr, form_of(traced.jaxpr), jax.tree.structure(traced.out_info)


class Samples:
    """The traces of one structure, at the sizes where a function has it.

    Args:
      sampler: traces the function.
      points: sizes to trace it at; the structure is the most common one there.

    Attributes:
      points: the sizes where the trace has the structure.
      others: the sizes where it has another one.
      forms: the forms of the traces, in the order of ``points``.
    """

    def __init__(self, sampler: Sampler, points: Iterable[Mapping[str, int]]):
        self._sampler = sampler
        traced = [(p, sample) for p in points if (sample := sampler(p)) is not None]
        group = _largest_group(traced)
        self.first: Sample | None = group[0][1] if group else None
        self.points = [dict(point) for point, _ in group]
        self.forms = [sample[1] for _, sample in group]
        self.others = [dict(point) for point, _ in traced if point not in self.points]

    def add(self, points: Iterable[Mapping[str, int]]) -> None:
        """Traces the function at more sizes."""
        assert self.first is not None
        for point in points:
            sample = None if point in (*self.points, *self.others) else self._sampler(point)
            if sample is not None and _structure(sample) == _structure(self.first):
                self.points.append(dict(point))
                self.forms.append(sample[1])
            elif sample is not None:
                self.others.append(dict(point))

    @property
    def columns(self) -> list[tuple[int, ...]]:
        """Each integer of the form at all points."""
        return list(zip(*(form.ints for form in self.forms), strict=True))


def _structure(sample: Sample) -> Any:
    _, form, out_tree = sample
    return form.skeleton, out_tree


def _largest_group(traced: Sequence[tuple[Mapping[str, int], Sample]]) -> list[Any]:
    """The (point, sample) pairs of the most common structure."""
    groups: list[list[Any]] = []
    for pair in traced:
        same = (g for g in groups if _structure(g[0][1]) == _structure(pair[1]))
        group = next(same, None)
        if group is None:
            groups.append([pair])
        else:
            group.append(pair)
    return max(groups, key=len, default=[])
