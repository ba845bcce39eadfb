"""What random programs are made of: templates with slots, by feature.

Slots of expressions: ``{int} {cond} {float} {str}`` expand to any expression of the kind,
``{atom}`` to a size as the program has it, ``{size}`` to a small integer that is not negative,
<<<<<<< HEAD
``{c}`` and ``{p}`` to constants from 0 and from 1, ``{x} {y}`` to arrays of the program.
=======
``{c}`` and ``{p}`` to constants from 0 and from 1, ``{bit}`` to 0 or 1, ``{x}`` and ``{y}`` to
arrays of the program.
>>>>>>> fuzz
"""

from __future__ import annotations

# Feature -> kind -> templates.
EXPRESSIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "arithmetic": {
        "int": (
            "({int} + {int})",
            "({int} - {int})",
            "({int} * {c})",
            "({int} // {p})",
            "({int} % {p})",
            "(-{int})",
            "abs({int} - {int})",
            "min({int}, {int})",
            "max({int}, {int})",
            "min({int}, {int}, {c})",
            "divmod({int}, {p})[{bit}]",
            "({c} - {int})",
            "({atom} * {atom})",
            "({c} // {atom})",
            "({c} % {atom})",
            "({int} ** 2)",
            "(-{int} // {p})",
            "(-{int} % {p})",
            "({atom} // ({atom} // 2 + 1))",
            "pow({atom}, 2)",
            "int({int})",
            "int({cond})",
            "(({int}) if {cond} else {int})",
            "sum({x}.shape)",
            "{x}.size",
            "max({x}.shape)",
        ),
    },
    "bits": {
        "int": (
            "({int} >> 1)",
            "({atom} << 1)",
            "({int} & 3)",
            "({int} ^ 1)",
            "({int} | 1)",
            "(~{int})",
            "{atom}.bit_length()",
            "1 << ({atom} - 1).bit_length()",
        ),
        "cond": ("({int} & 1)", "({atom} & ({atom} - 1)) == 0"),
    },
    "compare": {
        "cond": (
            "({int} == {int})",
            "({int} != {c})",
            "({int} < {c})",
            "({int} >= {int})",
            "({int} > {atom})",
            "({atom} == {c})",
            "({atom} <= {c})",
            "({int} % {p} == {c})",
            "not {cond}",
            "({cond} and {cond})",
            "({cond} or {cond})",
            "bool({int})",
            "({int} - {int})",
            "({float} > {c})",
        ),
        "int": ("({int} or {c})", "({int} and {int})", "({int} > {c}) + {int}"),
    },
    "chained": {
        "cond": ("({c} < {int} <= {c})", "({c} <= {atom} < {atom})", "(1 < {atom} == {c})")
    },
    "shapes": {
        "cond": (
            "({x}.shape == {y}.shape)",
            "({x}.shape == ({c},))",
            "({x}.shape[-1:] == {y}.shape[:1])",
            "({x}.shape < {y}.shape)",
            "(tuple({x}.shape) != tuple({y}.shape))",
            "({x}.size == {y}.size)",
            "({x}.shape[0] is {c})",
        ),
        "int": ("{x}.shape.count({atom})", "len({x})", "{x}.shape.index({atom})"),
    },
    "jaxtypes": {
        "cond": (
            "(jax.typeof({x}) == jax.typeof({y}))",
            "(jax.ShapeDtypeStruct({x}.shape, int) == jax.ShapeDtypeStruct(({c},), int))",
            "(jnp.shape({x}) == jnp.shape({y}))",
            "jax.eval_shape(lambda a: a[:{c}], {x}).shape == {x}.shape",
        )
    },
    "member": {
        "cond": (
            "({int} in ({c}, {c}))",
            "({atom} in [1, {c}, {c}])",
            "({atom} in {x}.shape)",
            "({atom} not in ({c},))",
        )
    },
    "ranges": {
        "cond": (
            "({int} in range({c}, 9))",
            "({c} in range({atom}))",
            "(range({atom}) == range({c}))",
        ),
        "int": ("len(range({atom}))", "len(range(1, {atom}, 2))", "sum(range({size}))"),
    },
    "lookup": {
        "int": (
            "{{1: 5, {c}: 2, 3: 7}}.get({int}, {c})",
            "TABLE.get({atom}, {c})",
            "({{3: 1, 4: 2}}[{int}] if {cond} else 0)",
            "{{{atom}: 2, {c}: 3}}[{atom}]",
            "len({{{atom}, {atom}, {c}}})",
            "collections.Counter({x}.shape)[{c}]",
            "collections.defaultdict(int, {{{c}: 4}})[{atom}]",
            "TABLE.setdefault({c}, {c})",
            "len(dict.fromkeys({x}.shape + ({c},)))",
            "len(set({x}.shape) | {{{c}}})",
            "next(map(TABLE.get, {x}.shape)) or 0",
        ),
        "cond": (
            "({atom} in {{1, {c}, 7}})",
            "({atom} in TABLE)",
            "{{{c}, {c}}}.isdisjoint({x}.shape)",
            "({x}.shape in {{({c},): 1, ({c}, 3): 2}})",
            "(set({x}.shape) == {{{c}}})",
            "(frozenset(({atom},)) <= {{1, 2, {c}}})",
        ),
    },
    "sequences": {
        "int": (
            "[2, 5, 3, 1][{int} % 4]",
            "(1, {atom}, {c})[{bit}]",
            "[4, 3, 2, 1, 0, 1, 2][min({atom}, 6)]",
            "[*range(9)][-min({atom}, 9)]",
            "len([0] * {size})",
            "({c}, {c})[{cond}]",
        )
    },
    "text": {
        "int": (
            "len(str({int}))",
            "int(str({int}))",
            "'a1b2c3'.find(str({atom}))",
            "len({str})",
            "int({str} == '3')",
            "int({str} < {str})",
            "{{'3': 1, 'n4': 2}}.get({str}, 0)",
            "ord({str}[0]) % 7",
        ),
        "cond": ("({str} == {str})", "{str}.endswith('3')", "({str} in ('4', 'n3', '(3,)'))"),
        "str": (
            "str({int})",
            "f'n{{{int}}}'",
            "f'{{{atom}:>3}}'",
            "'%d' % {int}",
            "'{{}}'.format({atom})",
            "repr({x}.shape)",
            "str({cond})",
            "f'{{{atom}!r}}'",
            "format({atom}, 'd')",
            "','.join(map(str, {x}.shape))",
            "('a' if {cond} else 'b')",
            "bin({atom})",
            "chr(97 + {atom})",
        ),
    },
    "kinds": {
        "cond": (
            "isinstance({int}, int)",
            "isinstance({atom}, numbers.Integral)",
            "isinstance({atom}, (float, str))",
            "np.isscalar({atom})",
            "hasattr({atom}, 'real')",
            "isinstance({x}.shape, tuple)",
            "hasattr({atom}, '__index__')",
            "isinstance({atom}, typing.SupportsInt)",
            "callable({atom})",
            "isinstance({atom}, collections.abc.Hashable)",
            "isinstance({cond}, bool)",
        ),
        "int": ("kind_of({int})", "{atom}.real", "{atom}.numerator + {atom}.denominator"),
    },
    "numbers": {
        "int": (
            "int({atom} * 0.3)",
            "round({float})",
            "int({float})",
            "int({atom} ** 0.5)",
            "int({atom} / {p})",
            "round({atom} / 3)",
            "int(1.25 * {atom})",
        ),
        "float": (
            "({int} * 0.5)",
            "({int} / {p})",
            "float({int})",
            "({p} / {atom})",
            "{atom} ** 0.5",
            "{atom} ** -1",
            "({float} + {float})",
            "({float} * {c})",
            "min({float}, 2.5)",
            "abs({float})",
            "round({float}, 1)",
            "(0.5 if {cond} else 2.0)",
            "({float} // 1)",
            "({float} % 2)",
            "float(f'{p}.5')",
            "({float} - {int})",
        ),
    },
    "math": {
        "int": (
            "math.ceil({float})",
            "math.floor({float})",
            "math.ceil({atom} / {p})",
            "math.isqrt({atom})",
            "math.gcd({atom}, {p})",
            "math.prod({x}.shape)",
            "math.trunc({float})",
            "2 ** math.ceil(math.log2({atom}))",
            "math.comb({atom}, 2)",
            "math.lcm({atom}, 2)",
            "operator.index({atom})",
            "operator.add({int}, {c})",
        ),
        "float": (
            "math.sqrt({atom})",
            "math.log({atom} + 1)",
            "math.exp(-{atom})",
            "math.pow({atom}, 0.5)",
            "math.fmod({atom}, 3)",
            "math.fabs({int})",
            "math.hypot({atom}, 1.0)",
        ),
        "cond": (
            "math.isclose({float}, 2.0)",
            "math.isfinite({float})",
            "(math.sqrt({atom}) % 1 == 0)",
        ),
    },
    "numpy": {
        "int": (
            "int(np.ceil({atom} / 2))",
            "int(np.prod({x}.shape))",
            "int(np.floor({float}))",
            "int(np.sqrt({atom}))",
            "int(np.array({x}.shape).sum())",
            "int(np.argmax({x}.shape))",
            "int(np.sum(np.arange({atom})))",
            "np.arange({atom}).shape[0]",
            "len(np.zeros({atom}))",
        ),
        "cond": (
            "np.all(np.array({x}.shape) > {c})",
            "np.array_equal({x}.shape, ({c},))",
            "bool(np.equal({atom}, {c}))",
            "(np.int64({c}) == {atom})",
            "(np.prod({x}.shape) > {c})",
            "(np.minimum({atom}, {c}) == {c})",
            "(np.mod({atom}, 2) == 0)",
        ),
        "float": (
            "np.sqrt({atom})",
            "np.log({atom})",
            "float(np.mean({x}.shape))",
            "np.float32({atom})",
        ),
    },
    "types": {
        "cond": (
            "isinstance({float}, float)",
            "(type({int}) is int)",
            "issubclass(type({atom}), int)",
            "(type({atom}) == type({c}))",
            "(type({atom}).__name__ == 'int')",
            "np.issubdtype(type({atom}), np.integer)",
        )
    },
    "numpytypes": {
        "int": (
            "np.int32({atom})",
            "np.prod({x}.shape)",
            "np.minimum({atom}, {c})",
            "np.gcd({atom}, 6)",
            "np.clip({atom}, 2, 5)",
        )
    },
    "hash": {
        "int": (
            "hash({atom}) % 5",
            "hash(({atom}, 2)) % 3",
            "hash({x}.shape) % 4",
            "{{Key({c}): 1}}.get(Key({atom}), 0)",
            "len({{Key({atom}), Key({c})}})",
        ),
        "cond": ("(Key({atom}) == Key({c}))", "(hash({atom}) == {c})"),
    },
    "frozen": {"int": ("Key({int}).double()", "dataclasses.replace(Key({atom}), width=3).size")},
    "walrus": {"int": ("((w := {int}) + w % 3)",), "cond": ("((w := {int}) > {c} and w < 9)",)},
    "lambda": {
        "int": (
            "(lambda q, r={int}: q + r)({int})",
            "(lambda *q: len(q) + q[0])({int}, {int})",
            "functools.reduce(lambda a, b: a * 2 + b, {x}.shape)",
            "functools.partial(max, {c})({int})",
        )
    },
    "comprehension": {
        "int": (
            "sum(i for i in range({size}))",
            "len([i for i in range({size}) if i % 2])",
            "sum(d > {c} for d in {x}.shape)",
            "max([d % {p} for d in {x}.shape])",
            "[d + 1 for d in {x}.shape][-1]",
            "sum(1 for d in ({c}, {c}, {atom}) if d == {atom})",
            "next((d for d in {x}.shape if d > {c}), {c})",
        ),
        "cond": ("any(d == {c} for d in {x}.shape)", "all(d > {c} for d in {x}.shape)"),
    },
    "order": {
        "int": (
            "sorted({x}.shape)[0]",
            "sorted(({atom}, {c}, {int}))[1]",
            "sorted({x}.shape, key=lambda d: -d)[0]",
            "min({x}.shape, key=lambda d: abs(d - {c}))",
            "sum(sorted([{atom}, {c}], reverse=True)[:1])",
            "heapq.nsmallest(1, [{int}, {c}])[0]",
            "bisect.bisect([2, 4, 8], {atom})",
        ),
        "cond": ("(sorted(({atom}, {c}))[0] == {atom})", "any(({cond}, {cond}))", "all([{cond}])"),
    },
}

