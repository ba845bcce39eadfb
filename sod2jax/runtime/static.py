"""A program on the padded sizes of one bucket: rewritten and traced, not yet compiled."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from sod2jax import _compat, rewrite, schedule
from sod2jax.buckets.bucket import Bucket
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.program import Program, positions
from sod2jax.ir.region import Region
from sod2jax.places import ANYWHERE, Places, fits
from sod2jax.rdp import ValueRange
from sod2jax.rewrite import Birth, MaskRecord, Notes, Wish
from sod2jax.runtime import versions
from sod2jax.schedule.chunks import TrueSizes
from sod2jax.schedule.versions import PLAIN, Version
from sod2jax.target import Target


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Static:
    """A program with the shapes of one bucket.

    Attributes:
      bucket: the padded sizes.
      in_shapes: padded shape of each input.
      plain: the program as it was rewritten.
      masks: every mask it holds, and those that were not needed.
      taken: the inputs whose memory results take, one flag for each; none if it is empty.
      target: what it is for.
      lower: lowers a version of it.
      synthetic: makes arguments to run versions on.
    """

    bucket: Bucket
    in_shapes: tuple[tuple[int, ...], ...]
    plain: Version
    masks: tuple[MaskRecord, ...]
    taken: tuple[bool, ...]
    target: Target
    lower: Callable[[Version], Any]
    synthetic: Callable[[], tuple[Any, ...]]

    def versions(self, tune: str) -> Iterator[Version]:
        """Its versions, the best one by the model first; with "none" it is the only one."""
        if tune == "none" or self.target.spread > 1:
            yield self.plain  # forms are made of slices, which would cross devices
            return
        yield from schedule.versions(self.plain, self.target)

    def leaner(self) -> Iterator[Version]:
        """Versions that need less and less memory, whatever time they take."""
        if self.target.spread == 1:
            yield from schedule.leaner(self.plain, self.target)

    def __repr__(self) -> str:
        return f"Static([{self.bucket}], {self.plain!r})"


def static_program(
    program: Program,
    bucket: Bucket,
    value_range: ValueRange,
    constants: Sequence[Any],
    target: Target,
    deep_poison: bool = False,
    zeroed: tuple[bool, ...] = (),
    donated: tuple[bool, ...] = (),
    places: Places = ANYWHERE,
) -> Static:
    """Rewrites and traces a program for one bucket.

    Args:
      program: to rewrite.
      bucket: its padded sizes.
      value_range: what is known of its integers.
      constants: what the executable is called with: the program's, perhaps among others.
      target: what to compile for.
      deep_poison: whether every value has poison in the pad lanes that nothing is known of.
      zeroed: for each input, whether it will be padded with zeros; none by default.
      donated: for each of the first inputs, whether a call consumes it.
      places: where its inputs and results lie.

    Raises:
      UnsupportedPrimitiveError: a primitive has no exact padded form.
    """
    region = bucket.part_of(program.region)
    shapes = rewrite.padded_shapes(program, region)
    kept = positions(program.constants, constants)
    specs = [
        target.placed(_spec(shape, v.aval, place))
        for shape, v, place in zip(
            shapes, program.jaxpr.invars, places.of_inputs(len(shapes)), strict=True
        )
    ]
    sizes = target.placed(jax.ShapeDtypeStruct((len(program.symbols),), np.int32))
    results = rewrite.padded_results(program, region)
    taken = _taken(donated, specs, results)
    jitted = functools.partial(
        _jitted, name=program.name, taken=taken, out=_out_places(program, places, results)
    )
    arguments = (sizes, list(map(target.placed, _specs(constants))), *parted(specs, taken))

    def rewritten(wished: Sequence[Wish | Birth]) -> tuple[Any, Notes]:
        notes: list[Notes] = []
        padded = rewrite.padded_function(
            program, region, value_range, target, notes.append, deep_poison, wished, zeroed
        )

        def run(sizes: Any, given: Sequence[Any], *lists: Sequence[Any]) -> list[Any]:
            return padded(sizes, [given[k] for k in kept], joined(lists))

        return jitted(run).trace(*arguments), notes[-1]

    traced, notes = rewritten(())
    wishes, births = notes.wishes, notes.births
    if wishes or births:
        other, fewer = rewritten([*wishes, *births])
        if births and wishes and fewer.cost > notes.cost:
            other, fewer = rewritten(wishes)
        better = fewer.cost < notes.cost or (births and fewer.cost == notes.cost)
        traced, notes = (other, fewer) if better else (traced, notes)

    def lower(version: Version) -> Any:
        if version.jaxpr is traced.jaxpr:
            return traced.lower()
        flat = _compat.function_of(version.jaxpr)
        return jitted(lambda *args: flat(*jax.tree.leaves(args))).trace(*arguments).lower()

    def synthetic() -> tuple[Any, ...]:
        true = np.array([region.range(name)[1] for name in program.symbols], np.int32)
        return true, list(constants), *parted(list(map(versions.synthetic, specs)), taken)

    placed, remarks = schedule.at_edges(traced.jaxpr, target)
    plain = Version(PLAIN, placed, remarks=remarks, true=_true_sizes(program, region))
    return Static(bucket, shapes, plain, tuple(notes.masks), taken, target, lower, synthetic)


def _true_sizes(program: Program, region: Region) -> TrueSizes:
    """Which axes of the results are trimmed to a size that the executable is called with."""
    known = {name: k for k, name in enumerate(program.symbols)}
    return TrueSizes(
        tuple(region.range(name)[1] for name in known),
        tuple(tuple(known.get(str(d)) for d in dims_of(atom)) for atom in program.jaxpr.outvars),
    )


def parted(inputs: Sequence[Any], taken: Sequence[bool]) -> list[list[Any]]:
    """Inputs, and apart from them those that are taken, with None for the others in both lists."""
    if not any(taken):
        return [list(inputs)]
    pairs = list(zip(inputs, taken, strict=True))
    return [[None if t else x for x, t in pairs], [x if t else None for x, t in pairs]]


def joined(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """The inputs again."""
    return [next((x for x in each if x is not None), None) for each in zip(*lists, strict=True)]


def _taken(
    donated: Sequence[bool], inputs: Sequence[Any], results: Sequence[tuple[Any, Any]]
) -> tuple[bool, ...]:
    """The donated inputs whose memory a result can take: one of the same shape and dtype."""
    if not any(donated):
        return ()
    left = collections.Counter(results)
    flags = [*donated, *[False] * (len(inputs) - len(donated))]
    for k, (spec, flag) in enumerate(zip(inputs, flags, strict=True)):
        kind = (tuple(spec.shape), spec.dtype)
        flags[k] = flag and left[kind] > 0
        left[kind] -= flags[k]
    return tuple(flags)


def _jitted(run: Callable[..., Any], name: str, taken: Sequence[bool], out: Any) -> Any:
    run.__name__ = run.__qualname__ = name
    return jax.jit(run, donate_argnums=3 if any(taken) else (), **out)


def _out_places(
    program: Program, places: Places, results: Sequence[tuple[tuple[int, ...], Any]]
) -> dict[str, Any]:
    """What to tell ``jit`` of where results are wanted; nothing where XLA decides of all.

    What cannot be divided at its padded size is brought there when it is trimmed.
    """
    if places.results is None:
        return {}
    pairs = zip(places.of_results(program.out_tree), results, strict=True)
    wanted = [place if place and fits(place, shape) else None for place, (shape, _) in pairs]
    return {"out_shardings": [*wanted, *[None] * len(program.computed_dims)]}


def _specs(arrays: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    places = (_compat.automatic(_compat.committed_to(array)) for array in arrays)
    pairs = zip(map(jax.typeof, arrays), places, strict=True)
    return [_spec(aval.shape, aval, place) for aval, place in pairs]


def _spec(shape: tuple[int, ...], aval: Any, place: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, aval.dtype, weak_type=aval.weak_type, sharding=place)
