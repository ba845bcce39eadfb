"""What this package reads of JAX that JAX does not promise: checked when it is imported.

Without a version that has it all, errors would come later, from inside of a trace.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import jax

VERSIONS = ("0.10", "0.12")
"""The first and the last version of JAX that the tests have passed with."""

NEEDED: Mapping[str, str] = {
    "jax._src.ad_util": "Zero",
    "jax._src.array": "ArrayImpl",
    "jax._src.config": "eager_constant_folding enable_x64 trace_context",
    "jax._src.core": """
        EvalTrace JaxprEqnContext Primitive ShapedArray Tracer Var closed_call_p concrete_or_error
        eval_jaxpr is_concrete new_jaxpr_eqn pytype_aval_mappings set_current_trace trace_ctx typeof
    """,
    "jax._src.debugging": "debug_callback_p debug_effect debug_print_p ordered_debug_effect",
    "jax._src.dispatch": "apply_primitive",
    "jax._src.dtypes": """
        canonicalize_dtype python_scalar_types_to_dtypes register_canonicalize_value_handler
    """,
    "jax._src.effects": """
        Effect control_flow_allowed_effects custom_derivatives_allowed_effects lowerable_effects
        ordered_effects partial_eval_kept_effects remat_allowed_effects
    """,
    "jax._src.export.shape_poly": "_DimExpr",
    "jax._src.interpreters.ad": """
        JVPTrace LinearizeTrace instantiate_zeros is_undefined_primal primitive_jvps
        primitive_transposes
    """,
    "jax._src.interpreters.batching": """
        BatchTrace BatchTracer fancy_primitive_batchers primitive_batchers
    """,
    "jax._src.interpreters.mlir": "_lowerings lower_fun register_lowering",
    "jax._src.interpreters.partial_eval": "JaxprTrace dce_jaxpr_consts",
    "jax._src.interpreters.pxla": "batched_device_put",
    "jax._src.lax.control_flow.loops": "_infer_scan_length associative_scan",
    "jax._src.lax.lax": """
        _const _convert_element_type _reduce_jvp _sort_le_comparator _sort_lt_comparator
        copy_p
    """,
    "jax._src.lax.utils": "int_dtype_for_dim int_dtype_for_shape",
    "jax._src.mesh": "empty_abstract_mesh empty_concrete_mesh get_abstract_mesh get_concrete_mesh",
    "jax._src.numpy.hijax": "_searchsorted_impl _searchsorted_scan_impl",
    "jax._src.numpy.indexing": "eliminate_deprecated_list_indexing",
    "jax._src.numpy.lax_numpy": "_arange _pad_symmetric_or_reflect _pad_wrap _squeeze",
    "jax._src.random.core": "_shuffle",
    "jax._src.source_info_util": """
        NameStack Transform current_name_stack register_exclusion user_context user_frame
    """,
    "jax._src.tree_util": "default_registry",
    "jax.extend.core": "InconclusiveDimensionOperation Literal Primitive jaxpr_as_fun",
}
"""Names by module; what only some of these versions have is asked for where it is used."""


def check(needed: Mapping[str, str] = NEEDED) -> None:
    """Raises where the JAX at hand lacks something.

    Raises:
      ImportError: it does; the message says what, and which versions have it.
    """
    missing = [f"{m}.{name}" for m, names in needed.items() for name in _lacking(m, names.split())]
    if missing:
        first, last = VERSIONS
        after = f"0.{int(last.split('.')[1]) + 1}"
        raise ImportError(
            f"jax {jax.__version__} has no {', '.join(missing)}, which sod2jax reads. It works "
            f"with jax {first} to {last}: pip install 'jax>={first},<{after}'"
        )


def _lacking(module: str, names: list[str]) -> list[str]:
    try:
        found = importlib.import_module(module)
    except ImportError:
        return names
    return [name for name in names if not hasattr(found, name)]


check()
