"""What tensors are for, in real models: by name and shape as in a checkpoint, and by module as in a live one."""

from collections import Counter

import pytest
import torch

from epsearch.probing.modules import module_classes
from epsearch.records import Histogram, Layer
from epsearch.records.kinds import kind_of, kinds_of

torchvision = pytest.importorskip("torchvision")


def torchvision_model(name):
    return getattr(torchvision.models, name)()


def transformers_model(name, **config):
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, name)(getattr(transformers, name).config_class(**config))


MODELS = {
    "gpt2": lambda: transformers_model("GPT2LMHeadModel", n_layer=2),
    "bert": lambda: transformers_model("BertForSequenceClassification", num_hidden_layers=2),
    "llama": lambda: transformers_model("LlamaForCausalLM", num_hidden_layers=2),
    "t5": lambda: transformers_model("T5ForConditionalGeneration", num_layers=2),
    "resnet18": lambda: torchvision_model("resnet18"),
    "vit_b_16": lambda: torchvision_model("vit_b_16"),
    "convnext_tiny": lambda: torchvision_model("convnext_tiny"),
    "swin_t": lambda: torchvision_model("swin_t"),
    "transformer": lambda: torch.nn.Transformer(d_model=32, num_encoder_layers=2, num_decoder_layers=2),
    "lstm": lambda: torch.nn.ModuleDict({"embedding": torch.nn.Embedding(5, 4), "lstm": torch.nn.LSTM(4, 3)}),
}

COUNTS = {
    "gpt2": {
        "embedding": 2,
        "normalization": 10,
        "attention": 2,
        "attention output": 2,
        "MLP": 4,
        "bias": 8,
    },
    "bert": {
        "embedding": 3,
        "normalization": 10,
        "attention query": 2,
        "attention key": 2,
        "attention value": 2,
        "attention output": 2,
        "MLP": 5,  # the pooler among them
        "bias": 14,
        "head": 1,
    },
    "llama": {
        "embedding": 1,
        "normalization": 5,
        "attention query": 2,
        "attention key": 2,
        "attention value": 2,
        "attention output": 2,
        "MLP": 6,
        "head": 1,
    },
    "t5": {
        "embedding": 3,  # two of relative positions
        "normalization": 12,
        "attention query": 6,
        "attention key": 6,
        "attention value": 6,
        "attention output": 6,
        "MLP": 8,
    },
    "resnet18": {"convolution": 20, "normalization": 40, "head": 1, "bias": 1},
    "vit_b_16": {
        "embedding": 2,
        "convolution": 1,
        "normalization": 50,
        "attention": 12,
        "attention output": 12,
        "MLP": 24,
        "bias": 50,
        "head": 1,
    },
    "convnext_tiny": {"convolution": 22, "MLP": 36, "normalization": 46, "bias": 59, "other": 18, "head": 1},
    "swin_t": {
        "convolution": 1,
        "embedding": 12,
        "attention": 12,
        "attention output": 12,
        "MLP": 27,
        "normalization": 58,
        "bias": 50,
        "head": 1,
    },
    "transformer": {"attention": 6, "attention output": 6, "MLP": 8, "normalization": 24, "bias": 20},
    "lstm": {"embedding": 1, "recurrent": 2, "bias": 2},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    with torch.device("meta"):
        made = MODELS[request.param]()
    made.title = request.param
    return made


def shapes_of(model):
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def test_names_and_shapes_are_enough_for_the_usual_models(model):
    assert dict(Counter(kinds_of(shapes_of(model)).values())) == COUNTS[model.title]


def test_modules_agree_with_them(model):
    shapes = shapes_of(model)
    assert kinds_of(shapes, module_classes(model)) == kinds_of(shapes)


def test_modules_decide_where_names_mean_nothing():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 3), torch.nn.PReLU(3))
    shapes = shapes_of(model)
    assert list(kinds_of(shapes).values()) == ["MLP", "MLP", "bias", "normalization"]
    assert list(kinds_of(shapes, module_classes(model)).values()) == ["embedding", "MLP", "bias", "vector"]


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        # torchtitan
        ("tok_embeddings.weight", (9, 4), "embedding"),
        ("layers.0.attention.wq.weight", (4, 4), "attention query"),
        ("layers.0.attention.wo.weight", (4, 4), "attention output"),
        ("layers.0.attention_norm.weight", (4,), "normalization"),
        ("layers.0.feed_forward.w1.weight", (4, 4), "MLP"),
        ("output.weight", (9, 4), "head"),
        # timm
        ("patch_embed.proj.weight", (8, 3, 4, 4), "convolution"),
        ("blocks.0.attn.qkv.weight", (24, 8), "attention"),
        ("blocks.0.ls1.gamma", (8,), "vector"),
        ("pos_embed", (1, 7, 8), "embedding"),
        ("cls_token", (1, 1, 8), "embedding"),
        ("head.fc.weight", (9, 8), "head"),
        # diffusers
        ("mid.attn1.to_q.weight", (4, 4), "attention query"),
        ("mid.attn1.to_out.0.weight", (4, 4), "attention output"),
        # GPT-NeoX, DistilBERT, a tutorial's GPT, prefixes of wrappers
        ("gpt_neox.layers.0.attention.query_key_value.weight", (12, 4), "attention"),
        ("embed_out.weight", (9, 4), "head"),
        ("distilbert.transformer.layer.0.attention.k_lin.weight", (4, 4), "attention key"),
        ("blocks.0.sa.heads.0.key.weight", (4, 4), "attention key"),
        ("module._orig_mod.fc.weight", (4, 4), "head"),
        ("multihead_attn.in_proj_weight", (12, 4), "attention"),
        ("model.layers.0.self_attn.q_norm.weight", (4,), "normalization"),
        ("model.layers.0.mlp.experts.gate_up_proj", (4, 4, 8), "MLP"),
        # only shapes
        ("group0.param0", (8, 3, 3, 3), "convolution"),
        ("group0.param1", (8, 3), "matrix"),
        ("group0.param2", (8,), "vector"),
        ("group0.param3", (), "other"),
        ("group0.param3", None, "other"),
        ("layer_scale", (8, 1, 1), "other"),
    ],
)
def test_conventions_of_names(name, shape, kind):
    assert kind_of(name, shape) == kind


def test_the_record_of_an_older_version_gets_its_kind_from_the_name():
    empty = {"numel": 0, "zeros": 0, "nonfinite": 0, "p2": None, "p98": None, "histogram": Histogram()}
    assert Layer(name="h.0.attn.c_attn.weight", **empty).kind == "attention"
    assert Layer(name="group0.param3", **empty).kind == "other"
    kept = Layer(name="0.weight", kind="head", **empty)
    assert Layer.model_validate_json(kept.model_dump_json()).kind == "head"
