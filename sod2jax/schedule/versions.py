"""The versions of a static program that may be compiled: the multi-version code of SoD²."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sod2jax._compat import Jaxpr
from sod2jax.memory.liveness import live_bytes, live_ranges
from sod2jax.passes.remark import Remark
from sod2jax.schedule import forms
from sod2jax.schedule.channels_last import channels_last
from sod2jax.schedule.chunks import NO_SIZES, Sizes, TrueSizes, chunked
from sod2jax.schedule.compiler_options import MEMORY, CompilerOptions, compiler_options
from sod2jax.target import Target

PLAIN = "plain"
FORMS = "forms"
ROWS = "rows"
_LARGE = 16 << 20  # bytes that a loop saves, with which it is faster, too: caches hold less
_INSIDE = tuple(1 << k for k in (22, 20, 18, 16))  # bytes of a block, where memory is limited
_MORE = 4  # times as much in a block, for the version that is measured only


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Version:
    """One way to compile a program.

    Attributes:
      name: says how it differs from the plain one.
      jaxpr: what is compiled.
      options: what is asked of XLA.
      remarks: which equations are other ones, and why.
      true: what is known of its true sizes.
    """

    name: str
    jaxpr: Jaxpr
    options: CompilerOptions = dataclasses.field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    true: TrueSizes = NO_SIZES

    def asking(self, name: str, options: Mapping[str, Any]) -> Version:
        """The same program, with options."""
        return dataclasses.replace(self, name=f"{self.name}, {name}", options=options)

    def __repr__(self) -> str:
        return f"Version({self.name!r}, {len(self.jaxpr.eqns)} equations)"


def versions(plain: Version, target: Target) -> Iterator[Version]:
    """Yields the versions of a program, that which the model holds for the best one first.

    Each is made when it is asked for: most programs are compiled in the first one.
    """
    jaxpr = plain.jaxpr
    new, remarks = forms.reformed(jaxpr, target)
    best = Version(FORMS, new, remarks=(*plain.remarks, *remarks)) if remarks else plain
    asked = compiler_options(target.platform)
    sizes = Sizes()
    looped = _by_rows(plain, target, sizes) if target.platform == "cpu" else None
    if looped is None:
        yield best
    else:
        is_faster = _temporaries(jaxpr) - _temporaries(looped.jaxpr) >= _LARGE
        yield from (looped, best) if is_faster else (best, looped)
        larger = _by_rows(plain, target, dataclasses.replace(sizes, inside=_MORE * sizes.inside))
        if larger is not None:
            yield dataclasses.replace(larger, name=f"{ROWS}, larger blocks")
    for name, options in asked.items():
        yield best.asking(name, options)
    if len(asked) > 1:
        both = {key: value for options in asked.values() for key, value in options.items()}
        yield best.asking(" and ".join(asked), both)
    turned, about = channels_last(jaxpr) if target.platform == "cpu" else (jaxpr, [])
    if about:
        new, remarks = forms.reformed(turned, target)
        yield Version("features last", new, remarks=(*plain.remarks, *about, *remarks))
    if best is not plain:
        yield plain


def leaner(plain: Version, target: Target) -> Iterator[Version]:
    """Yields versions of a program that need less and less memory."""
    for inside in _INSIDE:
        sizes = Sizes(fat=inside // 16, least=inside // 4, inside=inside, is_strict=True)
        found = _by_rows(plain, target, sizes)
        if found is not None:
            yield dataclasses.replace(found, name=f"{ROWS}, in blocks of {inside:,} B")


def _by_rows(plain: Version, target: Target, sizes: Sizes) -> Version | None:
    """The program with its large values a few rows at a time; None if there are none."""
    jaxpr, loops = chunked(plain.jaxpr, sizes, plain.true)
    if not loops:
        return None
    new, remarks = forms.reformed(jaxpr, target)
    # A loop leaves nothing to do at the same time.
    options = compiler_options(target.platform).get(MEMORY, {})
    return Version(ROWS, new, options, (*plain.remarks, *loops, *remarks))


def _temporaries(jaxpr: Jaxpr) -> int:
    """Bytes that a program is expected to need at once beside its arguments and results."""
    return max(live_bytes(b for b in live_ranges(jaxpr) if b.kind == "temp"), default=0)
