"""Windows: an axis along which nothing moves keeps its lanes."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir import dims
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import WINDOW_REDUCTIONS
from sod2jax.rdp.rule import Places, register_local


def _window_lanes(eqn: JaxprEqn) -> list[Places]:
    """Axes whose window is a single lane; initial values are scalars."""
    params = eqn.params
    rank = len(params["window_dimensions"])
    ones = (1,) * rank
    columns = zip(
        params["window_dimensions"],
        params["window_strides"],
        params.get("base_dilation") or ones,
        params.get("window_dilation") or ones,
        params["padding"],
        strict=True,
    )
    kept = [
        all(dims.from_jax(d) == 1 for d in (size, stride, base, dilation))
        and all(dims.from_jax(d) == 0 for d in padding)
        for size, stride, base, dilation, padding in columns
    ]
    places = tuple(k if keeps else None for k, keeps in enumerate(kept))
    return [places if dims_of(atom) else () for atom in eqn.invars]


register_local(
    *WINDOW_REDUCTIONS, "select_and_gather_add", "select_and_scatter_add", lanes=_window_lanes
)
