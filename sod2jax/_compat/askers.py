"""What JAX asks of sizes for reasons of its own: no answer changes a result, or an error tells.

Functions are named as (file below ``jax/_src``, qualified name of the outermost function). A name
that ends in a dot stands for all methods of a class.
"""

from __future__ import annotations

import functools
import importlib.util
from types import CodeType

from jax._src import api_util, core
from jax._src.lax import lax as lax_internal
from jax._src.numpy import einsum

from sod2jax._compat.traces import JAX_DIRECTORY

_PRIVATE = JAX_DIRECTORY + "_src/"

# Those who ask for their caller: the caller is the one to judge by.
_RELAYS = frozenset(
    {
        ("core.py", "ShapeDtypeStruct.__eq__"),
        ("core.py", "ShapeDtypeStruct.__hash__"),
        ("core.py", "cancel_divide_tracers"),
        ("core.py", "definitely_equal"),
        ("core.py", "definitely_equal_one_of_dim"),
        ("core.py", "definitely_equal_shape"),
    }
)

_CACHE = "compares the keys of a cache; what it does not find it computes"
_FAST = "takes a shortcut where sizes are known to be equal; the long way gives the same"
_TRIVIAL = "asks whether an axis has one element; as one of many it is treated the same"
_BROADCAST = "axes of one name, or that line up, are equal or the error says so"
_STATIC = "tries whether bounds are numbers; what is not sliced so is gathered"
_SHARDING = "matters for shardings in types, which name no axes of one element, and are left out"
_CHECK = "checks itself: where the answer matters it raises, and the trace fails"

_KINDS_OF_FLAT_TREES = ("Dict", "Filtered", "PyTree", "Singleton", "Static", "Tuple")
# Arguments of a call, flattened, and the static ones among them, with which caches are asked.
_FLAT_TREES = (
    [("tree_util.py", "FlatTree.__eq__"), ("tree_util.py", "Static.__eq__")]
    if importlib.util.find_spec("jax._src.flattree") is None  # before jax 0.12
    else [("flattree.py", f"FT{kind}.") for kind in _KINDS_OF_FLAT_TREES]
)

