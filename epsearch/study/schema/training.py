"""The `optimizer` and `training` sections of a study file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    WithJsonSchema,
    model_validator,
)

from epsearch.core.messages import shown
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS
from epsearch.study.schema.base import Count, Momentum, Positive, Section, distinct, one_of, wrong


class OptimizerSection(Section):
    """The adaptive optimizer whose lr, eps and beta2 are searched."""

    name: one_of("optimizer", ADAPTIVE) = "adam"  # type: ignore[valid-type]
    """The optimizer; `epsearch list` shows all."""
    beta1: Momentum = 0.9
    """β₁, which is not searched. Ignored if the optimizer has none."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """Weight decay, L2 or decoupled as `epsearch list` shows; L2 is added to the gradient, so it enters v. Default:
    0.01 for adamw, 0 for the others."""

    @model_validator(mode="before")
    @classmethod
    def _own_default(cls, data: Any) -> Any:
        """Fill in the optimizer's default, so that the resolved study has the number."""
        if isinstance(data, dict) and data.get("weight_decay") is None:
            row = OPTIMIZERS.get(str(data.get("name", "adam")))
            return {**data, "weight_decay": row.weight_decay if row else 0.0}
        return data


class DecaySection(Section):
    """Step decay: lr is multiplied by `factor` after each epoch in `at`."""

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    """Factor that lr is multiplied by."""
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(distinct)]
    """Epochs after which lr is multiplied, e.g. [15]."""


def _decay_kind(value: object) -> str:
    return "bounds" if isinstance(value, dict | DecaySection) else "keyword"


def _cosine(value: object) -> object:
    if value != "cosine":
        raise wrong(f"expected cosine or {{factor: 0.1, at: [15]}}, found {shown(value)}.")
    return value


Decay = Annotated[
    Annotated[DecaySection, Tag("bounds")]
    | Annotated[str, BeforeValidator(_cosine), WithJsonSchema({"type": "string", "enum": ["cosine"]}), Tag("keyword")],
    Discriminator(_decay_kind),
]


class TrainingSection(Section):
    """How every trial is trained."""

    epochs: Count | None = None
    """Epochs of a trial. Default: 20, or the default in your own `train(run)`."""
    batch_size: Count = 128
    """Training examples per batch; for a language model, parallel text streams."""
    lr_decay: Decay | None = None
    """Step decay of lr, e.g. {factor: 0.1, at: [15]}, or cosine, which decays to zero over the epochs."""
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Optimizer steps of linear lr warm-up."""
    clip_norm: Positive | None = None
    """Maximum norm of the gradient over all parameters; larger gradients are scaled down."""
    accumulate: Count = 1
    """Batches whose gradients are averaged for one optimizer step."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "float64"] = "float32"
    """Number format: float32 or float64 throughout; tf32 for matrix products on a GPU; bfloat16 or float16 for the
    forward and backward pass, with weights and optimizer in float32."""
    compile: bool = False
    """Compile the model with torch.compile."""
    channels_last: bool = False
    """Use the channels-last memory format for images and convolutions, which is faster on some GPUs."""
    checkpoint_every: Annotated[FiniteFloat, Field(ge=0)] | None = 60
    """Minimum seconds between checkpoints, which are written at the end of an epoch. A trial that was killed or lost
    resumes from its last one. 0: after every epoch; null: never."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(distinct)] = [0]
    """Seeds: each trial is trained once per seed, and its value is the mean."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 …"""
    threads: Count = 1
    """CPU threads per trial. Two trials with one thread each are faster than one with two."""
    record_histograms: bool = False
    """Record ẑ of each trial's first seed after every epoch, to show in the report (Figs. 8, 9)."""


OF_OUR_LOOP = ("lr_decay", "warmup", "clip_norm", "accumulate", "compile", "channels_last")
"""Keys of `training` for epsearch's training loop only; a custom `train(run)` does these itself."""
