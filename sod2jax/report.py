"""A readable account of what was done to a function, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sod2jax.buckets.bucket import Bucket
from sod2jax.pipeline import Analysis
from sod2jax.planning.trust import Trust
from sod2jax.runtime.compile import Executable
from sod2jax.stats import Stats
from sod2jax.tracing.regimes import Regime


def describe(
    analysis: Analysis,
    regime: Regime,
    trust: Trust,
    executables: Sequence[Executable],
    over_rows: Sequence[Bucket] = (),
) -> str:
    """One program: its stages, its buckets and its masks.

    Args:
      analysis: all that is known of it before a bucket is compiled.
      regime: where it is the one that serves.
      trust: how far it is to be trusted.
      executables: those that run one example.
      over_rows: the buckets in which it runs over the rows of a batch.
    """
    lines = [str(analysis), f"trust: {trust}"]
    lines += [f"only where {reason}" for reason in regime.reasons]
    lines += _remarks(analysis)
    lines += ["buckets:"]
    lines += [f"  {name}: {_ladder(ladder)}" for name, ladder in analysis.ladders.sizes]
    compiled = [line for e in executables for line in _compiled(e)]
    compiled += [f"  [{bucket}] over rows" for bucket in over_rows]
    lines += compiled or ["  none compiled yet"]
    if executables and analysis.program.region.names:
        lines += _masks(executables[0])
    return "\n".join(lines)


def _compiled(executable: Executable) -> list[str]:
    remarks = Counter(map(str, executable.remarks))
    head = f"  [{executable.bucket}] compiled in {executable.seconds:.2f} s"
    if executable.target.is_absent:
        head += f" for {executable.target.kind}, which is not there: nothing was run"
    figures = [f"    {row}" for row in executable.figures]
    return [head, *(f"    {text}" + _times(n) for text, n in remarks.items()), *figures]


def _remarks(analysis: Analysis) -> list[str]:
    remarks = Counter(map(str, analysis.remarks))
    return ["passes:", *(f"  {text}" + _times(n) for text, n in remarks.items())] if remarks else []


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def _ladder(ladder: tuple[int, ...] | None) -> str:
    return "grows by powers of two" if ladder is None else ", ".join(map(str, ladder))


def _masks(executable: Executable) -> list[str]:
    emitted = Counter(str(m) for m in executable.masks if m.emitted)
    size = sum(mask.size for mask in executable.masks if mask.emitted)
    avoided = Counter(str(m) for m in executable.masks if not m.emitted)
    promised = ["relied on: zeros in the pad lanes of inputs, where calls put them"]
    return [
        *(promised if any(executable.zeroed) else ()),
        f"masks: {emitted.total()} inserted, on {size:,} B",
        *(f"  {mask}" + _times(n) for mask, n in emitted.items()),
        f"masks that were not needed: {avoided.total()}",
        *(f"  {mask}" + _times(n) for mask, n in avoided.items()),
    ]


def line(
    name: str, symbols: Sequence[str], buckets: Sequence[Bucket], compiled: Sequence[Bucket]
) -> str:
    """An optimized function in one line; ``symbols`` may have some several times."""
    sizes = ", ".join(dict.fromkeys(symbols)) or "no sizes yet"
    chosen = ", ".join(f"[{bucket}]" for bucket in buckets) or "none yet"
    ready = ", ".join(f"[{bucket}]" for bucket in compiled) or "none"
    return f"<optimized {name}({sizes}): buckets {chosen}; compiled {ready}>"


def document(name: str, programs: Sequence[str], fallbacks: Sequence[str], stats: Stats) -> str:
    """The report of an optimized function, or of one over rows."""
    parts = [f"sod2jax report of {name}", f"so far: {stats}", *programs]
    parts += [f"runs with exact shapes: {reason}" for reason in fallbacks]
    return "\n\n".join(parts)
