"""Primitives whose every output lane depends on the same lane of their operands."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.rewrite import fills
from sod2jax.rewrite.context import Context
from sod2jax.rewrite.engine import register_pad_rule
from sod2jax.rewrite.lanes.layouts import align_axes, broadcast_extents
from sod2jax.rewrite.padded import Padded

UNARY = (
    "abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil clz conj "
    "convert_element_type copy copy_p cos cosh digamma erf erf_inv erfc exp exp2 expm1 floor imag "
    "integer_pow is_finite lgamma log log1p log2 logistic neg not one_minus_square "
    "population_count real reduce_precision round rsqrt sign sin sinh sqrt square stop_gradient "
    "tan tanh"
).split()
BINARY = (
    "add add_any and atan2 complex div eq eq_to ge gt igamma igamma_grad_a igammac le le_to lt "
    "lt_to max min mul mulhi ne nextafter or polygamma pow random_gamma_grad rem shift_left "
    "shift_right_arithmetic shift_right_logical sub xor zeta"
).split()
MORE = "clamp polynomial regularized_incomplete_beta select_n".split()


@register_pad_rule(*UNARY, *BINARY, *MORE)
def _elementwise(ctx: Context, eqn: JaxprEqn, *operands: Padded) -> list[Padded]:
    """Binds the primitive as it is: garbage in pad lanes stays in pad lanes."""
    operands = align_axes(ctx, operands)
    extents = broadcast_extents(operands)
    (out,) = ctx.bind(*(p.array for p in operands))
    facts = fills.elementwise(eqn.primitive.name, operands, extents, out.dtype)
    return [Padded(out, extents, **facts)]


@register_pad_rule("bitcast_convert_type")
def _bitcast_convert_type(ctx: Context, eqn: JaxprEqn, operand: Padded) -> list[Padded]:
    """Binds the primitive; a change of width adds or drops a last axis without pad lanes."""
    (out,) = ctx.bind(operand.array)
    kept = min(operand.rank, out.ndim)
    added = [(size,) for size in out.shape[kept:]]
    return [Padded(out, (*operand.extents[:kept], *added))]
