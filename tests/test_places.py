"""What sizes must satisfy to be divided among devices."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sod2jax.ir import dims
from sod2jax.places import Places, divisions, fits, is_multiple

MESH = AbstractMesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
ONE = Mesh(np.array(jax.local_devices()[:1]), ("a",))


def needs(spec: P, *shape: str, **known: int) -> list[str] | None:
    found = divisions(NamedSharding(MESH, spec), tuple(map(dims.parse, shape)), known)
    return None if found is None else list(map(str, found))


@pytest.mark.parametrize(
    ("spec", "shape", "wanted"),
    [
        (P("a"), ("n", "m"), ["n % 4 == 0"]),
        (P(("a", "b"), None), ("n", "m"), ["n % 8 == 0"]),
        (P("a", "b"), ("n", "m"), ["n % 4 == 0", "m % 2 == 0"]),
        (P(None, "b"), ("n", "m"), ["m % 2 == 0"]),
        (P("a"), ("2*n",), ["n % 2 == 0"]),
        (P("a"), ("8*n + 4*m",), []),
        (P("a"), ("16",), []),
        (P(), ("n",), []),
        (P("a"), ("n*m",), None),
        (P("a"), ("n + 1",), None),
    ],
)
def test_what_a_place_asks_of_sizes(spec: P, shape: tuple[str, ...], wanted: list[str] | None):
    assert needs(spec, *shape) == wanted


def test_what_is_known_of_sizes_need_not_be_asked():
    assert needs(P("a"), "n*m", n=2, m=2) == []
    assert needs(P("a"), "n*m", n=4) == []
    assert needs(P("a"), "n**2 + m", n=2, m=4) == []
    assert needs(P("a"), "n", n=2) == ["n % 4 == 0"]
    assert not is_multiple(dims.parse("n // 2"), 2, {"n": 4})


def test_fits():
    place = NamedSharding(MESH, P("a"))
    assert fits(place, (8, 3))
    assert not fits(place, (6, 3))
    assert not fits(place, ())


def test_places_of_inputs_and_results():
    place = NamedSharding(ONE, P())
    places = Places((place, None), results=(place, None))
    assert places.of_inputs(3) == (place, None, None)
    tree = jax.tree.structure(({"x": 0, "y": 0}, 0))
    assert places.of_results(tree) == (place, place, None)
    assert places.devices == tuple(jax.local_devices()[:1])
    assert Places().of_results(tree) == (None,) * 3
