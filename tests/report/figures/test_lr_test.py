import pytest

from epsearch import LrTest
from epsearch.report.figures.lr_test import lr_test_info, plot_lr_test

LRS = [10 ** (k / 4 - 6) for k in range(30)]


def record(**fields):
    losses = [2.0 - 1.5 * step / 29 for step in range(29)] + [90.0]
    return LrTest(
        **{
            "optimizer": "Adam",
            "eps": 1e-6,
            "lrs": LRS,
            "losses": losses,
            "suggestion": 3e-3,
            "low": 3e-4,
            "high": 3e-2,
            "reason": "half of the fall",
            **fields,
        }
    )


def test_the_curve_and_what_is_read_from_it():
    test = record()
    info = lr_test_info(test)
    assert (info.lrs, info.losses) == (tuple(LRS), tuple(test.losses))
    assert info.smoothed[0] == pytest.approx(test.losses[0])
    assert info.title == "Learning-rate test of Adam at ε 1e-6"
    figure = plot_lr_test(info)
    faint, smooth = figure.data
    assert faint.opacity < 1
    assert smooth.y == info.smoothed
    box, line = sorted(figure.layout.shapes, key=lambda shape: shape.type == "line")
    assert (box.x0, box.x1, line.x0) == (3e-4, 3e-2, 3e-3)
    assert figure.layout.xaxis.type == "log"
    assert "suggested: 3e-3, search 3e-4 to 3e-2: half of the fall" in figure.layout.title.subtitle.text


def test_an_explosion_does_not_flatten_the_curve():
    low, high = plot_lr_test(lr_test_info(record())).layout.yaxis.range
    assert low < 0.5
    assert 2 < high < 5


def test_without_a_suggestion_there_is_no_line():
    figure = plot_lr_test(lr_test_info(record(suggestion=None, low=1e-5, high=1.0, reason="it is flat", eps=None)))
    (box,) = figure.layout.shapes
    assert (box.x0, box.x1) == (1e-5, 1.0)
    assert "no suggestion, search 1e-5 to 1e0: it is flat" in figure.layout.title.subtitle.text
    assert figure.layout.title.text == "Learning-rate test of Adam"


def test_a_constant_loss():
    low, high = plot_lr_test(lr_test_info(record(losses=[0.0] * 30))).layout.yaxis.range
    assert low < 0 < high


def test_a_hostile_optimizer_is_escaped():
    figure = plot_lr_test(lr_test_info(record(optimizer="<b>x</b>", reason="<i>y</i>")))
    assert "<b>" not in figure.layout.title.text
    assert "<i>" not in figure.layout.title.subtitle.text


def test_a_record_draws_itself():
    assert len(record().plot().data) == 2