# No hook sees what these ask. It is the same at all sizes, so that an audit at any size finds it.
AUDITED = frozenset({"types", "numpytypes"})

# (feature, operands -> result as letters of their axes, template, result). An axis "?" is new;
# "*" is any shape. "=" keeps small integers, "~" does not, "!" wants them, and keeps them.
ARRAYS: tuple[tuple[str, str, str, str], ...] = (
    ("elementwise", "*->*", "(-{x})", "="),
    ("elementwise", "*->*", "jnp.abs({x})", "="),
    ("elementwise", "*->*", "jnp.clip({x} * {x}, 0, 30)", "="),
    ("elementwise", "*->*", "jnp.tanh({x})", "~"),
    ("elementwise", "*->*", "jnp.exp(-jnp.abs({x}))", "~"),
    ("elementwise", "*->*", "jnp.where({x} > 0, {x}, 1.0)", "!"),
    ("elementwise", "*,*->*", "({x} + {y})", "="),
    ("elementwise", "*,*->*", "jnp.maximum({x}, {y})", "="),
    ("elementwise", "a,b->ab", "({x}[:, None] - {y}[None, :])", "="),
    ("scaling", "*->*", "({x} * {int})", "="),
    ("scaling", "*->*", "({x} + {int})", "="),
    ("scaling", "*->*", "({x} - {float})", "~"),
    ("scaling", "*->*", "({x} / {int})", "~"),
    ("scaling", "*->*", "({x} / {atom})", "~"),
    ("scaling", "*->*", "({x} * {float})", "~"),
    ("scaling", "*->*", "jnp.minimum({x}, {int})", "="),
    ("scaling", "*->*", "({x} if {cond} else -{x})", "="),
    ("scaling", "*->*", "jnp.where({cond}, {x}, {x} + 1)", "="),
    ("scaling", "*->*", "{x} + jnp.asarray({int}, jnp.float32)", "="),
    ("scaling", "*->*", "{x} * jnp.float32({float})", "~"),
    ("reduce", "a->", "{x}.sum()", "="),
    ("reduce", "a->", "{x}.max()", "="),
    ("reduce", "a->", "jnp.mean({x})", "~"),
    ("reduce", "a->", "jnp.std({x})", "~"),
    ("reduce", "a->", "jnp.argmax({x})", "!"),
    ("reduce", "a->", "jnp.prod(jnp.tanh({x}))", "~"),
    ("reduce", "ab->a", "{x}.sum(1)", "="),
    ("reduce", "ab->b", "{x}.min(0)", "="),
    ("reduce", "ab->b", "{x}.mean(0)", "~"),
    ("reduce", "ab->", "{x}.sum() / {atom}", "~"),
    ("reduce", "ab->b", "jax.nn.logsumexp({x}, axis=0)", "~"),
    ("reduce", "a->", "jnp.median({x})", "!"),
    ("slice", "a->?", "{x}[:{int}]", "="),
    ("slice", "a->?", "{x}[{int}:]", "="),
    ("slice", "a->?", "{x}[-{int}:]", "="),
    ("slice", "a->?", "{x}[:{c}]", "="),
    ("slice", "a->?", "{x}[{c}:-{c}]", "="),
    ("slice", "a->?", "{x}[::{p}]", "="),
    ("slice", "a->a", "{x}[::-1]", "="),
    ("slice", "a->?", "{x}[{int}:{int}]", "="),
    ("slice", "a->?", "{x}[:{atom} // 2]", "="),
    ("slice", "ab->?b", "{x}[:{int}]", "="),
    ("slice", "ab->a?", "{x}[:, {int}:]", "="),
    ("slice", "ab->b", "{x}[{c}]", "="),
    ("slice", "ab->b", "{x}[-1]", "="),
    ("slice", "a->", "{x}[{int}]", "="),
    ("slice", "a->", "{x}[{atom} // 2]", "="),
    ("slice", "a->?", "lax.dynamic_slice({x}, (0,), (min({atom}, {c} + 1),))", "="),
    ("slice", "a->?", "lax.slice_in_dim({x}, 0, min({size}, {x}.shape[0]))", "="),
    ("update", "a->a", "{x}.at[{int}].set(1.0)", "="),
    ("update", "a->a", "{x}.at[:{int}].add(2.0)", "="),
    ("update", "a->a", "{x}.at[{atom} // 2:].multiply(2)", "="),
    ("update", "ab->ab", "{x}.at[:, 0].set({int})", "="),
    ("reshape", "a->a?", "{x}.reshape(-1, 1)", "="),
    ("reshape", "ab->?", "{x}.reshape(-1)", "="),
    ("reshape", "ab->ba", "{x}.T", "="),
    ("reshape", "ab->ba", "{x}.reshape({x}.shape[1], {x}.shape[0])", "="),
    ("reshape", "a->", "{x}.reshape({p}, -1)[0, 0]", "="),
    ("reshape", "a->?", "{x}[:{x}.shape[0] // 2 * 2].reshape(-1, 2).sum(1)", "="),
    ("reshape", "a->?", "{x}[None].repeat({p}, 0).ravel()", "="),
    ("reshape", "a->?", "jnp.squeeze({x}[:, None])", "="),
    ("join", "a,b->?", "jnp.concatenate([{x}, {y}])", "="),
    ("join", "a->?", "jnp.concatenate([{x}, jnp.zeros({size})])", "="),
    ("join", "a,a->?a", "jnp.stack([{x}, {y}])", "="),
    ("join", "a->?", "jnp.tile({x}, {p})", "="),
    ("join", "a->?", "jnp.append({x}, {int})", "="),
    ("pad", "a->?", "jnp.pad({x}, (0, {size}))", "="),
    ("pad", "a->?", "jnp.pad({x}, (0, -{x}.shape[0] % {p}))", "="),
    ("pad", "a->?", "jnp.pad({x}, ({size}, 1), constant_values={int})", "="),
    ("pad", "a->?", "jnp.pad({x}, 1, mode='edge')", "="),
    ("along", "a->a", "jnp.clip(jnp.cumsum({x}), -30, 30)", "="),
    ("along", "ab->ab", "jnp.cumsum({x}, 1)", "="),
    ("along", "*->*", "jnp.flip({x})", "="),
    ("along", "a->a", "jnp.roll({x}, {int})", "="),
    ("along", "ab->ab", "jnp.roll({x}, {int}, 1)", "="),
    ("along", "a->?", "jnp.diff({x})", "="),
    ("along", "a->a", "jax.nn.softmax({x})", "~"),
    ("along", "ab->ab", "{x} - {x}.mean(1, keepdims=True)", "~"),
    ("along", "a->a", "jnp.convolve({x}, jnp.ones(3), 'same')", "="),
    ("sort", "a->a", "jnp.sort({x})", "="),
    ("sort", "a->a", "jnp.argsort({x})", "!"),
    ("sort", "a->?", "lax.top_k({x}, min({size}, {x}.shape[0]))[0]", "="),
    ("sort", "ab->ab", "jnp.sort({x}, 0)", "="),
    ("matmul", "ab,b->a", "({x} @ {y})", "="),
    ("matmul", "ab->aa", "({x} @ {x}.T)", "="),
    ("matmul", "a,a->", "jnp.dot({x}, {y})", "="),
    ("matmul", "a,b->ab", "jnp.outer({x}, {y})", "="),
    ("matmul", "ab,ac->bc", "jnp.einsum('ij,ik->jk', {x}, {y})", "="),
    ("gather", "a->a", "{x}[jnp.arange({x}.shape[0]) // {p}]", "="),
    ("gather", "a->?", "{x}[jnp.arange({size})]", "="),
    ("gather", "a->?", "jnp.take({x}, jnp.arange({size}), mode='clip')", "="),
    ("gather", "a->a", "{x}[jnp.abs({x}).astype(int) % {x}.shape[0]]", "!"),
    ("gather", "a->?", "{x}[np.arange({atom}) % {p}]", "="),
    ("where", "a->a", "jnp.where(jnp.arange({x}.shape[0]) < {int}, {x}, 0.0)", "="),
    ("where", "a->a", "({x} * jnp.arange({x}.shape[0]))", "="),
    ("where", "a->a", "({x} * np.arange({x}.shape[0]))", "="),
    ("where", "ab->ab", "jnp.tril({x})", "="),
    ("where", "ab->ab", "jnp.where(jnp.arange({x}.shape[1]) == {int}, {x}, 1.0)", "="),
    ("create", "->?", "jnp.arange({size})", "="),
    ("create", "->?", "jnp.full(({size},), {int})", "="),
    ("create", "->?", "jnp.linspace(0.0, {float}, {size})", "~"),
    ("create", "->?", "jnp.ones({size} + 1)", "="),
    ("create", "->??", "jnp.eye({size})", "="),
    ("create", "->?", "np.ones({size}, np.float32) * {int}", "="),
    ("create", "->??", "jnp.zeros(({size}, {atom}))", "="),
    ("create", "->?", "jnp.array([{int}, {c}])", "="),
    ("create", "->?", "jnp.array({x}.shape)", "="),
    ("create", "->?", "jnp.broadcast_to({int}, ({size},))", "="),
    ("fft", "a->?", "jnp.abs(jnp.fft.rfft({x}))", "~"),
    ("fft", "a->?", "jnp.fft.irfft(jnp.fft.rfft({x}))", "~"),
    ("fft", "a->a", "jnp.fft.fftshift({x})", "="),
    ("fft", "a->a", "jnp.fft.fft({x}).real", "~"),
    ("scan", "a->a", "lax.scan(lambda s, r: (s + r, s), 0.0, {x})[1]", "="),
    ("scan", "a->", "lax.fori_loop(0, {atom}, lambda i, s: s + i, 0.0) + {x}.sum()", "="),
    ("scan", "ab->a", "lax.map(lambda r: r.sum() + {int}, {x})", "="),
    ("scan", "a->a", "lax.while_loop(lambda v: v.sum() > {int}, lambda v: v - 1, {x})", "!"),
    ("scan", "a->a", "lax.cond({x}.sum() > {int}, lambda v: v + 1, lambda v: -v, {x})", "!"),
    ("vmap", "ab->a", "jax.vmap(lambda r: r.sum() * {int})({x})", "="),
    ("vmap", "ab->ab", "jax.vmap(lambda r: r * r.shape[0] + {int})({x})", "="),
    ("vmap", "ab->ab", "jax.vmap(lambda r: r - 1 if {cond} else r + 1)({x})", "="),
    ("vmap", "ab->a", "jax.vmap(lambda r: r[:{int}].sum())({x})", "="),
    ("grad", "a->a", "jax.grad(lambda v: (jnp.tanh(v) ** 2).sum() * {int})(1.0 * {x})", "~"),
    ("grad", "a->a", "jax.grad(lambda v: jnp.tanh(v[:{int}]).sum())(1.0 * {x})", "~"),
    ("grad", "a->a", "jax.grad(lambda v: (jnp.sin(v) if {cond} else v * v).sum())(1.0 * {x})", "~"),
    ("fftgrad", "a->a", "jax.grad(lambda v: jnp.abs(jnp.fft.rfft(v) + 9).sum())(1.0 * {x})", "~"),
    (
        "grad",
        "a->a",
        "jax.jvp(lambda v: jnp.cumsum(v) * {int}, (1.0 * {x},), (1.0 * {x},))[1]",
        "=",
    ),
    ("grad", "ab->ab", "jax.grad(lambda v: (v @ v.T).mean() / {atom})(1.0 * {x})", "~"),
    ("grad", "a->a", "jax.checkpoint(lambda v: v * {int})({x})", "="),
    ("library", "a->", "jnp.array_equiv({x}, {x}[:{int}]).astype(int)", "!"),
    ("library", "a->", "jnp.array_equal({x}, jnp.ones({c})).astype(int)", "!"),
    ("library", "a->", "jnp.interp(0.5, jnp.linspace(0, 1, {x}.shape[0]), jnp.tanh({x}))", "~"),
    ("library", "a->a", "jnp.searchsorted(jnp.sort({x}), {x})", "!"),
    ("library", "a->", "jnp.var({x}, ddof={bit})", "~"),
    ("library", "a->", "jnp.percentile({x}, 50)", "~"),
    ("library", "a->?", "jnp.array_split({x}, 2)[{bit}]", "="),
    ("library", "a->?", "jnp.atleast_2d({x}).ravel()", "="),
    ("library", "ab->?", "jnp.diag({x})", "="),
    ("library", "ab->", "jnp.trace({x})", "="),
    ("library", "a->a", "jnp.fft.fftfreq({x}.shape[0]) * {x}", "~"),
    ("library", "a,b->?", "jnp.kron({x}, {y})", "="),
)

