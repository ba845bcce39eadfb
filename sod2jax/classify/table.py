"""The table of operator classes: every primitive of JAX 0.10 to 0.12 outside Pallas, and ours."""

from __future__ import annotations

import enum


class OpClass(enum.Enum):
    """Class of an operator by what determines the shape and the value of its output.

    Attributes:
      ISDO: input shape determined output. Shape and value follow from the input shapes and
        constants alone (``iota``).
      ISDOS: input shape determined output shape. The shape follows from the input shapes, the
        value needs the input values (``add``, ``dot_general``).
      ISVDOS: input shape and value determined output shape. The shape also needs the values of
        some inputs. In a jaxpr these values stand in the parameters, as symbolic dimensions.
      EDO: execution determined output. What is computed is known only while it runs: control flow
        whose path is open until then, and calls that JAX cannot look into.
      STRUCTURAL: wraps a sub-jaxpr, whose operators decide (``jit``, ``scan`` of a fixed length).
    """

    ISDO = "ISDO"
    ISDOS = "ISDOS"
    ISVDOS = "ISVDOS"
    EDO = "EDO"
    STRUCTURAL = "structural"


# Subject -> (class, names of primitives). Some names exist only in some of the supported versions.
GROUPS: dict[str, tuple[OpClass, str]] = {
    "shapes as data": (
        OpClass.ISDO,
        "dim_as_value dimension_size shape_assertion",
    ),
    "values as shapes": (
        OpClass.EDO,
        "value_as_dim",
    ),
    "constructors": (
        OpClass.ISDO,
        """create_linear create_token empty empty2 empty_ref iota iota_2x32_shape
        thunky.inline_constant zeros_like""",
    ),
    "place in the machine": (
        OpClass.ISDO,
        "axis_index platform_index",
    ),
    "elementwise, one operand": (
        OpClass.ISDOS,
        """abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil clz conj cos cosh
        digamma erf erf_inv erfc exp exp2 expm1 floor imag integer_pow is_finite lgamma log log1p
        log2 logistic neg not one_minus_square population_count real reduce_precision round rsqrt
        sign sin sinh sqrt square tan tanh""",
    ),
    "elementwise, several operands": (
        OpClass.ISDOS,
        """add add_any and atan2 clamp complex div eq eq_to ge gt igamma igamma_grad_a igammac le
        le_to lt lt_to max min mul mulhi ne nextafter or polygamma polynomial pow
        regularized_incomplete_beta rem select_n shift_left shift_right_arithmetic
        shift_right_logical sub xor zeta""",
    ),
    "dtype": (
        OpClass.ISDOS,
        "bitcast_convert_type convert_element_type from_edtype to_edtype",
    ),
    "identity": (
        OpClass.ISDOS,
        """after_all check copy dce_sink name optimization_barrier stage stop_gradient tie
        xla_metadata_value""",
    ),
    "layout": (
        OpClass.ISDOS,
        "broadcast_in_dim broadcast_to reshape rev squeeze transpose",
    ),
    "assembly": (
        OpClass.ISDOS,
        "concatenate pad slice split stack tile unstack",
    ),
    "indexing": (
        OpClass.ISDOS,
        """dynamic_slice dynamic_update_slice gather scatter scatter-add scatter-max scatter-min
        scatter-mul scatter-sub""",
    ),
    "reductions": (
        OpClass.ISDOS,
        """argmax argmin reduce reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
        reduce_xor""",
    ),
    "cumulative": (
        OpClass.ISDOS,
        "cumlogsumexp cummax cummin cumprod cumsum",
    ),
    "order": (
        OpClass.ISDOS,
        "approx_top_k sort top_k",
    ),
    "contractions": (
        OpClass.ISDOS,
        "dot_general ragged_dot_general scaled_dot scaled_matmul scaled_matmul_wrapper",
    ),
    "windows": (
        OpClass.ISDOS,
        """conv_general_dilated reduce_window reduce_window_max reduce_window_min reduce_window_sum
        select_and_gather_add select_and_scatter select_and_scatter_add""",
    ),
    "attention and recurrence kernels": (
        OpClass.ISDOS,
        """dot_product_attention_bwd dot_product_attention_bwd_wrapper
        dot_product_attention_fp8_bwd dot_product_attention_fp8_bwd_wrapper
        dot_product_attention_fp8_fwd dot_product_attention_fp8_fwd_wrapper
        dot_product_attention_fwd dot_product_attention_fwd_wrapper rnn_bwd rnn_fwd""",
    ),
    "linear algebra": (
        OpClass.ISDOS,
        """cholesky cholesky_update eig eigh fft geqp3 geqrf hessenberg householder_product lu
        lu_pivots_to_permutation ormqr qr schur svd symmetric_product triangular_solve tridiagonal
        tridiagonal_solve""",
    ),
    "random": (
        OpClass.ISDOS,
        """assert_consumed_value consume philox2x32 philox4x32 random_bits random_clone
        random_fold_in random_gamma random_seed random_split random_unwrap random_wrap
        rng_bit_generator rng_uniform threefry2x32 threefry4x32""",
    ),
    "sparse": (
        OpClass.ISDOS,
        """bcoo_dot_general bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_sort_indices
        bcoo_spdot_general bcoo_sum_duplicates bcoo_todense bcoo_transpose bcsr_dot_general
        bcsr_extract bcsr_fromdense bcsr_todense coo_fromdense coo_matmat coo_matvec coo_spmm
        coo_spmv coo_todense csr_fromdense csr_matmat csr_matvec csr_spmm csr_spmv csr_todense
        spsolve todense""",
    ),
    "placement": (
        OpClass.ISDOS,
        """device_put global_array_to_host_local_array host_local_array_to_global_array
        inspect_sharding layout_constraint relayout reshard shard_alike sharding_constraint
        with_memory_space_constraint""",
    ),
    "collectives": (
        OpClass.ISDOS,
        """all_gather all_gather_done all_gather_invariant all_gather_reduced
        all_gather_reduced_start all_gather_start all_to_all all_to_all_done all_to_all_start
        pbroadcast pbroadcast_done pbroadcast_dynamic pbroadcast_start pmax pmin ppermute
        ppermute_done ppermute_start precv preduced psend psum psum_done psum_invariant
        psum_invariant_start psum_start pvary ragged_all_to_all reduce_scatter reduce_scatter_done
        reduce_scatter_start reduced_vary_cast reduced_vary_cast_p unreduced_pmax unreduced_pmin
        unreduced_psum unreduced_psum_start unreduced_reduce_scatter
        unreduced_reduce_scatter_start vary_unreduced_cast vary_unreduced_cast_p""",
    ),
    "mutable references": (
        OpClass.ISDOS,
        """accum_grad_in_ref addupdate box_get box_set free_ref freeze get log_extend log_read
        new_box new_log new_ref pin swap unpin""",
    ),
    "thunks": (
        OpClass.ISDOS,
        """thunky.all_gather thunky.all_reduce thunky.all_to_all thunky.async_done
        thunky.collective_permute thunky.copy thunky.memset thunky.memzero
        thunky.reduce_scatter""",
    ),
    "control flow": (
        OpClass.EDO,
        "cond thunky.cond thunky.while while",
    ),
    "made by the passes of this package": (
        OpClass.EDO,
        "gated_rows",
    ),
    "opaque calls": (
        OpClass.EDO,
        """buffer_callback call_exported call_tf debug_callback debug_print ffi_call io_callback
        pure_callback thunky.custom_call thunky.ptx_kernel tpu_custom_call unreachable""",
    ),
    "wrappers of sub-jaxprs": (
        OpClass.STRUCTURAL,
        """call call_hi_primitive call_hi_primitive_linearized closed_call composite compute_on
        cudnn_fusion custom_jvp_call custom_jvp_call_jaxpr custom_lin custom_linear_solve
        custom_partitioning custom_vjp_call custom_vmap_call eval_jaxpr fused_call jit linear_call
        program_order remat2 remat_opt run_state scan shard_map thunky.async_start thunky.call_jax
        thunky.call_thunky_nested thunky.collective_group xla_metadata_call""",
    ),
}

# Primitive -> class, before the parameters of an equation refine it.
OPERATOR_CLASSES: dict[str, OpClass] = {
    name: op_class for op_class, names in GROUPS.values() for name in names.split()
}
