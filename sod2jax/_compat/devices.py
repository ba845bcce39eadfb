"""Where arrays lie, and where JAX runs what is told nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax._src.array import ArrayImpl
from jax._src.mesh import get_concrete_mesh
from jax.sharding import (
    AbstractMesh,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

from sod2jax._compat.arrays import is_key_array, key_array, key_bits


def committed_to(array: Any) -> Sharding | None:
    """Where a user has placed an array; None if it goes wherever a program runs."""
    if isinstance(array, jax.ShapeDtypeStruct):
        return array.sharding
    return array.sharding if getattr(array, "_committed", False) else None


def unplaced_aval(array: Any) -> Any:
    """The abstract value of a JAX array that goes wherever a program runs; None for all else.

    Calls ask it of each of their arrays: most have one, and it takes a tenth of a microsecond.
    """
    return array.aval if type(array) is ArrayImpl and not array._committed else None


def committed(array: jax.Array) -> jax.Array:
    """The array as one that a user has placed where it lies."""
    return array if getattr(array, "_committed", True) else jax.device_put(array, array.sharding)


def default_device() -> Any:
    """The device where programs of arrays that are not placed run."""
    chosen: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
    if chosen is None:
        return jax.local_devices()[0]
    return first_device(chosen) if isinstance(chosen, str) else chosen


def first_device(backend: str) -> Any:
    """The first device of a platform."""
    return jax.local_devices(backend=backend)[0]


def is_compile_only(device: Any) -> bool:
    """Whether a device is none of this machine: programs can be compiled for it, and no more."""
    client = getattr(device, "client", None)
    return getattr(client, "runtime_type", None) == "compile_only_runtime"


def is_loaded(compiled: Any) -> bool:
    """Whether a ``jax.stages.Compiled`` is on a device that is there."""
    return hasattr(compiled.runtime_executable(), "local_devices")


def mesh_around() -> Mesh | None:
    """The mesh of devices that the code around says programs are for (``jax.set_mesh``)."""
    mesh = get_concrete_mesh()
    return None if mesh.empty else mesh


@contextlib.contextmanager
def under(mesh: Mesh | None) -> Iterator[None]:
    """Says of what is within that programs are for a mesh; other threads have not heard of it."""
    if mesh is None or get_concrete_mesh() == mesh:
        yield
    else:
        with jax.set_mesh(mesh):
            yield


def mesh_of(place: Any) -> Any:
    """The mesh, with devices or without, that a sharding names; None if it names none."""
    return getattr(place, "mesh", None)


def devices_of(place: Sharding) -> tuple[Any, ...] | None:
    """The devices of a place, in order; None for a mesh without devices."""
    if isinstance(mesh_of(place), AbstractMesh):
        return None
    return tuple(place._device_assignment)


def names_none_but(place: Sharding, device: Any) -> bool:
    """Whether a place is one device, or none: meshes of types have devices of their own."""
    return devices_of(place) in (None, (device,))


def is_addressable(place: Sharding) -> bool:
    """Whether this process holds all of an array that lies there."""
    return place.is_fully_addressable


def has_usual_memory(place: Sharding) -> bool:
    """Whether a place is in the memory that its devices compute in."""
    if isinstance(mesh_of(place), AbstractMesh):
        return place.memory_kind in (None, "device")
    (device, *_) = place._device_assignment
    return place.memory_kind in (None, device.default_memory().kind)


def parts_along(place: Sharding, rank: int) -> tuple[int, ...]:
    """Into how many parts a place divides each axis of an array."""
    count = place.num_devices
    return tuple(count // kept for kept in place.shard_shape((count,) * rank))


def canonical(place: Sharding) -> Sharding:
    """One of the equal ways to say where an array lies."""
    if not isinstance(place, NamedSharding):
        return place
    spec = list(place.spec)
    while spec and spec[-1] is None:
        spec.pop()
    kind = None if has_usual_memory(place) else place.memory_kind
    return NamedSharding(place.mesh, PartitionSpec(*spec), memory_kind=kind)


def is_partial(place: Sharding) -> bool:
    """Whether devices hold terms of sums."""
    return bool(getattr(getattr(place, "spec", None), "unreduced", None))


def undivided(place: Sharding, axes: Sequence[int]) -> Sharding:
    """A place that has some axes whole, and divides the others as before where that can be said."""
    if not isinstance(place, NamedSharding):
        return whole_on(place._device_assignment)
    spec = [None if k in axes else names for k, names in enumerate(place.spec)]
    return canonical(NamedSharding(place.mesh, PartitionSpec(*spec), memory_kind=place.memory_kind))


def whole_on(devices: Sequence[Any], others: Iterable[Sharding] = ()) -> Sharding:
    """The place of arrays that each of some devices has all of, in the mesh of others there."""
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0])
    meshes = (place.mesh for place in others if isinstance(place, NamedSharding))
    mesh = next((mesh for mesh in meshes if isinstance(mesh, Mesh)), None)
    return NamedSharding(mesh or Mesh([*devices], ("devices",)), PartitionSpec())


def copied_to(array: Any, place: Sharding | None) -> jax.Array:
    """A copy in a place; where that is None, on the default device and not committed to it."""
    if not is_key_array(array):
        return jax.device_put(np.asarray(array), place)
    return key_array(copied_to(key_bits(array), place), array)


def said_of_place(place: Sharding) -> str:
    """Where an array lies, in words."""
    if place.num_devices > 1:
        return f"on {place.num_devices} devices"
    (device,) = place.device_set
    return f"on {device}" + ("" if has_usual_memory(place) else f" in {place.memory_kind} memory")


def places_in(eqn: Any) -> list[Any]:
    """The devices, meshes and shardings that an equation's parameters name."""
    kinds = (jax.Device, Mesh, AbstractMesh, Sharding)
    return [value for value in _flat(eqn.params.values()) if isinstance(value, kinds)]


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value
