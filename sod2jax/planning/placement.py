"""Where the arrays of a call and of a program lie, and what buckets do not serve.

They serve no references, values that are no arrays, arrays that programs of the present settings do
not take, and places that cannot be kept where sizes are padded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from sod2jax import _compat
from sod2jax.arguments.calls import Call, described
from sod2jax.arguments.signature import Leaf
from sod2jax.errors import FunctionError, PlacementError, UnsupportedPrimitiveError
from sod2jax.ir.comparisons import Comparison
from sod2jax.ir.jaxprs import equations
from sod2jax.ir.program import Program
from sod2jax.options import JitKeywords
from sod2jax.places import ANYWHERE, Places, divisions, fits
from sod2jax.tracing.trace import HIGH, REFERENCE

_HINTS = frozenset("device_put sharding_constraint shard_map".split())
_REMEDY = "such calls run where their arrays are, as under jax.jit"


def refused(name: str, arguments: Mapping[str, Any]) -> PlacementError | None:
    """Why no bucket serves a call with these arguments, by parameter, wherever they lie."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(dict(arguments))[0]:
        where = f"'{path[0].key}{jax.tree_util.keystr(path[1:])}' of {name}"
        if isinstance(leaf, jax.Ref):
            return PlacementError(f"{where} is {REFERENCE}")
        if _compat.is_of_high_type(leaf):
            return PlacementError(f"{where} is {HIGH}")
        if _compat.is_too_wide(leaf):
            return PlacementError(
                f"{where} is {described(leaf)}, and jax_enable_x64 is off; such calls run as under "
                "jax.jit. Set it for both, or neither"
            )
        place = _compat.committed_to(leaf)
        if place is not None and (why := _unfit(place)):
            return PlacementError(f"{where} lies {_compat.said_of_place(place)}{why}; {_REMEDY}")
    return None


def of_call(name: str, call: Call, order: Iterable[int], keywords: JitKeywords) -> Places:
    """Where the arrays of a call lie, in the ``order`` of a program's inputs.

    Raises:
      FunctionError: ``jax.jit`` refuses them, too.
      PlacementError: a keyword asks for what no bucket has.
    """
    mesh, device = _compat.mesh_around(), _device(keywords)
    whole = None
    if mesh is not None and _compat.is_explicit(mesh):
        whole = NamedSharding(mesh, PartitionSpec())
    if device is not None:
        results: Any = SingleDeviceSharding(device)
        asked = found = [results] * len(call.leaves)
    else:
        asked = _asked(name, call, keywords.in_shardings, mesh)
        found = list(map(_compat.committed_to, call.leaves))
        results = keywords.out_shardings
    places = []
    for k in order:
        place, leaf = found[k] if asked[k] is None else asked[k], call.leaves[k]
        if place is not None and not fits(place, jax.numpy.shape(leaf)):
            raise FunctionError(f"{name} cannot divide {described(leaf)} as {place} says")
        if asked[k] is not None and found[k] is not None and not _same(place, found[k], leaf):
            raise FunctionError(f"{name} is given {described(leaf)} where in_shardings has another")
        places.append(whole if place is None else _compat.canonical(place))
    results = _resolved(name, results, mesh)
    if whole is not None and not places:
        raise PlacementError(f"{name} has no array that says where it runs; {_REMEDY}")
    made = Places(tuple(places), results, mesh if whole is None else None)
    _one_assignment(name, made.all)
    usual = SingleDeviceSharding(_compat.default_device())
    return ANYWHERE if mesh is None and all(place == usual for place in made.all) else made


def commits(call: Call, keywords: JitKeywords) -> bool:
    """Whether something says where the results of a call lie, if no more than where they would."""
    given = keywords.device, keywords.backend, keywords.in_shardings, keywords.out_shardings
    asked = any(keyword is not None for keyword in given)
    return asked or any(_compat.committed_to(leaf) is not None for leaf in call.leaves)


