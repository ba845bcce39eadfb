"""Options of ``sod2jax.optimize``, checked once and then passed as one frozen value."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from sod2jax.errors import SpecError
from sod2jax.ir.comparisons import Comparison

Specs = Sequence[Any] | Mapping[str, Any] | None
ANNOTATIONS = "annotations"
"""For ``shapes``: as the annotations of the function's parameters say."""

_ON_UNSUPPORTED = ("exact", "error")
_TUNE = ("none", "off", "fast", "full")
_SIZE = re.compile(r"\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kmgt]i?b|b)\s*", re.IGNORECASE)
_UNITS = {"b": 1}
_UNITS |= {f"{prefix}b": 1000 ** (k + 1) for k, prefix in enumerate("kmgt")}
_UNITS |= {f"{prefix}ib": 1024 ** (k + 1) for k, prefix in enumerate("kmgt")}
_CUT = ("auto", "always", "never")


class Keywords(TypedDict, total=False):
    """The keywords of ``sod2jax.optimize``, for its types."""

    shapes: Specs
    constraints: Sequence[str]
    buckets: Mapping[str, Sequence[int]] | None
    max_executables: int
    on_unsupported: str
    cut: str
    audit: bool
    tune: str
    memory_limit: int | str | None
    poison: bool | str
    filter: bool
    static_argnums: int | Sequence[int] | None
    static_argnames: str | Sequence[str] | None
    donate_argnums: int | Sequence[int] | None
    donate_argnames: str | Sequence[str] | None
    keep_unused: bool
    inline: bool
    compiler_options: Mapping[str, Any] | None
    device: Any
    backend: str | None
    in_shardings: Any
    out_shardings: Any