# May raise at some sizes: for ``try``. As ARRAYS.
RISKY: tuple[tuple[str, str, str], ...] = (
    ("a->a", "{x} * int({atom})", "="),
    ("a->?", "{x}.reshape(2, -1).sum(0)", "="),
    ("a->?", "{x}.reshape({p}, {p}).sum(0)", "="),
    ("a->?", "jnp.split({x}, 2)[0]", "="),
    ("a,b->?", "({x} + {y})", "="),
    ("a,b->?", "jnp.stack([{x}, {y}])[0]", "="),
    ("a->?", "({x} + jnp.ones({p}))", "="),
    ("a->a", "{x} * TABLE[{atom}]", "="),
    ("a->a", "{x} * [2, 3, 5][{atom}]", "="),
    ("a->a", "{x} * ({c} // ({atom} - {c}))", "="),
    ("a->a", "{x} * ({c} % ({atom} - {c}))", "="),
    ("a->a", "{x} * math.sqrt(6 - {atom})", "~"),
    ("a->a", "{x} * positive({int} - 3)", "="),
    ("a->a", "{x} * positive({atom} - {c})", "="),
    ("a->a", "{x} * len({x}.shape[{atom}:])", "="),
    ("a->a", "{x} * operator.index({atom})", "="),
    ("a->a", "{x} * range({atom})[{c}]", "="),
    ("a->a", "{x} * {atom}.count", "="),
    ("a->a", "{x} + {x}.shape.index({c})", "="),
    ("a->?", "lax.top_k({x}, {p})[0]", "="),
    ("a->?", "jnp.squeeze({x}.reshape(-1, 3), 1)", "="),
    ("a->a", "lax.dynamic_slice({x}, (0,), ({c},)).sum() + {x}", "="),
    ("a->a", "{x} * jnp.dot({x}, jnp.ones({p}))", "="),
    ("a->a", "{x} + '{c}'", "="),
    ("a->a", "{x} * next(d for d in {x}.shape if d == {c})", "="),
    ("ab,b->a", "({x} @ {y})", "="),
    ("ab->a", "({x} @ jnp.ones({p}))", "="),
)

ERRORS = (
    "Exception",
    "Exception",
    "(ValueError, TypeError)",
    "TypeError",
    "KeyError",
    "ZeroDivisionError",
)

PREAMBLE = """\
import bisect, collections, contextlib, dataclasses, functools, heapq, math, numbers, operator
import typing, jax, jax.numpy as jnp, numpy as np
from jax import lax

TABLE = {1: 4, 2: 1, 3: 6, 6: 2}

@dataclasses.dataclass(frozen=True)
class Key:
    size: int
    width: int = 2
    def double(self):
        return self.size * self.width

@functools.singledispatch
def kind_of(value):
    return 1

@kind_of.register
def _(value: int):
    return 2

def positive(k):
    if k < 0:
        raise ValueError("negative")
    return k
"""
