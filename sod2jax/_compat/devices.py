"""Where arrays lie, and where JAX runs what is told nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
from jax._src.array import ArrayImpl
from jax._src.mesh import get_abstract_mesh, get_concrete_mesh
from jax.sharding import AbstractMesh, Mesh, Sharding


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


def default_device() -> Any:
    """The device where programs of arrays that are not placed run."""
    chosen: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
    if chosen is None:
        return jax.local_devices()[0]
    return jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen


def is_compile_only(device: Any) -> bool:
    """Whether a device is none of this machine: programs can be compiled for it, and no more."""
    client = getattr(device, "client", None)
    return getattr(client, "runtime_type", None) == "compile_only_runtime"


def is_loaded(compiled: Any) -> bool:
    """Whether a ``jax.stages.Compiled`` is on a device that is there."""
    return hasattr(compiled.runtime_executable(), "local_devices")


def has_mesh() -> bool:
    """Whether the code around says that programs are for other devices than the default one."""
    if get_abstract_mesh().size > 1:
        return True
    mesh = get_concrete_mesh()  # of one device, then, which need not be that one
    return not mesh.empty and set(mesh.devices.flat) != {default_device()}


def is_elsewhere(place: Sharding) -> bool:
    """Whether a place is not the default device and its default memory."""
    device = default_device()
    memory = getattr(place, "memory_kind", None)
    usual = (None, device.default_memory().kind)
    return set(place.device_set) != {device} or memory not in usual


def said_of_place(place: Sharding) -> str:
    """Where an array lies, in words."""
    if len(place.device_set) > 1:
        return f"on {len(place.device_set)} devices"
    (device,) = place.device_set
    memory = getattr(place, "memory_kind", None)
    is_usual = memory in (None, device.default_memory().kind)
    return f"on {device}" + ("" if is_usual else f" in {memory} memory")


def places_elsewhere(eqn: Any) -> bool:
    """Whether an equation's parameters name devices, or a memory, other than the default ones."""
    return any(map(_is_other, _flat(eqn.params.values())))


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value


def _is_other(value: Any) -> bool:
    if isinstance(value, jax.Device):
        return value != default_device()
    if isinstance(value, (Mesh, AbstractMesh)):
        return not value.empty and value.size > 1
    return isinstance(value, Sharding) and _has_devices(value) and is_elsewhere(value)


def _has_devices(place: Sharding) -> bool:
    return not isinstance(getattr(place, "mesh", None), AbstractMesh)
