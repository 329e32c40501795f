"""`epsearch inspect`: tables, advice, JSON and page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from epsearch import inspect
from tests.conftest import CommandLine
from tests.inspecting.training import trained


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model, optimizer = trained(eps=1e-3)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "model & 3.pt")
    return tmp_path / "model & 3.pt"


def test_tables_and_advice(checkpoint: Path, command_line: CommandLine) -> None:
    code, out, err = command_line("inspect", str(checkpoint))
    assert (code, err) == (0, "")
    assert "convolution" in out
    assert "3.weight" in out
    assert "Adam, useful range of eps: 1e-" in out
    assert "ε = 1e-3 takes " in out
    assert "would take at most 0." in out


def test_json(checkpoint: Path, command_line: CommandLine) -> None:
    code, out, err = command_line("inspect", str(checkpoint), "--json")
    assert (code, err) == (0, "")
    found, result = json.loads(out), inspect(checkpoint)
    assert out.isascii()
    assert found["range"] == {"lower": result.range.lower, "upper": result.range.upper}
    assert found["harmless"] == result.harmless() == min(each["harmless"] for each in found["classes"].values())
    assert found["classes"]["MLP"]["taken"] == result.damping_by_kind(1e-3)["MLP"]
    assert found["classes"]["convolution"]["elements"] == 36
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in result.layers]
    assert found["settings"] == {"lr": 1e-3, "eps": 1e-3, "beta2": 0.999}


def test_page(checkpoint: Path, command_line: CommandLine) -> None:
    code, out, _ = command_line("inspect", str(checkpoint), "--page", "page.html")
    assert code == 0
    assert "Page  page.html" in out
    page = (command_line.folder / "page.html").read_text()
    assert "<h1>model &amp; 3.pt</h1>" in page
    assert '<td class="text">convolution</td>' in page
    assert r"\u03b5 in use" in page  # in the JSON of the figure
    assert "takes" in page


def test_a_page_that_cannot_be_written(checkpoint: Path, command_line: CommandLine) -> None:
    message = command_line.refuses("inspect", str(checkpoint), "--page", "missing/page.html")
    assert message == "missing/page.html: cannot be written (No such file or directory); name another file."


def test_options(tmp_path: Path, command_line: CommandLine) -> None:
    states = [trained()[1].state_dict(), trained("eadam")[1].state_dict()]
    torch.save({"optimizer_states": states}, tmp_path / "last.ckpt")
    code, out, err = command_line("inspect", "last.ckpt", "--key", "optimizer_states.1", "--optimizer", "eadam")
    assert code == 0
    assert "EAdam, useful range" in out
    assert err.startswith("epsearch: last.ckpt: the tensors have no names")


def test_mistakes(command_line: CommandLine) -> None:
    assert command_line.refuses("inspect", "missing.pt") == "missing.pt: cannot be read (No such file or directory)."