# Who asks whether sizes are equal, and why the answer False is right everywhere.
HARMLESS_EQUALITIES = {
    ("core.py", "ShapedArray."): _CACHE,
    **dict.fromkeys(_FLAT_TREES, _CACHE),
    ("core.py", "dilate_dim"): _FAST,
    ("core.py", "is_empty_shape"): _FAST,
    ("interpreters/batching.py", "broadcast_batcher"): _FAST,
    ("lax/lax.py", "_broadcast_in_dim_batch_rule"): _FAST,
    ("lax/lax.py", "_broadcast_in_dim_fwd_rule"): _FAST,
    ("lax/lax.py", "_broadcast_in_dim_partial_eval"): _FAST,
    ("lax/lax.py", "_broadcast_in_dim_transpose_rule"): _TRIVIAL,
    ("lax/lax.py", "_broadcast_in_dim_shape_rule"): _CHECK,
    ("lax/lax.py", "_broadcast_shapes_uncached"): _FAST,
    ("lax/lax.py", "_maybe_broadcast"): _FAST,
    ("lax/lax.py", "_reduce_sum_dtype_rule"): _CHECK,
    ("lax/lax.py", "_tile_abstract_eval"): _SHARDING,
    ("lax/lax.py", "_try_broadcast_shapes"): _BROADCAST,
    ("lax/lax.py", "_unbroadcast"): _TRIVIAL,
    ("lax/lax.py", "broadcast_in_dim"): _SHARDING,
    ("lax/lax.py", "broadcast_to"): _FAST,
    ("lax/lax.py", "broadcasting_sharding_rule"): _SHARDING,
    ("lax/lax.py", "reshape"): _FAST,
    ("lax/linalg.py", "_solve"): _BROADCAST,
    ("lax/slicing.py", "_slice_shape_rule"): _FAST,
    ("numpy/einsum.py", "_einsum"): _BROADCAST,
    ("numpy/indexing.py", "_index_to_gather"): _FAST,
    ("numpy/indexing.py", "take_along_axis"): _TRIVIAL,
    ("numpy/tensor_contractions.py", "matmul"): _BROADCAST,
    ("numpy/util.py", "_broadcast_arrays"): _FAST,
}
# Who wants the number that a size is, and why it may do without.
HARMLESS_NUMBERS = {
    ("numpy/indexing.py", "NDIndexer."): _STATIC,
    ("numpy/indexing.py", "rewriting_take"): _STATIC,
    ("lax/control_flow/loops.py", "fori_loop"): "loops by a condition where bounds are no numbers",
}
# Who asks which of two sizes is larger, and goes on where that is not known.
HARMLESS_ORDERS = {
    ("lax/lax.py", "_top_k_abstract_eval"): "only whether indices are above 2**31",
    ("lax/linalg.py", "_svd_gpu_sub_lowering"): "chooses among algorithms, when it is compiled",
}
# Among them, whose comparisons with other sizes and smaller numbers are questions.
_OF_LARGE_NUMBERS = frozenset({("lax/lax.py", "_top_k_abstract_eval")})
# Who writes the text of sizes, and why that is no error that somebody may catch.
HARMLESS_TEXTS: dict[tuple[str, str], str] = {
    ("custom_derivatives.py", "_flatten_fwd"): "words an error before it knows of one",
    ("custom_derivatives.py", "_flatten_jvp"): "words an error before it knows of one",
    ("lax/lax.py", "_try_broadcast_shapes"): "guards tell where the error is to be raised",
    ("lax/lax.py", "_broadcast_shapes_uncached"): "words that error once more",
    ("numpy/indexing.py", "NDIndexer."): _STATIC,
}
# Among those who compare, who raises where a size is 0, which is another question.
_REFUSE_EMPTY = frozenset({("numpy/indexing.py", "_index_to_gather")})
# Raises where shapes do not broadcast: (module, name).
BROADCAST = (lax_internal, "_try_broadcast_shapes")
# Does not check how many elements there are, of symbolic shapes: (module, name).
RESHAPE = (lax_internal, "reshape")
# Compares sizes by numbers that stand for them: (module, name).
CONTRACTION = (einsum, "einsum")
# Makes as many arrays as an axis has elements: (module, name); in jax 0.10.0 nothing does.
UNSTACK = (lax_internal, "unstack") if hasattr(lax_internal, "unstack") else None
# Names functions, for people: the text of one that has no code of its own: (module, name).
SOURCE_OF_FUNCTION = (api_util, "fun_sourceinfo")
ShapedArray = core.ShapedArray
# What avals of one shape may differ in.
AVAL_FIELDS = tuple(k for k in ShapedArray.__slots__ if not k.startswith("_") and k != "shape")


@functools.lru_cache(maxsize=4096)
def _function(file: str, qualified: str) -> tuple[str, str]:
    return file.removeprefix(_PRIVATE).replace("\\", "/"), qualified.partition(".<locals>")[0]


def is_relay(code: CodeType) -> bool:
    """Whether a function of JAX asks for its caller."""
    return _function(code.co_filename, code.co_qualname) in _RELAYS


def is_harmless_equality(code: CodeType, with_zero: bool) -> bool:
    """Whether what a function of JAX asks may be answered by "not equal" at every size.

    Args:
      code: of the function.
      with_zero: whether it asks if a size is 0.
    """
    if with_zero and _function(code.co_filename, code.co_qualname) in _REFUSE_EMPTY:
        return False
    return _is_listed(code, HARMLESS_EQUALITIES)


def is_harmless_number(code: CodeType) -> bool:
    """Whether a function of JAX that wants a number takes another way where there is none."""
    return _is_listed(code, HARMLESS_NUMBERS)


def is_harmless_order(code: CodeType, than: object) -> bool:
    """Whether a function of JAX goes on where it is not known whether a size is larger than one."""
    asks_more = _function(code.co_filename, code.co_qualname) in _OF_LARGE_NUMBERS
    is_large = isinstance(than, int) and than >= 1 << 31
    return _is_listed(code, HARMLESS_ORDERS) and (is_large or not asks_more)


def is_harmless_text(code: CodeType) -> bool:
    """Whether a function of JAX writes the text of sizes for anything but an error."""
    return _is_listed(code, HARMLESS_TEXTS)


def _is_listed(code: CodeType, table: dict[tuple[str, str], str]) -> bool:
    file, name = _function(code.co_filename, code.co_qualname)
    owner = name.partition(".")[0] + "."
    return (file, name) in table or (file, owner) in table
