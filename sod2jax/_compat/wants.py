"""Functions of JAX that want sizes as numbers, and what stands in for them is made of."""

from __future__ import annotations

from jax._src import core
from jax._src.lax import lax as lax_internal
from jax._src.lax import utils as lax_utils
from jax._src.lax.control_flow import loops
from jax._src.numpy import hijax, indexing, lax_numpy, linalg, ufuncs
from jax._src.random import core as random_core

# Modules that ask ``operator.index`` whether a value is a number, or loop by its bits.
TELL_SIZES_APART = (core.__name__, ufuncs.__name__, linalg.__name__)
_VIA_EXPAND = hasattr(hijax, "searchsorted_via_expand")  # before jax 0.12

# JAX's functions that want sizes as numbers: (module, name).
WANT_NUMBERS = {
    "arange": (lax_numpy, "_arange"),
    "associative_scan": (loops, "associative_scan"),
    "bisect": (hijax, "_searchsorted_scan_impl"),
    "concrete_or_error": (core, "concrete_or_error"),
    "constant": (lax_internal, "_const"),
    "dtype_for_dim": (lax_utils, "int_dtype_for_dim"),
    "dtype_for_shape": (lax_utils, "int_dtype_for_shape"),
    "index": (indexing, "eliminate_deprecated_list_indexing"),
    "pad_mirrored": (lax_numpy, "_pad_symmetric_or_reflect"),
    "pad_wrap": (lax_numpy, "_pad_wrap"),
    "reduce_jvp": (lax_internal, "_reduce_jvp"),
    "scan_length": (loops, "_infer_scan_length"),
    "searchsorted": (hijax, "searchsorted_via_expand" if _VIA_EXPAND else "searchsorted"),
    "shuffle": (random_core, "_shuffle"),
    "squeeze": (lax_numpy, "_squeeze"),
}
searchsorted = hijax._searchsorted_impl
sorts_before = lax_internal._sort_lt_comparator
sorts_before_or_equal = lax_internal._sort_le_comparator
