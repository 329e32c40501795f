import numpy as np
import pytest
from plotly.colors import sample_colorscale, unlabel_rgb

from epsearch.report.figures.colors import color_axis, colors_of, text_color_on


def test_the_scale_reaches_from_worst_to_best():
    assert colors_of([0.1, 0.5, 0.9], "maximize")[:3] == (0.1, 0.9, False)
    assert colors_of([90.0, 80.0, 85.0], "minimize")[:3] == (80.0, 90.0, False)


def test_one_bad_value_does_not_take_all_the_contrast():
    low, high, clipped, _ = colors_of([80.0, 85.0, 90.0, 95.0, 2000.0], "minimize")
    assert (low, high, clipped) == (80.0, 120.0, True)
    assert color_axis(colors_of([80.0, 85.0, 90.0, 95.0, 2000.0], "minimize"))["colorbar"]["ticktext"][-1] == "≥ 120.0"
    low, high, clipped, _ = colors_of([0.9, 0.89, 0.88, -5.0], "maximize")
    assert (round(low, 9), high, clipped) == (0.84, 0.9, True)


def test_bright_is_better():
    assert color_axis(colors_of([1.0, 2.0], "maximize"))["colorscale"] == "Viridis"
    assert color_axis(colors_of([1.0, 2.0], "minimize"))["colorscale"] == "Viridis_r"


def test_one_value_has_no_scale_and_none_has_no_colors():
    assert color_axis(colors_of([0.5, 0.5], "maximize"))["showscale"] is False
    assert colors_of([], "maximize") is None


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_text_contrasts_with_every_color_of_the_scale(goal):
    values = np.linspace(2.0, 3.0, 201)
    colors = colors_of(values.tolist(), goal)
    drawn = sample_colorscale(color_axis(colors)["colorscale"], (values - 2.0).tolist())
    for value, color in zip(values, drawn, strict=True):
        rgb = np.array(unlabel_rgb(color)) / 255
        luminance = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        ink = {"#000000": 0.0, "#ffffff": 1.0}[text_color_on(value, colors)]
        # Contrast as WCAG defines it; 4.5 is its level AA.
        assert (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05) >= 4.5


def test_text_on_a_clipped_value_is_that_of_the_end_and_a_scale_of_no_width_has_one():
    colors = colors_of([80.0, 85.0, 90.0, 95.0, 2000.0], "minimize")
    assert text_color_on(2000.0, colors) == text_color_on(colors.high, colors) == "#ffffff"
    assert text_color_on(0.5, colors_of([0.5, 0.5], "maximize")) == "#000000"
