"""What a parameter tensor is for: an embedding, an attention's query, a bias …

Gradients, and with them ẑ, differ by class: an ε that is harmless for the matrices of an MLP can immobilize embeddings.
Decided from names as torch, torchvision, transformers, timm and diffusers use them, from the classes of the modules if
the model is at hand, and else from the shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal[
    "embedding",
    "attention query",
    "attention key",
    "attention value",
    "attention output",
    "attention",
    "MLP",
    "convolution",
    "recurrent",
    "normalization",
    "bias",
    "head",
    "matrix",
    "vector",
    "other",
]
"""What a tensor is for.

`attention` is several in one tensor (a fused qkv); of a `matrix` or `vector` only the shape is known.
"""

Shape = Sequence[int]

_WRAPPERS = re.compile(r"^((module|model|net|network|backbone|_orig_mod|_fsdp_wrapped_module)\.)+")

_NORMALIZATION = re.compile(r"norm|^(ln|bn|gn)(_?[\da-z]+)?$", re.IGNORECASE)
_BIAS = re.compile(r"^(.+_)?bias(_[ihkv]+(_l\d+(_reverse)?)?)?$|^b$")
_EMBEDDING = re.compile(
    r"emb(ed(der|ding|dings|s)?)?(_|$)|^embed|^(wte|wpe|shared|pos_embed\w*|relative_attention_bias)$"
    r"|_token$|^register_tokens$|^relative_position_bias_table$"
)
_CONVOLUTION = re.compile(r"^(depthwise_|pointwise_)?conv(_?\d.*|_\w+)?$|^patch_embed")
_RECURRENT = re.compile(r"^weight_[ih]h(_l\d+)?(_reverse)?$")
_HEAD = re.compile(r"^(\w+_)?heads?(_\w+)?$|^(classifier|score|logits|embed_out|unembed\w*|qa_outputs)$")
_FIRST_HEAD = re.compile(r"^(fc|cls|output)$")
"""Names that mean a head only at the top of the model."""

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MLP = re.compile(r"^(mlp|ffn?|feed_?forward|intermediate|experts?|DenseReluDense)$|_proj$|^(fc|lin|linear)_?\d$", re.I)
_ROLES: Mapping[Kind, re.Pattern[str]] = {
    "attention query": re.compile(r"^(q|query|wq|to_q|q(_[ab])?_(proj|lin)(_weight)?|query_proj|q_linear)$"),
    "attention key": re.compile(r"^(k|key|wk|to_k|k_(proj|lin)(_weight)?|key_proj|k_linear)$"),
    "attention value": re.compile(r"^(v|value|wv|to_v|v_(proj|lin)(_weight)?|value_proj|v_linear)$"),
    "attention output": re.compile(r"^(o|out|wo|to_out|(o|out|c)_proj|out_lin|proj|dense|output|o_linear)$"),
}
_SELDOM_ELSEWHERE = re.compile(r"^(to_[qkv]|[qkv]_proj|[qkvo]_lin|query|key)$")
"""Parts of a name that mean attention even where no part says so."""


def kinds_of(shapes: Mapping[str, Shape | None], modules: Mapping[str, Sequence[str]] | None = None) -> dict[str, Kind]:
    """The kind of each of a model's tensors, by name; see `kind_of`.

    Together they say more than one by one: a vector `1.bias` belongs to a normalization if `1.weight` is a vector.
    """
    modules = modules or {}
    kinds = {name: kind_of(name, shape, modules.get(name, ())) for name, shape in shapes.items()}
    for name in shapes:
        owner, _, leaf = name.rpartition(".")
        if leaf == "bias" and kinds.get(f"{owner}.weight") == "normalization":
            kinds[name] = "normalization"
    return kinds


def kind_of(name: str, shape: Shape | None = None, modules: Sequence[str] = ()) -> Kind:
    """The kind of one tensor.

    Args:
        name: Its name in the model, such as `h.0.attn.c_attn.weight`.
        shape: None if unknown.
        modules: Names of the classes of the modules that contain it, the outermost first; empty if unknown.
    """
    *path, leaf = _WRAPPERS.sub("", name).split(".")
    owner = path[-1] if path else ""
    cls = modules[-1] if modules else ""
    if "Norm" in cls or _NORMALIZATION.search(owner) or (not cls and leaf == "weight" and _dims(shape) == 1):
        return "normalization"
    if _BIAS.search(leaf):
        return "bias"
    if _is_convolution(path, leaf, shape, cls):
        return "convolution"
    if any(map(_HEAD.search, path[:2])) or any(map(_FIRST_HEAD.search, path[:1])):
        return "head"
    if "Embedding" in cls or (cls not in ("Linear", "Conv1D") and any(map(_EMBEDDING.search, [*path, leaf]))):
        return "embedding"
    if _RECURRENT.search(leaf):
        return "recurrent"
    if (role := _attention(path, leaf, modules)) is not None:
        return role
    if (_dims(shape) == 2 and leaf == "weight") or any(map(_MLP.search, [*path, leaf])):
        return "MLP"
    return _by_shape(name, shape)


def _dims(shape: Shape | None) -> int | None:
    return None if shape is None else len(shape)


def _is_convolution(path: Sequence[str], leaf: str, shape: Shape | None, cls: str) -> bool:
    if cls:
        return bool(re.match(r"(Lazy)?Conv(Transpose)?[123]d", cls))
    if shape is not None:
        return leaf == "weight" and len(shape) > 2
    return leaf == "weight" and any(map(_CONVOLUTION.search, path))


def _attention(path: Sequence[str], leaf: str, modules: Sequence[str]) -> Kind | None:
    """The role in an attention that the innermost part of the name gives; None outside of one."""
    inside = next((index for index, part in enumerate(path) if _ATTENTION.search(part)), None)
    if inside is None and not any("Attention" in cls for cls in modules[:-1]):
        inside = next((index for index, part in enumerate(path) if _SELDOM_ELSEWHERE.search(part)), None)
        if inside is None or len(path) < 2:
            return None
    parts = [*path[inside or 0 :], leaf]
    for part in reversed(parts):
        for kind, pattern in _ROLES.items():
            if pattern.search(part):
                return kind
    return "attention"


def _by_shape(name: str, shape: Shape | None) -> Kind:
    if shape is None or not shape:
        return "other"
    if len(shape) > 2:
        # Without a name the most usual tensor of so many dimensions.
        return "convolution" if re.fullmatch(r"group\d+\.param\d+", name) else "other"
    return "matrix" if len(shape) == 2 else "vector"
