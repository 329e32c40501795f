"""Study files and overrides that nobody would think of: exit code 0 or 2, one message below 1 kB, no traceback."""

from __future__ import annotations

import contextlib
import copy
import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from epsearch.cli import main as cli
from epsearch.cli import own_code

VALID: list[dict[str, Any]] = [
    {"workload": {"name": "vision", "dataset": "digits", "model": "mlp"}},
    {"workload": {"train": "my_code:train"}, "metric": {"name": "score", "goal": "minimize"}},
    {
        "name": "all of it",
        "workload": {"name": "language", "dataset": "python_stdlib", "model": "gpt", "level": "word", "bptt": 35},
        "optimizer": {"name": "adabelief", "beta1": 0.9, "weight_decay": 1e-4},
        "training": {"epochs": 3, "lr_decay": {"factor": 0.1, "at": [2]}, "seeds": [0, 1], "precision": "bfloat16"},
        "metric": {"name": "perplexity", "goal": "minimize"},
        "probe": {"epochs": 1, "lr": 1e-3, "percentiles": [2, 98]},
        "search": {"eps": "endpoints", "lr": {"low": 1e-4, "high": 0.1}, "beta2": [0.9, 0.99], "baselines": ["sgd"]},
        "engine": {"name": "ray", "sampler": "tpe", "trials": 40, "pruner": "asha", "resources": {"gpu": 0.25}},
    },
]


def dotted(study: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a study, as `--set` names it."""
    for key, value in study.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


KEYS = sorted({key for study in VALID for key in dotted(study)} | {"search.eps.low", "engine.storage", "a.b"})

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ["grid", "adam", "sgd", "1e-3", "", "x" * 10_000, "é😀\x00\ud800", "ray", "tpe", "../..", 10**400]
    )
)
NAMES = st.text(max_size=10) | st.sampled_from(["low", "high", "name", "k" * 10_000])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=8,
) | (st.integers() | st.text(max_size=5)).map(lambda value: [value] * 3000)
TEXTS = st.text(max_size=200) | st.text(alphabet="{}[]:-,#&*!|>'\"%@` \n\tab01", max_size=120)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid study some of whose keys have other values, are gone, or are new."""
    study = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        node: Any = study
        while isinstance(node, dict) and node:
            key = draw(st.sampled_from(sorted(node)))
            if isinstance(node[key], dict) and node[key] and draw(st.booleans()):
                node = node[key]
                continue
            action = draw(st.sampled_from(["change", "change", "remove", "add", "many"]))
            if action == "remove":
                del node[key]
            elif action == "change":
                node[key] = draw(VALUES)
            elif action == "add":
                node[draw(st.text(min_size=1, max_size=20) | st.just("k" * 10_000))] = draw(VALUES)
            else:
                node.update({f"{key}{number}": number for number in range(60)})
            break
    text = yaml.dump(study, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans()))
    text = text.replace("!!", draw(st.sampled_from(["!!", ""])))
    if draw(st.booleans()):
        # A letter of the text is another one.
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.text(max_size=3)) + text[place + draw(st.integers(0, 5)) :]
    return text.encode("utf-8", "surrogatepass")


FILES = mutated() | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200)
OVERRIDES = st.lists(
    st.tuples(
        st.sampled_from(KEYS) | st.text(max_size=12) | st.just("k." * 3000 + "k"),
        TEXTS | VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).strip()),
    ).map("=".join)
    | st.text(max_size=30),
    max_size=3,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in. Code of the user's is not imported: that takes a process each time."""
    folder = tmp_path_factory.mktemp("fuzz")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("EPSEARCH_STORAGE", raising=False)
        patch.setattr(own_code, "check_own_code", lambda config: None)
        yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


def check(content: bytes, overrides: list[str]) -> None:
    """`epsearch check` through the program's own `main()`."""
    Path("study.yaml").write_bytes(content)
    words = [word for override in overrides for word in ("--set", override)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["epsearch", "check", "study.yaml", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    printed = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert ended.value.code in (0, 2)
    assert "Traceback" not in printed
    assert len(printed) <= 1024
    if ended.value.code == 2:
        assert printed.startswith("epsearch: ")
        assert out.buffer.getvalue() == b""  # type: ignore[attr-defined]
    else:
        assert printed == ""


def fuzzed(examples: int) -> Any:
    """As many examples, the same each time, and no limit to the time of one: machines differ."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@fuzzed(60)
@given(FILES, OVERRIDES)
def test_study_files_and_overrides(place: Path, content: bytes, overrides: list[str]) -> None:
    check(content, overrides)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@fuzzed(500)
@given(FILES, OVERRIDES)
def test_many_study_files_and_overrides(place: Path, content: bytes, overrides: list[str]) -> None:
    check(content, overrides)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@fuzzed(500)
@given(mutated())
def test_many_study_files_that_are_nearly_right(place: Path, content: bytes) -> None:
    check(content, [])
