"""Shardings that are part of types: meshes with explicit axes, and programs without them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax._src import config, core
from jax._src import mesh as mesh_lib
from jax._src.lax import lax as lax_internal
from jax._src.mesh import empty_abstract_mesh, empty_concrete_mesh, get_abstract_mesh
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from sod2jax._compat.jaxprs import Jaxpr, JaxprEqn, is_jaxpr, is_literal, sub_jaxprs

# The meshes around; before jax 0.12 they stand among the settings.
_STATE: Any = mesh_lib if hasattr(mesh_lib, "abstract_mesh_context_manager") else config
_ABSTRACT, _CONCRETE = _STATE.abstract_mesh_context_manager, _STATE.device_context

_OF_TYPES = ("mesh_cast", "reshard")  # change types alone, or place what XLA places
_OF_RESULTS = ("sharding", "out_sharding")  # parameters that say what the type of a result is


def is_explicit(mesh: Any) -> bool:
    """Whether a mesh makes shardings part of types."""
    if mesh is None or mesh.empty:
        return False
    return any(kind == AxisType.Explicit for kind in mesh.axis_types)


def has_explicit_axes() -> bool:
    """Whether the mesh around makes shardings part of types."""
    return is_explicit(get_abstract_mesh())


def _is_told(mesh: Any) -> bool:
    return is_explicit(mesh) and mesh.size > 1


def typed_place(aval: Any) -> Any:
    """The sharding in a type, of a mesh without devices; None if there is none.

    That of one device says nothing, and without it more can be traced.
    """
    place = getattr(aval, "sharding", None)
    return place if place is not None and _is_told(place.mesh) else None


def typed(aval: Any, place: Any) -> Any:
    """The type of an array that lies in a place, if the mesh there makes that part of it."""
    if not isinstance(place, NamedSharding) or not _is_told(place.mesh):
        return aval
    return aval.update(sharding=NamedSharding(place.mesh.abstract_mesh, place.spec))


def automatic(place: Any) -> Any:
    """The same place in a mesh that leaves shardings out of types."""
    if not isinstance(place, NamedSharding) or not is_explicit(place.mesh):
        return place
    return NamedSharding(_automatic_mesh(place.mesh), place.spec, memory_kind=place.memory_kind)


def on_mesh(place: NamedSharding, mesh: Any) -> NamedSharding:
    """The place that a type names, on the devices of a mesh."""
    return NamedSharding(mesh, place.spec)


def renamed(array: Any, mesh: Mesh) -> Any:
    """An array that lies in a place of another mesh of the same devices, as one of this mesh."""
    place = getattr(array, "sharding", None)
    if not isinstance(place, NamedSharding) or place.mesh == mesh:
        return array
    return jax.device_put(array, NamedSharding(mesh, place.spec, memory_kind=place.memory_kind))


def _automatic_mesh(mesh: Any) -> Any:
    kinds = (AxisType.Auto,) * len(mesh.axis_names)
    if isinstance(mesh, Mesh):
        return Mesh(mesh.devices, mesh.axis_names, axis_types=kinds)
    return AbstractMesh(mesh.axis_sizes, mesh.axis_names, axis_types=kinds)


@contextlib.contextmanager
def untyped_context() -> Iterator[None]:
    """Leaves the mesh around, if it makes shardings part of types."""
    if not has_explicit_axes():
        yield
        return
    with _meshes(empty_abstract_mesh, empty_concrete_mesh):
        yield


def under_present_mesh(function: Callable[[], Any]) -> Callable[[], Any]:
    """The function, called under the mesh that is around now, if ``untyped_context`` leaves it."""
    if not has_explicit_axes():
        return function
    around = _ABSTRACT.value, _CONCRETE.value

    def called() -> Any:
        with _meshes(*around):
            return function()

    return called


@contextlib.contextmanager
def _meshes(abstract: Any, concrete: Any) -> Iterator[None]:
    before = _ABSTRACT.swap_local(abstract)
    concrete_before = _CONCRETE.swap_local(concrete)
    try:
        yield
    finally:
        _ABSTRACT.set_local(before)
        _CONCRETE.set_local(concrete_before)


def untyped(jaxpr: Jaxpr) -> Jaxpr:
    """A program whose types name no shardings; itself if they name none.

    What it computes is the same; where values lie inside is XLA's to say.
    """
    return _untyped(jaxpr) if _is_typed(jaxpr) else jaxpr


def _is_typed(jaxpr: Jaxpr) -> bool:
    if any(map(_has_typed, (*jaxpr.constvars, *jaxpr.invars))):
        return True
    return any(map(_is_typed_equation, jaxpr.eqns))


def _has_typed(var: Any) -> bool:
    return is_explicit(getattr(getattr(var.aval, "sharding", None), "mesh", None))


def _is_typed_equation(eqn: JaxprEqn) -> bool:
    if is_explicit(eqn.ctx.cur_abstract_mesh) or eqn.primitive.name in _OF_TYPES:
        return True
    return any(map(_has_typed, eqn.outvars)) or any(_is_typed(b) for _, b in sub_jaxprs(eqn))


def _untyped(jaxpr: Jaxpr) -> Jaxpr:
    env: dict[Any, Any] = {}

    def plain(atom: Any) -> Any:
        if is_literal(atom):
            return type(atom)(atom.val, _plain(atom.aval))
        if atom not in env:
            env[atom] = core.Var(_plain(atom.aval))
        return env[atom]

    def all_of(atoms: Sequence[Any]) -> list[Any]:
        return list(map(plain, atoms))

    new = {
        "constvars": all_of(jaxpr.constvars),
        "invars": all_of(jaxpr.invars),
        "eqns": [_untyped_equation(e, all_of(e.invars), all_of(e.outvars)) for e in jaxpr.eqns],
        "outvars": all_of(jaxpr.outvars),
    }
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # closed, before jax 0.11
        return jaxpr.replace(jaxpr=jaxpr.jaxpr.replace(**new))
    return jaxpr.replace(**new)


def _untyped_equation(eqn: JaxprEqn, invars: list[Any], outvars: list[Any]) -> JaxprEqn:
    primitive, params = eqn.primitive, {k: _parameter(k, v) for k, v in eqn.params.items()}
    if primitive.name in _OF_TYPES:
        primitive, params = lax_internal.copy_p, {}
    return core.new_jaxpr_eqn(
        invars, outvars, primitive, params, eqn.effects, eqn.source_info, _untyped_mesh(eqn.ctx)
    )


def _untyped_mesh(context: Any) -> Any:
    """What an equation was traced under, without a mesh that makes shardings part of types."""
    if not is_explicit(context.cur_abstract_mesh):
        return context
    with context.manager:
        before = _ABSTRACT.swap_local(empty_abstract_mesh)
        try:
            return core.JaxprEqnContext()
        finally:
            _ABSTRACT.set_local(before)


def _parameter(name: str, value: Any) -> Any:
    if is_jaxpr(value):
        return untyped(value)
    if isinstance(value, (tuple, list)) and not isinstance(value, PartitionSpec):
        new = [_parameter(name, each) for each in value]
        if all(a is b for a, b in zip(new, value, strict=True)):
            return value
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    if isinstance(value, core.ShapedArray):
        return _plain(value)
    if isinstance(value, (Mesh, AbstractMesh)) and is_explicit(value):
        return empty_concrete_mesh if name == "ctx_mesh" else _automatic_mesh(value)
    if isinstance(value, NamedSharding) and is_explicit(value.mesh):
        return None if name in _OF_RESULTS else automatic(value)
    return None if isinstance(value, PartitionSpec) and name in _OF_RESULTS else value


def _plain(aval: Any) -> Any:
    """The type without its sharding."""
    if not isinstance(aval, core.ShapedArray) or not is_explicit(aval.sharding.mesh):
        return aval
    return aval.update(sharding=NamedSharding(empty_abstract_mesh, PartitionSpec()))