def of_leaves(name: str, leaves: Iterable[Leaf], places: Places) -> tuple[Comparison, ...]:
    """What the sizes of a call must satisfy, so that padded arrays can lie where its arrays do.

    Raises:
      PlacementError: that cannot be said.
    """
    asked = list[Comparison]()
    for leaf, place in zip(leaves, places.inputs, strict=False):
        if place is None:
            continue
        needs = divisions(place, leaf.shape, {})
        if needs is None:
            shape = f"({', '.join(map(str, leaf.shape))})"
            raise PlacementError(
                f"'{leaf.name}' of {name} lies {_compat.said_of_place(place)}, which divide an "
                f"axis of {shape} that more than a symbol says: no bucket is sure to be "
                f"divisible; {_REMEDY}"
            )
        asked += needs
    return tuple(dict.fromkeys(asked))


def misfit(name: str, places: Places, shapes: Iterable[tuple[int, ...]]) -> PlacementError | None:
    """Why padded arrays cannot lie where the true ones do; None if they can."""
    for place, shape in zip(places.inputs, shapes, strict=False):
        if place is not None and not fits(place, shape):
            return PlacementError(
                f"{name} pads an array to the shape {shape}, which cannot be divided as "
                f"{place} says; {_REMEDY}"
            )
    return None


