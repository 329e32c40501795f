from epsearch.report.figures.axes import log_axis


def test_ticks_are_whole_decades_where_there_are_two():
    assert log_axis("lr", [1e-4, 1e-3, 1e-1])["dtick"] == 1
    assert log_axis("eps", [1e-16, 1e4])["dtick"] == 3
    assert "dtick" not in log_axis("lr", [1e-3, 3e-3])
    assert "dtick" not in log_axis("lr", [])
