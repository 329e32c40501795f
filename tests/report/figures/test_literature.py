import pytest

from epsearch.records.epsilon import EpsilonRange
from epsearch.report.figures.literature import LITERATURE, OURS, literature_info, plot_literature

VGG = EpsilonRange(lower=1e-6, upper=1e-2)


def test_the_probes_range_comes_first_and_the_literatures_are_those_of_table_3():
    info = literature_info(VGG, "adam")
    ends = {name: (searched.lower, searched.upper) for name, searched in info.ranges.items()}
    assert ends == {OURS: (1e-6, 1e-2), "Wang et al. 2021": (1e-16, 1e-5), "Choi et al. 2019": (1e-10, 1e10)}
    assert LITERATURE == 21


def test_bars_lie_over_their_powers_of_ten():
    figure = plot_literature(literature_info(VGG, "adam", 1e-3))
    spans = {bar.y[0]: (bar.base[0], bar.base[0] + bar.x[0]) for bar in figure.data}
    assert spans[OURS] == pytest.approx((-6.2, -1.8))
    assert spans["Choi et al. 2019"] == pytest.approx((-10.2, 10.2))
    assert [bar.text for bar in figure.data] == ["5 powers of ten", "12 powers of ten", "21 powers of ten"]
    assert figure.layout.shapes[0].x0 == pytest.approx(-3)
    assert figure.layout.annotations[0].text == "best ε 1e-3"


def test_one_power_of_ten_is_still_seen_and_no_best_has_no_line():
    figure = plot_literature(literature_info(EpsilonRange(lower=1e-17, upper=1e-17), "<b>adabelief</b>"))
    assert figure.data[0].x[0] > 0
    assert figure.layout.xaxis.range[0] < -17
    assert not figure.layout.shapes
    assert "<b>" not in figure.layout.title.text
