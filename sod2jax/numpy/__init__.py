"""NumPy's functions whose results have sizes that depend on values.

Inside a function under ``sod2jax.optimize`` the size of the result is a new symbolic dimension: any
later operation may use it, and outputs come back at their true sizes. It may be 0. ``cut`` of
``optimize`` says whether the program goes on in the same executable, padded to the largest size
that there can be, or in the bucket that holds the size.

Outside they are NumPy's own for NumPy arrays, and give JAX arrays of fixed sizes for JAX arrays.
Inside ``jax.jit``, ``vmap`` or a loop of JAX no such array can be made: they raise
``DataDependentSizeError``.

Dtypes inside are JAX's: indices and counts are int32, or int64 with 64 bits enabled.
"""

from sod2jax.numpy._boxes import nms as nms
from sod2jax.numpy._grow import arange as arange
from sod2jax.numpy._grow import bincount as bincount
from sod2jax.numpy._grow import concatenate as concatenate
from sod2jax.numpy._grow import insert as insert
from sod2jax.numpy._grow import repeat as repeat
from sod2jax.numpy._select import argwhere as argwhere
from sod2jax.numpy._select import boolean_index as boolean_index
from sod2jax.numpy._select import compress as compress
from sod2jax.numpy._select import delete as delete
from sod2jax.numpy._select import extract as extract
from sod2jax.numpy._select import flatnonzero as flatnonzero
from sod2jax.numpy._select import nonzero as nonzero
from sod2jax.numpy._select import trim_zeros as trim_zeros
from sod2jax.numpy._select import where as where
from sod2jax.numpy._sets import intersect1d as intersect1d
from sod2jax.numpy._sets import isin as isin
from sod2jax.numpy._sets import setdiff1d as setdiff1d
from sod2jax.numpy._sets import setxor1d as setxor1d
from sod2jax.numpy._sets import union1d as union1d
from sod2jax.numpy._unique import unique as unique
