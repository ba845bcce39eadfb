"""The primitives of JAX: those of the installed version, and those that only others have."""

from __future__ import annotations

import json
import subprocess
import sys

from sod2jax.ir import vocabulary

# Imports all of JAX but its kernel languages, and prints every primitive that lives outside them.
# In a process of its own, so that the primitives of other tests are not among them.
SCAN = """
import gc, importlib, json, pkgutil, sys
import jax
from jax.extend.core import Primitive

def in_kernel_language(name):
    return any(word in name for word in ("pallas", "mosaic", "triton"))

def import_all(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if in_kernel_language(module.name):
            continue
        try:
            found = importlib.import_module(module.name)
        except ImportError:  # of a package that JAX itself does not require
            continue
        if module.ispkg:
            import_all(found)

import_all(jax)
homes = {}
for name, module in list(sys.modules.items()):
    for value in list(vars(module).values()) if name.startswith("jax") else ():
        if isinstance(value, Primitive):
            homes.setdefault(id(value), set()).add(name)
print(json.dumps(sorted({
    value.name
    for value in gc.get_objects()
    if isinstance(value, Primitive)
    and not (homes.get(id(value)) and all(map(in_kernel_language, homes[id(value)])))
})))
"""

SINCE_0_10_1 = {"stack", "stage", "unstack"}
SINCE_0_10_2 = {"mulhi", "philox2x32", "philox4x32", "threefry4x32"}
SINCE_0_11_1 = {"relayout", "unreduced_pmax", "unreduced_pmin"}
SINCE_0_12 = {
    "log2",
    "one_minus_square",
    "pbroadcast_dynamic",
    "polynomial",
    "program_order",
    "reduced_vary_cast",
    "thunky.all_gather",
    "thunky.all_reduce",
    "thunky.all_to_all",
    "thunky.async_done",
    "thunky.async_start",
    "thunky.call_jax",
    "thunky.call_thunky_nested",
    "thunky.collective_group",
    "thunky.collective_permute",
    "thunky.cond",
    "thunky.copy",
    "thunky.custom_call",
    "thunky.inline_constant",
    "thunky.memset",
    "thunky.memzero",
    "thunky.ptx_kernel",
    "thunky.reduce_scatter",
    "thunky.while",
    "vary_unreduced_cast",
    "with_memory_space_constraint",
}
GONE_IN_0_11_1 = {
    "box_get",
    "box_set",
    "call",
    "closed_call",
    "log_extend",
    "log_read",
    "new_box",
    "new_log",
    "pbroadcast_done",
    "pbroadcast_start",
    "psum_start",
    "unreduced_psum_start",
    "unreduced_reduce_scatter_start",
}
GONE_IN_0_12 = {"reduced_vary_cast_p", "shard_alike", "vary_unreduced_cast_p"}
NEEDS_TENSORFLOW = {"call_tf"}
OURS = {"eigh_any_basis", "gated_rows", "lanewise", "svd_any_basis", "value_as_dim"}


def absent_names(version: tuple[int, ...]) -> set[str]:
    """Names of the vocabulary that a version of JAX does not define."""
    since = {
        (0, 10, 1): SINCE_0_10_1,
        (0, 10, 2): SINCE_0_10_2,
        (0, 11, 1): SINCE_0_11_1,
        (0, 12): SINCE_0_12,
    }
    gone = {(0, 11, 1): GONE_IN_0_11_1, (0, 12): GONE_IN_0_12}
    later = [names for first, names in since.items() if version < first]
    past = [names for first, names in gone.items() if version >= first]
    return set().union(*later, *past)


def installed() -> set[str]:
    """Names of the primitives of the installed JAX."""
    command = [sys.executable, "-W", "ignore", "-c", SCAN]
    return set(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def every_name() -> frozenset[str]:
    """All names of the vocabulary."""
    return frozenset().union(*groups().values())


def groups() -> dict[str, frozenset[str]]:
    """The groups of the vocabulary by name, basic ones and unions."""
    return {key: value for key, value in vars(vocabulary).items() if isinstance(value, frozenset)}
