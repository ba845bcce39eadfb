"""Random keys and bits: what a key decides stays in the key's lane."""

from __future__ import annotations

from sod2jax._compat import JaxprEqn
from sod2jax.ir.jaxprs import dims_of
from sod2jax.ir.vocabulary import CIPHERS, KEY_CASTS
from sod2jax.rdp.rule import Places, register_local
from sod2jax.rdp.rules.elementwise import broadcast, same_axes


def _leading_lanes(eqn: JaxprEqn) -> list[Places]:
    """Axes of the key array lead the result; axes that only one of them has mix."""
    rank = len(dims_of(eqn.outvars[0]))
    return [
        tuple(k if k < rank else None for k in range(len(dims_of(atom)))) for atom in eqn.invars
    ]


register_local(*KEY_CASTS, "random_bits", "random_split", lanes=_leading_lanes)
register_local(*CIPHERS, "random_fold_in", lanes=same_axes, shape=broadcast)
