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
    """Its name in the table."""
    beta1: Momentum = 0.9
    """β₁, not searched; ignored where the optimizer has none."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """L2 or decoupled, as `epsearch list` says: L2 is part of the gradient that v sees. Default: the optimizer's own,
    0.01 for adamw and 0 for the others."""

    @model_validator(mode="before")
    @classmethod
    def _own_default(cls, data: Any) -> Any:
        """The resolved study has the number."""
        if isinstance(data, dict) and data.get("weight_decay") is None:
            row = OPTIMIZERS.get(str(data.get("name", "adam")))
            return {**data, "weight_decay": row.weight_decay if row else 0.0}
        return data


class DecaySection(Section):
    """Step decay: lr is multiplied by `factor` after each of the epochs in `at`."""

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    """What lr is multiplied by."""
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(distinct)]
    """After how many epochs, e.g. [15]."""


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
    """Epochs of a trial; 20 unless your own `train(run)` names its default."""
    batch_size: Count = 128
    """Training examples in a batch; for a language model, texts read side by side."""
    lr_decay: Decay | None = None
    """Step decay of lr, {factor: 0.1, at: [15]}, or cosine: to zero over the epochs."""
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Steps of the optimizer over which lr rises linearly at the start."""
    clip_norm: Positive | None = None
    """Gradients whose norm over all parameters is larger are scaled down to it."""
    accumulate: Count = 1
    """Batches whose mean gradient makes one step."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "float64"] = "float32"
    """Number format: of everything (float32, float64), of matrix products on a GPU (tf32), or of the forward and
    backward pass, with weights and optimizer in float32 (bfloat16, float16)."""
    compile: bool = False
    """Compile the model with torch.compile."""
    channels_last: bool = False
    """Store images and convolutions with their channels last, which is faster for some."""
    checkpoint_every: Annotated[FiniteFloat, Field(ge=0)] | None = 60
    """Seconds, at least, between checkpoints, which are made at the end of an epoch: a trial that was killed or lost
    goes on from its last one. 0: every epoch; null: none."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(distinct)] = [0]
    """Each trial is trained once for each seed; its value is the mean."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 …"""
    threads: Count = 1
    """CPU threads of a trial; two trials of one thread are faster than one of two."""
    record_histograms: bool = False
    """Keep ẑ of each trial's first seed after every epoch, for the report to show how it moves (Figs. 8, 9)."""


OF_OUR_LOOP = ("lr_decay", "warmup", "clip_norm", "accumulate", "compile", "channels_last")
"""Keys of `training` that a `train(run)` of one's own cannot be given: it does these itself."""
