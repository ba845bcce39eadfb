"""How many rows a loop runs at once."""

from __future__ import annotations

import dataclasses

from sod2jax._compat import Var
from sod2jax.ir import vocabulary
from sod2jax.ir.jaxprs import variables
from sod2jax.memory.flatten import size_of
from sod2jax.rows.reads import Row
from sod2jax.schedule.chunks.labels import Labelled
from sod2jax.schedule.chunks.loops import Loop, peak_bytes
from sod2jax.schedule.chunks.saving import flops_of
from sod2jax.schedule.masked import LANEWISE

# Of one core of a CPU.
_FLOPS_PER_SECOND = 6e10
_BYTES_PER_SECOND = 2e10
_PER_BLOCK = 2e-5  # seconds that a block takes beside its work
_LEAST_BLOCKS = 4  # with fewer, the largest values are hardly smaller
_OVERHEAD = 0.1  # of a block's work


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What decides which loops there are, and how large their blocks.

    Attributes:
      fat: bytes of the smallest value that a loop is made for.
      least: bytes that a loop must save of what is alive at once.
      inside: bytes that a block's values may take together.
      is_strict: whether they may take no more even where what each block reads whole costs more
        than its work.
      block: the number of rows of each block; None to choose it for each loop.
    """

    fat: int = 1 << 20
    least: int = 4 << 20
    inside: int = 8 << 20
    is_strict: bool = False
    block: int | None = None


def block_of(program: Labelled, loop: Loop, sizes: Sizes) -> int:
    """How many rows a loop runs at once: a divisor of their number where there is a good one.

    Enough for what each block reads whole, and adds to, to cost little beside its work; and more
    while its values take little room.
    """
    rows = program.rows
    if sizes.block is not None:
        return min(sizes.block, rows)
    summed = sum(size_of(eqn.outvars[0].aval) for eqn in loop.sums)
    whole = {
        var: size_of(var.aval)
        for eqn in loop.eqns
        for var, need in program.operands(eqn)
        if not isinstance(need, Row)
    }
    moved = (sum(whole.values()) + 2 * summed) / _BYTES_PER_SECOND + _PER_BLOCK
    work = sum(map(flops_of, loop.eqns)) / _FLOPS_PER_SECOND / rows
    most = peak_bytes(loop.eqns, _stored(program, loop)) / rows
    enough = moved / (_OVERHEAD * work) if work else rows
    roomy = sizes.inside / most if most else rows
    wanted = roomy if sizes.is_strict else max(enough, roomy)
    wanted = min(wanted, max(rows // _LEAST_BLOCKS, 1))
    return _divisor(rows, max(1, int(wanted)))


def _stored(program: Labelled, loop: Loop) -> set[Var]:
    """The values that are in memory inside a loop: what products read and give, and what is moved.

    Others are computed where they are read.
    """
    stored: set[Var] = set()
    for eqn in loop.eqns:
        name = eqn.primitive.name
        if name not in LANEWISE and name not in vocabulary.LAYOUT | vocabulary.GENERATORS:
            stored.update(eqn.outvars)
        if name in vocabulary.CONTRACTIONS | vocabulary.CONVOLUTIONS:
            stored.update(variables(eqn.invars))
    return {var for var in stored if var in program.labels}


def _divisor(rows: int, wanted: int) -> int:
    """The largest divisor of the number of rows up to a wanted one; that itself if it is small."""
    found = max(k for k in range(1, wanted + 1) if rows % k == 0)
    return found if 2 * found > wanted else wanted
