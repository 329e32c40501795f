from epsearch.report.colours import colour_axis, colours_of


def test_the_scale_reaches_from_worst_to_best():
    assert colours_of([0.1, 0.5, 0.9], "maximize")[:3] == (0.1, 0.9, False)
    assert colours_of([90.0, 80.0, 85.0], "minimize")[:3] == (80.0, 90.0, False)


def test_one_bad_value_does_not_take_all_the_contrast():
    low, high, clipped, _ = colours_of([80.0, 85.0, 90.0, 95.0, 2000.0], "minimize")
    assert (low, high, clipped) == (80.0, 120.0, True)
    assert (
        colour_axis(colours_of([80.0, 85.0, 90.0, 95.0, 2000.0], "minimize"))["colorbar"]["ticktext"][-1] == "≥ 120.0"
    )
    low, high, clipped, _ = colours_of([0.9, 0.89, 0.88, -5.0], "maximize")
    assert (round(low, 9), high, clipped) == (0.84, 0.9, True)


def test_bright_is_better():
    assert colour_axis(colours_of([1.0, 2.0], "maximize"))["colorscale"] == "Viridis"
    assert colour_axis(colours_of([1.0, 2.0], "minimize"))["colorscale"] == "Viridis_r"


def test_one_value_has_no_scale_and_none_has_no_colours():
    assert colour_axis(colours_of([0.5, 0.5], "maximize"))["showscale"] is False
    assert colours_of([], "maximize") is None