def on_device(keywords: JitKeywords, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments, with what lies elsewhere on the device that the keywords name, if they do."""
    device = _device(keywords)
    if device is None:
        return args, kwargs

    def moved(leaf: Any) -> Any:
        is_placed = isinstance(leaf, jax.Array) and _compat.committed_to(leaf) is not None
        return jax.device_put(leaf, device) if is_placed else leaf

    return jax.tree.map(moved, (args, kwargs))


def _device(keywords: JitKeywords) -> Any:
    """The device that keywords name; None if they name none."""
    if keywords.device is None and keywords.backend is not None:
        return _compat.first_device(keywords.backend)
    return keywords.device


def wanted(program: Program, places: Places) -> tuple[Comparison, ...]:
    """What else must hold of the sizes of a program, so that padded arrays can lie as it says.

    Raises:
      PlacementError: an array that it closes over, or a result, lies where buckets have none.
      UnsupportedPrimitiveError: an equation places arrays in a way that padding would change.
    """
    for array in program.constants:
        place = _compat.committed_to(array)
        if place is not None and (why := _unfit(place)):
            where = f"which lies {_compat.said_of_place(place)}{why}"
            raise PlacementError(
                f"{program.name} closes over {described(array)}, {where}; {_REMEDY}"
            )
    if program.computed_dims and len(devices_of(program, places)) > 1:
        raise PlacementError(
            f"{program.name} computes sizes from values, on more than one device; {_REMEDY}"
        )
    known, asked = program.region.divisors, list[Comparison]()
    pairs = zip(places.of_results(program.out_tree), program.out_shapes, strict=False)
    for place, shape in pairs:
        needs = () if place is None else divisions(place, shape, known)
        if needs is None:
            raise PlacementError(
                f"{program.name} has a result of shape {shape} that out_shardings divides, and "
                f"its padded size may not be divisible; {_REMEDY}"
            )
        asked += needs
    for eqn in equations(program.jaxpr):
        _check_placed(eqn, places.explicit_mesh is not None)
    _one_assignment(program.name, _all_places(program, places))
    return tuple(dict.fromkeys(asked))


def devices_of(program: Program, places: Places) -> tuple[Any, ...]:
    """The devices that a program runs on, in order; none where nothing says which."""
    named = (_compat.devices_of(place) for place in _all_places(program, places))
    return next((each for each in named if each), places.devices)


def brought(program: Program, places: Places, devices: tuple[Any, ...]) -> Program:
    """The program with what it closes over on its devices: there as it lies, or whole on each.

    As under ``jax.jit``, what it closes over does not say where it runs.
    """
    here = devices or (_compat.default_device(),)

    def moved(array: Any) -> Any:
        place = _compat.committed_to(array)
        if place is None and len(here) == 1:
            return array
        if place is not None and devices and _compat.devices_of(place) == devices:
            return array
        return _compat.copied_to(array, whole)

    whole = _compat.whole_on(devices, _all_places(program, places)) if devices else None
    constants = tuple(map(moved, program.constants))
    return dataclasses.replace(program, constants=constants)


def _all_places(program: Program, places: Places) -> Iterator[Any]:
    """Those that say where a program runs; not of ``device_put`` to one device, as JAX has it."""
    yield from places.all
    for eqn in equations(program.jaxpr):
        for named in _compat.places_in(eqn):
            if isinstance(named, Mesh) and not named.empty:
                named = NamedSharding(named, PartitionSpec())
            if not isinstance(named, Sharding):
                continue
            if eqn.primitive.name != "device_put" or named.num_devices > 1:
                yield named


def _check_placed(eqn: Any, is_typed: bool) -> None:
    """Raises where an equation places arrays in a way that may be wrong for padded ones.

    A ``sharding_constraint`` need not divide evenly, and ``device_put`` moves nothing in a program.
    """
    default, name = _compat.default_device(), eqn.primitive.name
    is_mapped_by_type = is_typed and name == "shard_map"
    for place in _compat.places_in(eqn):
        if isinstance(place, Sharding):
            is_usual = _compat.names_none_but(place, default) and _compat.has_usual_memory(place)
            is_harmless = is_usual or (name in _HINTS and not _unfit(place))
        elif isinstance(place, jax.Device):
            is_harmless = place == default or name in _HINTS
        else:  # a mesh, which places nothing by itself
            is_harmless = not is_mapped_by_type
        if is_harmless:
            continue
        raise UnsupportedPrimitiveError(
            eqn.primitive.name,
            _compat.source_line(eqn),
            f"it places arrays elsewhere than on {default}, in a way that is not known to be right "
            f"for padded ones; {_REMEDY}. with_sharding_constraint says the same of one array",
        )


def _asked(name: str, call: Call, given: Any, mesh: Any) -> list[Any]:
    """What ``in_shardings`` says of each leaf of a call; None where it says nothing."""
    if given is None:
        return [None] * len(call.leaves)
    if call.kwargs:
        raise FunctionError(f"{name} is called with keywords, and in_shardings has none")
    given = tuple(given) if isinstance(given, list) else given
    full = jax.tree.unflatten(
        jax.tree.structure(call.args), range(jax.tree.structure(call.args).num_leaves)
    )
    try:
        resolved = Places(results=_resolved(name, given, mesh))
        return list(resolved.of_results(jax.tree.structure(full)))
    except ValueError as error:
        raise FunctionError(f"{name} has in_shardings for other arguments: {error}") from error


def _resolved(name: str, given: Any, mesh: Any) -> Any:
    """Shardings in place of everything that stands for one."""

    def one(place: Any) -> Any:
        if place is None or isinstance(place, Sharding):
            if place is not None and (why := _unfit(place)):
                raise PlacementError(
                    f"{name} is asked for arrays {_compat.said_of_place(place)}{why}; {_REMEDY}"
                )
            return None if place is None else _compat.canonical(place)
        if isinstance(place, PartitionSpec) and mesh is not None:
            return NamedSharding(mesh, place)
        raise PlacementError(f"{name} is asked for {place!r}, which no bucket has; {_REMEDY}")

    if given is None:
        return None
    return jax.tree.map(one, given, is_leaf=lambda x: x is None or isinstance(x, PartitionSpec))


def _one_assignment(name: str, places: Iterable[Any]) -> None:
    """Raises where arrays lie on different devices, so that no program takes all of them."""
    found = {each for place in places if (each := _compat.devices_of(place)) is not None}
    if len(found) > 1:
        raise FunctionError(f"{name} has arrays on different devices")


def _same(one: Any, other: Any, array: Any) -> bool:
    return one.is_equivalent_to(other, len(array.shape))


def _unfit(place: Any) -> str:
    """What is wrong with a place for buckets, to follow the words for it; empty if nothing is."""
    if not _compat.has_usual_memory(place):
        return ", and buckets are for the memory that programs compute in"
    if _compat.is_partial(place):
        return " as sums that are still to be made"
    if _compat.devices_of(place) is not None and not _compat.is_addressable(place):
        return ", some of them of other processes"
    return ""
