"""The vocabulary of primitives: what each one is, by name.

A primitive stands in one basic group; larger groups are unions of those. The tables of all stages
are made of them. Every primitive of JAX 0.10 to 0.12 outside Pallas is here, and ours; some names
exist only in some of these versions.

It stands with the IR, which is the lowest layer that reads it.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Elementwise: one lane of the result from the same lane of each operand; scalars go to every lane.

# A few instructions for each element.
ARITHMETIC = _names("""
    abs add add_any ceil clamp complex conj div floor imag integer_pow max min mul mulhi neg
    nextafter one_minus_square polynomial real reduce_precision rem round select_n sign square sub
""")
# Integers as rows of bits, and booleans.
BITWISE = _names("""
    and clz not or population_count shift_left shift_right_arithmetic shift_right_logical xor
""")
# Booleans from numbers.
COMPARISONS = _names("eq eq_to ge gt is_finite le le_to lt lt_to ne")
# Elementary functions, roots and powers.
TRANSCENDENTAL = _names("""
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erf_inv erfc exp exp2 expm1 log log1p
    log2 logistic pow rsqrt sin sinh sqrt tan tanh
""")
# Functions of mathematical physics and statistics: tens to thousands of instructions.
SPECIAL = _names("""
    bessel_i0e bessel_i1e digamma igamma igamma_grad_a igammac lgamma polygamma
    regularized_incomplete_beta zeta
""")
# Of other packages, which say that they are; every such primitive goes by this name.
FOREIGN = _names("lanewise")
ELEMENTWISE = ARITHMETIC | BITWISE | COMPARISONS | TRANSCENDENTAL | SPECIAL | FOREIGN

# The same lanes in another dtype.
CASTS = _names("convert_element_type")
# The same bytes as another dtype: a last axis may come or go.
REINTERPRETATIONS = _names("bitcast_convert_type from_edtype to_edtype")
# Typed keys from their bits, and back.
KEY_CASTS = _names("random_unwrap random_wrap")

# Result k is operand k.

# As a value of its own.
COPIES = _names("copy stop_gradient")
# With a word to the compiler: where it lies, what it is called, what must not move past it.
ANNOTATIONS = _names("""
    device_put layout_constraint name optimization_barrier sharding_constraint
    with_memory_space_constraint
""")
IDENTITIES = COPIES | ANNOTATIONS

# Elements made, moved and repeated.

# From nothing.
GENERATORS = _names("empty empty2 iota iota_2x32_shape")
# The elements of one operand in other places.
LAYOUT = _names("broadcast_in_dim reshape rev squeeze transpose")
# Arrays cut and joined along axes, at positions that the parameters say.
ASSEMBLY = _names("concatenate pad slice split stack tile unstack")
# Blocks read and written at positions that are computed.
DYNAMIC_SLICES = _names("dynamic_slice dynamic_update_slice")
# Many places read, or written, at once.
GATHERS = _names("gather")
SCATTERS = _names("scatter scatter-add scatter-max scatter-min scatter-mul scatter-sub")

# Elements combined and compared along axes.

# By an operation with an identity.
REDUCTIONS = _names("""
    reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum reduce_xor
""")
# To the position of the first largest or smallest.
ARG_REDUCTIONS = _names("argmax argmin")
# By a jaxpr of scalars.
GENERAL_REDUCTIONS = _names("reduce")
# A result for each prefix.
CUMULATIVE = _names("cumlogsumexp cummax cummin cumprod cumsum")
# A result for each window.
WINDOW_REDUCTIONS = _names("reduce_window reduce_window_max reduce_window_min reduce_window_sum")
# What a window's extreme position says of another array, and the way back.
WINDOW_SELECTIONS = _names("select_and_gather_add select_and_scatter select_and_scatter_add")
SORTS = _names("approx_top_k sort top_k")

# Products summed up.

CONTRACTIONS = _names("dot_general ragged_dot_general")
CONVOLUTIONS = _names("conv_general_dilated")
SCALED_CONTRACTIONS = _names("scaled_dot scaled_matmul scaled_matmul_wrapper")
KERNELS = _names("""
    dot_product_attention_bwd dot_product_attention_bwd_wrapper dot_product_attention_fp8_bwd
    dot_product_attention_fp8_bwd_wrapper dot_product_attention_fp8_fwd
    dot_product_attention_fp8_fwd_wrapper dot_product_attention_fwd
    dot_product_attention_fwd_wrapper rnn_bwd rnn_fwd