@dataclasses.dataclass(frozen=True, repr=False)
class JitKeywords:
    """The keywords of ``jax.jit``, under its names; None stands for what was not given."""

    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    donate_argnums: tuple[int, ...] = ()
    donate_argnames: tuple[str, ...] = ()
    keep_unused: bool = False
    inline: bool = False
    compiler_options: Mapping[str, Any] | None = None
    device: Any = None
    backend: str | None = None
    in_shardings: Any = None
    out_shardings: Any = None

    @classmethod
    def checked(
        cls,
        *,
        static_argnums: int | Sequence[int] | None = None,
        static_argnames: str | Sequence[str] | None = None,
        donate_argnums: int | Sequence[int] | None = None,
        donate_argnames: str | Sequence[str] | None = None,
        compiler_options: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> JitKeywords:
        """Reads what was given as for ``jax.jit``.

        Raises:
          SpecError: the compiler options are no dictionary.
          ValueError: an argument is to be static and donated.
        """
        if not isinstance(compiler_options, Mapping | None):
            raise SpecError(f"compiler_options must be a dictionary; got {compiler_options!r}")
        read = cls(
            static_argnums=_tuple(static_argnums, int),
            static_argnames=_tuple(static_argnames, str),
            donate_argnums=_tuple(donate_argnums, int),
            donate_argnames=_tuple(donate_argnames, str),
            compiler_options=compiler_options,
            **rest,
        )
        both = {*read.static_argnums} & {*read.donate_argnums}
        both |= {*read.static_argnames} & {*read.donate_argnames}  # type: ignore[arg-type]
        if both:
            raise ValueError(f"arguments are static and donated: {sorted(both, key=str)}")
        return read

    @property
    def donates(self) -> bool:
        """Whether calls consume arguments."""
        return bool(self.donate_argnums or self.donate_argnames)

    @property
    def names_device(self) -> bool:
        """Whether everything is to run on one device that was named."""
        return self.device is not None or self.backend is not None

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the defaults, to be passed on to ``jax.jit``."""
        pairs = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: value for name, value in pairs if not _is_default(value)}

    def __repr__(self) -> str:
        return f"JitKeywords({', '.join(f'{k}={reprlib.repr(v)}' for k, v in self.given.items())})"


@dataclasses.dataclass(frozen=True, repr=False)
class Options:
    """What a user asked for; see ``sod2jax.optimize`` for the meaning of each field."""

    shapes: Specs = None
    constraints: tuple[Comparison, ...] = ()
    buckets: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    max_executables: int = 8
    on_unsupported: str = "exact"
    cut: str = "auto"
    audit: bool = True
    tune: str = "fast"
    memory_limit: int | None = None
    poison: bool | str = False
    filter: bool = False
    jit: JitKeywords = dataclasses.field(default_factory=JitKeywords)

    @classmethod
    def checked(
        cls,
        *,
        shapes: Specs,
        constraints: Sequence[str],
        buckets: Mapping[str, Sequence[int]] | None,
        max_executables: int,
        on_unsupported: str,
        cut: str = "auto",
        audit: bool = True,
        tune: str = "fast",
        memory_limit: int | str | None = None,
        poison: bool | str = False,
        filter: bool = False,
        **keywords: Any,
    ) -> Options:
        """Reads the arguments of the decorator; ``keywords`` are those of ``jax.jit``.

        Raises:
          SpecError: an argument is malformed; the message names it.
          ValueError: an argument is to be static and donated.
        """
        if shapes is None and (constraints or buckets):
            given = "constraints" if constraints else "buckets"
            raise SpecError(
                f"{given} without shapes: the sizes that are learned from calls have no names to "
                "speak of. Name them, as in shapes=('n, 16',), with one spec per argument"
            )
        return cls(
            shapes=_specs(shapes),
            constraints=_constraints(constraints),
            buckets=_ladders(buckets),
            max_executables=_count(max_executables),
            on_unsupported=_one_of(_ON_UNSUPPORTED, "on_unsupported", on_unsupported),
            cut=_one_of(_CUT, "cut", cut),
            tune=_one_of(_TUNE, "tune", tune),
            memory_limit=_bytes(memory_limit),
            audit=_one_of((False, True), "audit", audit),
            poison=_one_of((False, True, "deep", "inside"), "poison", poison),
            filter=_one_of((False, True), "filter", filter),
            jit=JitKeywords.checked(**keywords),
        )

    def told(self, keywords: Mapping[str, Any]) -> Options:
        """These, with what ``jax.jit`` was told of the function; what is given here comes first.

        Raises:
          ValueError: an argument is to be static and donated.
        """
        if not keywords:
            return self
        return dataclasses.replace(self, jit=JitKeywords.checked(**{**keywords, **self.jit.given}))

    @property
    def poisons_inputs(self) -> bool:
        """Whether input padding holds poison, so that no executable may rely on zeros there."""
        return self.poison in (True, "deep")

    def __repr__(self) -> str:
        """What differs from the defaults."""
        default, names = Options(), [field.name for field in dataclasses.fields(self)]
        pairs = [(name, getattr(self, name)) for name in names]
        given = [
            f"{name}={reprlib.repr(value)}"
            for name, value in pairs
            if (name == "shapes" and value is not None) or value != getattr(default, name)
        ]
        return f"Options({', '.join(given)})"


def _is_default(value: Any) -> bool:
    """Whether a keyword of ``jit`` says nothing."""
    return value is None or value is False or (isinstance(value, tuple) and not value)


def _specs(shapes: Any) -> Specs:
    if isinstance(shapes, str) and shapes == ANNOTATIONS:
        return shapes
    if shapes is None or (isinstance(shapes, (Sequence, Mapping)) and not isinstance(shapes, str)):
        return shapes
    raise SpecError(
        "shapes must be a sequence with one spec per argument, a dictionary by parameter name, or "
        f"{ANNOTATIONS!r}; got {reprlib.repr(shapes)}"
    )


def _constraints(texts: Sequence[str]) -> tuple[Comparison, ...]:
    if isinstance(texts, str):
        raise SpecError(f"constraints must be a sequence of strings: ({texts!r},)")
    for text in texts:
        if not isinstance(text, str):
            raise SpecError(f"a constraint must be a string such as 's <= 512'; got {text!r}")
    return tuple(read for text in texts for read in Comparison.parse_chain(text))


def _ladders(buckets: Any) -> dict[str, tuple[int, ...]]:
    if not isinstance(buckets, (Mapping, type(None))):
        raise SpecError(
            f"buckets must be a dictionary from symbols to sizes, such as {{'s': (64, 256)}}; got "
            f"{buckets!r}"
        )
    return {name: _ladder(name, sizes) for name, sizes in (buckets or {}).items()}


def _bytes(limit: Any) -> int | None:
    """A number of bytes, or a text such as "512MiB"."""
    if limit is None or (isinstance(limit, int) and limit > 0 and limit is not True):
        return limit
    found = _SIZE.fullmatch(limit) if isinstance(limit, str) else None
    if found is None:
        raise SpecError(f"memory_limit must be bytes, or a text such as '512MiB'; got {limit!r}")
    return int(float(found["number"]) * _UNITS[found["unit"].lower()])


def _count(most: Any) -> int:
    if not isinstance(most, int) or most < 1:
        raise SpecError(f"max_executables must be an integer of at least 1; got {most!r}")
    return most


def _one_of(choices: tuple[Any, ...], name: str, value: Any) -> Any:
    if value not in choices:
        raise SpecError(f"{name} must be one of {choices}; got {value!r}")
    return value


def _tuple(value: Any, kind: type) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(value)


def _ladder(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if isinstance(sizes, int):
        sizes = (sizes,)
    ladder = tuple(sorted({int(s) if isinstance(s, np.integer) else s for s in sizes}))
    if not ladder or any(type(size) is not int or size < 1 for size in ladder):
        raise SpecError(
            f"buckets[{name!r}] must be positive integers, such as (64, 256); got {tuple(sizes)}"
        )
    return ladder
