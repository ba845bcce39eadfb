"""What a call needs before it runs: the memory of its bucket, compiled or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sod2jax import pipeline
from sod2jax.buckets.bucket import Bucket
from sod2jax.errors import InvariantError, SpecError
from sod2jax.memory import MemoryPlan
from sod2jax.planning.specialise import Specialisation


def memory_plan(
    sizes: Bucket | Mapping[str, int] | int, specialisations: Sequence[Specialisation]
) -> MemoryPlan:
    """The plan of the bucket that holds some sizes, which one number stands for if it is alone.

    Of a program that computes sizes it is that of the first part: the others' are not known yet.

    Raises:
      SpecError: there is no program of these symbols, or no bucket that holds the sizes.
    """
    ready = [executable for each in specialisations for executable in each.ready]
    for executable in ready:
        bucket = dict(executable.bucket)
        if sizes == executable.bucket or sizes == bucket or [sizes] == list(bucket.values()):
            return executable.memory_plan()
    for each in specialisations:
        first, *others = each.parts
        names = [name for name, _ in first.part.ladders.sizes]
        if isinstance(sizes, Mapping):
            named = dict(sizes)
        else:
            named = dict.fromkeys(names, sizes) if len(names) == 1 else {}
        if set(named) != set(names) or not all(map(_is_size, named.values())):
            continue
        try:
            bucket = first.part.ladders.bucket(named)
        except InvariantError:
            continue
        compiled = [e for e in each.ready if e.bucket == bucket]
        if compiled and not others:
            return compiled[0].memory_plan()
        return pipeline.plan_part(first.part, bucket, each.analysis)
    compiled = "; ".join(str(e.bucket) for e in ready) or "none"
    raise SpecError(
        f"no bucket holds {sizes}; compiled buckets: {compiled}. Call the function, or "
        "compile(...), first; sizes are by symbol, as in {'s': 64}, or the size of the only symbol"
    )


def _is_size(size: object) -> bool:
    return isinstance(size, int | np.integer) and not isinstance(size, bool) and int(size) > 0