""")

# Matrices.

FACTORISATIONS = _names("""
    cholesky cholesky_update eig eigh eigh_any_basis geqp3 geqrf hessenberg householder_product lu
    ormqr qr schur svd svd_any_basis symmetric_product tridiagonal
""")
SOLVES = _names("lu_pivots_to_permutation triangular_solve tridiagonal_solve")
TRANSFORMS = _names("fft")

# Random numbers.

KEYS = _names("random_clone random_fold_in random_seed random_split")
# Words from counters, elementwise: the rounds of a generator.
CIPHERS = _names("philox2x32 philox4x32 threefry2x32 threefry4x32")
RANDOM_BITS = _names("random_bits rng_bit_generator")
DISTRIBUTIONS = _names("random_gamma rng_uniform")
KEY_CHECKS = _names("assert_consumed_value consume")

# Sizes.

# Read as numbers.
SIZES = _names("dim_as_value dimension_size shape_assertion")
# Made of numbers, by this package.
DATA_DEPENDENT_SIZES = _names("value_as_dim")

# Control flow and calls.

# Run one jaxpr, once, whose inputs and results are theirs.
CALLS = _names("""
    call closed_call composite custom_jvp_call custom_vjp_call custom_vmap_call eval_jaxpr jit
    linear_call remat2 remat_opt xla_metadata_call
""")
CONDITIONALS = _names("cond")
LOOPS = _names("scan while")
# Rows that need a body, made by this package's passes.
ROWS = _names("gated_rows")
# Solve by jaxprs that apply, solve and transpose a linear map.
LINEAR_SOLVES = _names("custom_linear_solve")
# Run jaxprs in ways of their own.
WRAPPERS = _names("""
    call_hi_primitive call_hi_primitive_linearized compute_on cudnn_fusion custom_jvp_call_jaxpr
    custom_lin custom_partitioning fused_call program_order run_state shard_map
    thunky.async_start thunky.call_jax thunky.call_thunky_nested thunky.collective_group
""")
# Python functions of the values.
CALLBACKS = _names("debug_callback debug_print io_callback pure_callback")
# What JAX cannot look into.
OPAQUE_CALLS = _names("""
    buffer_callback call_exported call_tf ffi_call thunky.custom_call thunky.ptx_kernel
    tpu_custom_call unreachable
""")

# Rare: in programs for one machine, or in parts of JAX that few use.

CONSTRUCTORS = _names("create_linear create_token empty_ref thunky.inline_constant zeros_like")
MACHINE = _names("axis_index platform_index")
MARKS = _names("after_all check dce_sink stage tie xla_metadata_value")
PLACEMENTS = _names("""
    global_array_to_host_local_array host_local_array_to_global_array inspect_sharding relayout
    reshard shard_alike
""")
# Lanes meet the same lanes of other devices.
LANEWISE_COLLECTIVES = _names("pmax pmin ppermute psum psum_invariant pvary")
# Lanes along an axis move to other devices.
MOVING_COLLECTIVES = _names("all_gather all_gather_invariant all_to_all reduce_scatter")
COLLECTIVES = _names("""
    all_gather_done all_gather_reduced all_gather_reduced_start all_gather_start all_to_all_done
    all_to_all_start pbroadcast pbroadcast_done pbroadcast_dynamic pbroadcast_start ppermute_done
    ppermute_start precv preduced psend psum_done psum_invariant_start psum_start
    ragged_all_to_all reduce_scatter_done reduce_scatter_start reduced_vary_cast
    reduced_vary_cast_p unreduced_pmax unreduced_pmin unreduced_psum unreduced_psum_start
    unreduced_reduce_scatter unreduced_reduce_scatter_start vary_unreduced_cast
    vary_unreduced_cast_p
""")
REFERENCES = _names("""
    accum_grad_in_ref addupdate box_get box_set broadcast_to free_ref freeze get log_extend log_read
    new_box new_log new_ref pin swap unpin
""")
SPARSE = _names("""
    bcoo_dot_general bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_sort_indices
    bcoo_spdot_general bcoo_sum_duplicates bcoo_todense bcoo_transpose bcsr_dot_general
    bcsr_extract bcsr_fromdense bcsr_todense coo_fromdense coo_matmat coo_matvec coo_spmm coo_spmv
    coo_todense csr_fromdense csr_matmat csr_matvec csr_spmm csr_spmv csr_todense spsolve todense
""")
THUNKS = _names("""
    thunky.all_gather thunky.all_reduce thunky.all_to_all thunky.async_done
    thunky.collective_permute thunky.copy thunky.memset thunky.memzero thunky.reduce_scatter
""")
THUNK_CONTROL_FLOW = _names("thunky.cond thunky.while")
