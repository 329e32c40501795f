"""Image export through a real browser, and Parquet export."""

import os
import struct
import sys
import time
import xml.etree.ElementTree as ET

import pytest

from epsearch.core.errors import UserError
from epsearch.report.figures.gallery import figures
from epsearch.report.output import export as module
from epsearch.report.output.csv import COLUMNS
from epsearch.report.output.export import SCALE, WIDTH, export, formats_of
from tests.report import hostile, sample
from tests.report.html.test_browser import CHROMIUM

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.mark.thorough
@needs_browser
def test_every_figure_as_png_svg_and_pdf(outcome):
    pytest.importorskip("kaleido")
    (outcome.directory / "figures").mkdir()
    written = export(outcome, ["png", "svg", "pdf"])
    drawn = figures(outcome)
    assert {path.name for path in written} == {f"{name}.{form}" for name in drawn for form in ("png", "svg", "pdf")}
    folder = outcome.directory / "figures"
    for name, figure in drawn.items():
        png = (folder / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        assert struct.unpack(">II", png[16:24]) == (SCALE * WIDTH, SCALE * figure.layout.height)
        assert ET.fromstring((folder / f"{name}.svg").read_text(encoding="utf-8")).tag.endswith("svg")
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    map_of_cells = (folder / "heatmap-lr-eps.svg").read_text(encoding="utf-8")
    assert "0.9120" in map_of_cells
    assert "(click)" not in map_of_cells


@pytest.mark.thorough
@needs_browser
def test_a_hostile_name_is_drawn_as_text(tmp_path):
    pytest.importorskip("kaleido")
    (tmp_path / "figures").mkdir()
    export(hostile.outcome(tmp_path, hostile.SCRIPT), ["svg"])
    assert "<script" not in (tmp_path / "figures" / "heatmap-lr-eps.svg").read_text(encoding="utf-8")


def test_a_missing_browser_is_reported(outcome, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    with pytest.raises(UserError, match="BROWSER_PATH"):
        export(outcome, ["png"])


@pytest.mark.thorough
def test_a_browser_that_exits_is_reported(outcome, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    with pytest.raises(UserError, match="could not draw"):
        export(outcome, ["png"])


@pytest.mark.thorough
def test_a_browser_that_never_answers_is_killed(outcome, monkeypatch, tmp_path):
    pytest.importorskip("kaleido")
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 300\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(browser))
    monkeypatch.setattr(module, "START_SECONDS", 2.0)
    monkeypatch.setattr(module, "SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(UserError, match="no answer within"):
        export(outcome, ["svg"])
    assert time.monotonic() - began < 30
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.thorough
@needs_browser
def test_an_image_that_takes_too_long_fails(outcome, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setattr(module, "SECONDS", 1e-3)
    with pytest.raises(UserError, match="could not draw"):
        export(outcome, ["svg"])


@needs_browser
def test_a_file_that_cannot_be_written_is_named(outcome):
    pytest.importorskip("kaleido")
    (outcome.directory / "figures" / "heatmap-lr-eps.svg").mkdir(parents=True)
    with pytest.raises(UserError, match=r"heatmap-lr-eps\.svg: cannot be written"):
        export(outcome, ["svg"])


@pytest.mark.parametrize(("package", "form"), [("kaleido", "png"), ("pyarrow", "parquet")])
def test_a_missing_package_is_named(outcome, monkeypatch, package, form):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'epsearch\[export\]'"):
        export(outcome, [form])


def test_parquet_holds_the_trials(outcome):
    parquet = pytest.importorskip("pyarrow.parquet")
    (path,) = export(outcome, ["parquet"])
    rows = parquet.read_table(path).to_pylist()
    assert rows == [{column: getattr(trial, column) for column in COLUMNS} for trial in outcome.trials]


def test_parquet_of_no_trials_has_its_columns_and_any_text_fits(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    (path,) = export(sample.outcome(tmp_path, trials=[]), ["parquet"])
    assert tuple(parquet.read_table(path).column_names) == COLUMNS
    (path,) = export(hostile.outcome(tmp_path, "broken \udcff"), ["parquet"])
    assert parquet.read_table(path).to_pylist()[0]["optimizer"] == "broken ?"


def test_formats_are_named():
    assert formats_of(["pdf", "png", "pdf"]) == ["png", "pdf"]
    with pytest.raises(UserError, match='Did you mean "parquet"'):
        formats_of(["parket"])
    with pytest.raises(UserError) as raised:
        formats_of(["x" * 100_000])
    assert len(str(raised.value)) < 300
