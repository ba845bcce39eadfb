"""Operations of each primitive without control flow: one literal table, and formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sod2jax import _compat
from sod2jax._compat import Atom, JaxprEqn
from sod2jax.ir import dims, vocabulary
from sod2jax.ir.dims import Dim

# Transparent to fusion and free of flops: elements are moved, repeated, generated or renamed.
MOVES = frozenset().union(
    vocabulary.IDENTITIES,
    vocabulary.REINTERPRETATIONS,
    vocabulary.KEY_CASTS,
    vocabulary.GENERATORS,
    vocabulary.LAYOUT,
    vocabulary.ASSEMBLY,
    vocabulary.DYNAMIC_SLICES,
    vocabulary.GATHERS,
    {"dim_as_value"},
)
_COMPUTED = vocabulary.ELEMENTWISE | vocabulary.CASTS
# XLA counts what it expands it to, without any function of the hardware.
_TRANSCENDENTAL = vocabulary.TRANSCENDENTAL - {"erf_inv"}
# Operations per element of elementwise primitives, as XLA counts what it expands them to; else 1.
_OPERATIONS = {
    "logistic": 4,
    "erf_inv": 39,
    "erfc": 61,
    **dict.fromkeys("acos asin atan".split(), 7),
    **dict.fromkeys("acosh asinh atanh cosh sinh".split(), 13),
    **dict.fromkeys("bessel_i0e bessel_i1e digamma lgamma".split(), 60),
    **dict.fromkeys("igamma igammac igamma_grad_a polygamma zeta".split(), 500),
    "regularized_incomplete_beta": 1000,
}
# Operations per element that is read and reduced.
_REDUCTIONS = {
    **dict.fromkeys(vocabulary.REDUCTIONS, 1),
    **dict.fromkeys(vocabulary.ARG_REDUCTIONS, 9),
}
_BLOCK = 16  # XLA sums up in blocks of this many elements: operations per element
_BITS_PER_WORD = 50  # operations for 32 random bits by Threefry's 20 rounds
_SORT_DEPTH = 16  # comparisons per element where the length is symbolic


def elements(atom: Atom) -> Dim:
    """How many elements an operand or result has."""
    return dims.product(map(dims.from_jax, getattr(atom.aval, "shape", ())))


def width(atom: Atom) -> int:
    """Bytes of an element."""
    dtype = getattr(atom.aval, "dtype", None)
    return getattr(dtype, "itemsize", 4) if dtype is not None else 0


def size_of(atom: Atom) -> Dim:
    """Bytes of an operand or result."""
    return dims.normalise(elements(atom) * width(atom))


def _sizes(atom: Atom) -> tuple[Dim, ...]:
    return tuple(map(dims.from_jax, atom.aval.shape))


def fuses(eqn: JaxprEqn) -> bool:
    """Whether XLA computes an equation inside the kernels that read its result."""
    name = eqn.primitive.name
    return name in MOVES or name in _COMPUTED


def takes_in(eqn: JaxprEqn) -> bool:
    """Whether an equation computes its operands as it reads them."""
    return fuses(eqn) or eqn.primitive.name in _REDUCTIONS


def is_transcendental(eqn: JaxprEqn) -> bool:
    """Whether an equation evaluates one transcendental function per element of its result."""
    return eqn.primitive.name in _TRANSCENDENTAL


def flops(eqn: JaxprEqn) -> tuple[Dim, int]:
    """(number of times, operations each time) of an equation without control flow."""
    name = eqn.primitive.name
    if name in MOVES or not eqn.outvars:
        return 1, 0
    if name in _FORMULAS:
        return _FORMULAS[name](eqn)
    if name in _REDUCTIONS:
        before, after = map(elements, (eqn.invars[0], eqn.outvars[0]))
        return dims.normalise(before - after), _REDUCTIONS[name]
    if name in vocabulary.CUMULATIVE:
        return elements(eqn.outvars[0]), _BLOCK
    return elements(eqn.outvars[0]), _OPERATIONS.get(name, 1)


def _integer_pow(eqn: JaxprEqn) -> tuple[Dim, int]:
    power = abs(eqn.params["y"])
    multiplications = max(power.bit_length() + power.bit_count() - 2, 0)
    return elements(eqn.outvars[0]), multiplications + (eqn.params["y"] < 0)


def _dot_general(eqn: JaxprEqn) -> tuple[Dim, int]:
    (contracting, _), _ = eqn.params["dimension_numbers"]
    shape = _sizes(eqn.invars[0])
    return dims.product((elements(eqn.outvars[0]), *(shape[k] for k in contracting))), 2


def _ragged_dot(eqn: JaxprEqn) -> tuple[Dim, int]:
    return dims.product((elements(eqn.outvars[0]), _sizes(eqn.invars[0])[-1])), 2


def _convolution(eqn: JaxprEqn) -> tuple[Dim, int]:
    """Each element of the result meets the whole kernel of its output feature.

    XLA leaves out the products with padding, at edges and between dilated lanes.
    """
    kernel = _sizes(eqn.invars[1])
    spec = eqn.params["dimension_numbers"].rhs_spec
    return dims.product((elements(eqn.outvars[0]), *(kernel[k] for k in spec[1:]))), 2


def _window(eqn: JaxprEqn) -> tuple[Dim, int]:
    lanes = dims.product(map(dims.from_jax, eqn.params["window_dimensions"]))
    return dims.product((elements(eqn.outvars[0]), dims.normalise(lanes - 1))), _reducer(eqn)


def _reduce(eqn: JaxprEqn) -> tuple[Dim, int]:
    before, after = map(elements, (eqn.invars[0], eqn.outvars[0]))
    return dims.normalise(before - after), _reducer(eqn)


def _reducer(eqn: JaxprEqn) -> int:
    return max(sum(len(body.eqns) for _, body in _compat.sub_jaxprs(eqn)), 1)


def _scatter(eqn: JaxprEqn) -> tuple[Dim, int]:
    return elements(eqn.invars[-1]), 1


def _sort(eqn: JaxprEqn) -> tuple[Dim, int]:
    length = _sizes(eqn.invars[0])[eqn.params["dimension"]]
    depth = max((length - 1).bit_length(), 1) if isinstance(length, int) else _SORT_DEPTH
    return elements(eqn.invars[0]), depth


def _top_k(eqn: JaxprEqn) -> tuple[Dim, int]:
    return elements(eqn.invars[0]), _SORT_DEPTH


def _cubic(factor: float) -> Callable[[Any], tuple[Dim, int]]:
    """Factorisations: so many operations per element of a matrix and its smaller side."""

    def count(eqn: JaxprEqn) -> tuple[Dim, int]:
        *_, rows, columns = _sizes(eqn.invars[0])
        side = columns if rows == columns else _smaller(rows, columns)
        return dims.product((elements(eqn.invars[0]), side)), math.ceil(factor)

    return count


def _smaller(a: Dim, b: Dim) -> Dim:
    return dims.normalise(dims.minimum(a, b))  # type: ignore[arg-type]


def _triangular_solve(eqn: JaxprEqn) -> tuple[Dim, int]:
    return dims.product((elements(eqn.outvars[0]), _sizes(eqn.invars[0])[-1])), 1


def _fft(eqn: JaxprEqn) -> tuple[Dim, int]:
    lengths = list(map(dims.from_jax, eqn.params["fft_lengths"]))
    depth = sum((n - 1).bit_length() if isinstance(n, int) else _SORT_DEPTH for n in lengths)
    return elements(eqn.invars[0]), 5 * max(depth, 1)


def _random_bits(eqn: JaxprEqn) -> tuple[Dim, int]:
    words = max(int(np.dtype(eqn.outvars[0].aval.dtype).itemsize) // 4, 1)
    return elements(eqn.outvars[0]), _BITS_PER_WORD * words


_FORMULAS: dict[str, Callable[[Any], tuple[Dim, int]]] = {
    "integer_pow": _integer_pow,
    "dot_general": _dot_general,
    "ragged_dot_general": _ragged_dot,
    "conv_general_dilated": _convolution,
    **dict.fromkeys(vocabulary.WINDOW_REDUCTIONS, _window),
    "reduce": _reduce,
    **dict.fromkeys(vocabulary.SCATTERS, _scatter),
    "sort": _sort,
    "top_k": _top_k,
    "cholesky": _cubic(1 / 3),
    "lu": _cubic(2 / 3),
    **dict.fromkeys("geqrf householder_product qr".split(), _cubic(2)),
    **dict.fromkeys("eigh eigh_any_basis tridiagonal".split(), _cubic(9)),
    **dict.fromkeys("eig schur svd svd_any_basis".split(), _cubic(20)),
    "triangular_solve": _triangular_solve,
    "fft": _fft,
    **dict.fromkeys("random_bits threefry2x32".split(), _random_bits),
}
