"""CodeBERT on functions and classes of Python's standard library, at their own lengths."""

from __future__ import annotations

from pathlib import Path

from sod2jax.bench.suite import Suite, SuiteFile, load_package, pad_tokens, trim_tokens

_ROOT = Path(__file__).resolve().parents[2]


def build(size: str, *, batch: int, requests: int, seed: int, weights: Path | None = None) -> Suite:
    """CodeBERT and `requests` requests of `batch` snippets, padded to the longest of each batch."""
    # Loaded here, not above: reading this file for its sizes should not import flax.
    models = load_package(_ROOT / "models")
    model = models.load("codebert", size, weights=weights, seed=seed)
    from models import codebert, source_code

    config = codebert.SIZES[size]
    stream = source_code.requests(requests, batch, seed, config.vocab_size, config.max_length)
    specs = (None, "_, s", "_, s")
    return Suite(
        name="codebert",
        fun=model.fun,
        params=model.params,
        requests=stream,
        shapes=specs[: 1 + len(stream[0])],
        constraints=model.constraints,
        maximum={"s": config.max_length},
        dims=lambda inputs: {"s": inputs[0].shape[1]},
        pad=lambda inputs, sizes: pad_tokens(inputs, sizes["s"], source_code.PAD_ID),
        trim=trim_tokens,
    )


SUITE = SuiteFile(
    about="functions and classes of Python's standard library, tokenised",
    sizes=("tiny", "small", "base"),
    default_size="small",
    quick_size="tiny",
    takes_weights=True,
    build=build,
)
