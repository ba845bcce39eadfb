"""Options of ``sod2jax.optimize``, checked once and then passed as one frozen value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sod2jax.errors import SpecError
from sod2jax.ir.comparisons import Comparison

Specs = Sequence[Any] | Mapping[str, Any] | None
_ON_UNSUPPORTED = ("exact", "error")
_CUT = ("auto", "always", "never")


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user asked for; see ``sod2jax.optimize`` for the meaning of each field."""

    shapes: Specs = None
    constraints: tuple[Comparison, ...] = ()
    buckets: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    max_executables: int = 8
    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    on_unsupported: str = "exact"
    cut: str = "auto"
    poison: bool = False

    @classmethod
    def checked(
        cls,
        *,
        shapes: Specs,
        constraints: Sequence[str],
        buckets: Mapping[str, Sequence[int]] | None,
        max_executables: int,
        on_unsupported: str,
        static_argnums: int | Sequence[int] | None = None,
        static_argnames: str | Sequence[str] | None = None,
        cut: str = "auto",
        poison: bool = False,
    ) -> Options:
        """Reads the arguments of the decorator.

        Raises:
          SpecError: an argument is malformed; the message names it.
        """
        if isinstance(shapes, str) or not isinstance(shapes, (Sequence, Mapping, type(None))):
            raise SpecError(
                "shapes must be a sequence with one spec per argument, or a dictionary by "
                f"parameter name; got {shapes!r}"
            )
        if isinstance(constraints, str):
            raise SpecError(f"constraints must be a sequence of strings: ({constraints!r},)")
        if not isinstance(buckets, (Mapping, type(None))):
            raise SpecError(f"buckets must be a dictionary from symbols to sizes; got {buckets!r}")
        if not isinstance(max_executables, int) or max_executables < 1:
            raise SpecError(f"max_executables must be at least 1; got {max_executables}")
        if on_unsupported not in _ON_UNSUPPORTED:
            raise SpecError(
                f"on_unsupported must be one of {_ON_UNSUPPORTED}; got {on_unsupported!r}"
            )
        if cut not in _CUT:
            raise SpecError(f"cut must be one of {_CUT}; got {cut!r}")
        return cls(
            shapes=shapes,
            constraints=tuple(map(Comparison.parse, constraints)),
            buckets={name: _ladder(name, sizes) for name, sizes in (buckets or {}).items()},
            max_executables=max_executables,
            static_argnums=_tuple(static_argnums, int),
            static_argnames=_tuple(static_argnames, str),
            on_unsupported=on_unsupported,
            cut=cut,
            poison=poison,
        )


def _tuple(value: Any, kind: type) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(value)


def _ladder(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if isinstance(sizes, int):
        sizes = (sizes,)
    ladder = tuple(sorted({int(s) if isinstance(s, np.integer) else s for s in sizes}))
    if not ladder or any(type(size) is not int or size < 1 for size in ladder):
        raise SpecError(f"buckets[{name!r}] must be positive integers; got {tuple(sizes)}")
    return ladder
