import itertools
import math

import pytest

from epsearch.records.ridge import Ridge
from epsearch.report.figures.heatmap import heatmap_info, plot_heatmap
from tests.report import sample
from tests.report.sample import trial


def info_of(trials, goal="maximize", x="lr", y="eps", **fixed):
    return heatmap_info(trials, x, y, goal=goal, metric="accuracy", **fixed)


def states(info):
    return [[cell.state for cell in row] for row in info.rows]


def test_rows_are_y_and_columns_are_x_both_ascending():
    info = info_of([trial(0, 0.1, lr=1e-1, eps=1e-8), trial(1, 0.2, lr=1e-3, eps=1e-2)])
    assert info.xs == (1e-3, 1e-1)
    assert info.ys == (1e-8, 1e-2)
    assert [[cell.value for cell in row] for row in info.rows] == [[None, 0.1], [0.2, None]]
    assert states(info) == [["missing", "complete"], ["complete", "missing"]]


@pytest.mark.parametrize(("goal", "best"), [("maximize", (0, 1)), ("minimize", (0, 0))])
def test_the_best_cell_follows_the_goal(goal, best):
    info = info_of([trial(0, 80.0, lr=1e-3), trial(1, 95.0, lr=1e-2), trial(2, 85.0, lr=1e-1)], goal)
    assert info.best == best


def test_ties_go_to_the_earliest_and_are_counted():
    info = info_of([trial(4, 0.9, lr=1e-3), trial(2, 0.9, lr=1e-2), trial(3, 0.9, lr=1e-1), trial(5, 0.1, lr=1.0)])
    assert info.best == (0, 1)
    assert info.ties == 2
    assert "2 more cells with the same value" in plot_heatmap(info).layout.title.subtitle.text


def test_a_cell_shows_the_best_beta2_and_its_hover_says_which():
    info = info_of(
        [
            trial(0, 0.7, beta2=0.9),
            trial(1, 0.8, beta2=0.99),
            trial(2, beta2=0.999, state="failed", fail_reason="diverged"),
        ]
    )
    assert info.rows[0][0].trial.beta2 == 0.99
    hover = plot_heatmap(info).data[0].hovertext[0][0]
    assert "β₂ 0.99" in hover
    assert "best of 3 trials" in hover


def test_fixed_chooses_one_beta2():
    info = info_of([trial(0, 0.7, beta2=0.9), trial(1, 0.8, beta2=0.99)], fixed={"beta2": 0.9})
    assert info.rows[0][0].value == 0.7


def test_states_without_a_value_look_different():
    info = info_of(
        [
            trial(0, 0.5, lr=1e-5),
            trial(1, lr=1e-4, state="failed", fail_reason="diverged"),
            trial(2, lr=1e-3, state="failed", fail_reason="raised", error="boom"),
            trial(3, 0.3, lr=1e-2, state="pruned"),
            trial(4, lr=1e-1, state="waiting"),
        ]
    )
    assert states(info) == [["complete", "diverged", "failed", "pruned", "missing"]]
    figure = plot_heatmap(info)
    named = {trace.name: trace for trace in figure.data if trace.showlegend}
    assert set(named) == {"× diverged", "! failed otherwise", "– pruned", "· not run yet"}
    assert len({trace.colorscale[0][1] for trace in named.values()}) == 4
    assert "boom" in figure.data[0].hovertext[0][2]


def test_all_failed_has_no_best_and_no_colors():
    info = info_of([trial(0, state="failed", fail_reason="diverged"), trial(1, lr=1e-2, state="failed")])
    assert info.best is None
    assert info.colors is None
    assert plot_heatmap(info).layout.title.subtitle.text == "no complete trial yet"


def test_a_single_cell():
    info = info_of([trial(0, 0.5)])
    assert (info.best, info.ties) == ((0, 0), 0)
    assert plot_heatmap(info).layout.shapes[0].x0 == -0.5


def test_baselines_have_no_eps_and_stay_out():
    # Each arm is a study of its own, so both count from 0.
    info = info_of([trial(0, 0.5), *sample.baseline_trials(0)])
    assert info.xs == (1e-3,)
    assert info.best_trial.optimizer == "adam"


def test_axes_are_categories_with_short_labels():
    figure = plot_heatmap(info_of([trial(0, 0.5, lr=3e-4, eps=1e-8), trial(1, 0.5, lr=1e-3, eps=1e-8)]))
    assert figure.layout.xaxis.type == "category"
    assert figure.layout.xaxis.categoryarray == ("3e-4", "1e-3")
    beta2 = plot_heatmap(info_of([trial(0, 0.5, beta2=0.999), trial(1, 0.4, beta2=0.9)], x="eps", y="beta2"))
    assert beta2.layout.yaxis.categoryarray == ("0.9", "0.999")


def test_the_sample_has_its_ridge():
    info = info_of(sample.grid_trials())
    assert (info.xs, info.ys) == (sample.LRS, sample.EPS)
    assert (info.best_trial.lr, info.best_trial.eps, info.best_trial.beta2) == (1e-2, 1e-3, 0.999)
    figure = plot_heatmap(info)
    assert "α 1e-2, ε 1e-3, β₂ 0.999" in figure.layout.title.subtitle.text
    assert figure.data[0].text[3][3] == "0.9120"
    assert "± 0.0014 (2 seeds)" in figure.data[0].hovertext[3][3]


def test_every_value_is_written_once_in_a_contrasting_color():
    figure = plot_heatmap(info_of([trial(0, 0.1, lr=1e-3), trial(1, 0.8, lr=1e-2), trial(2, 0.9, lr=1e-1)]))
    written = {trace.textfont.color: [[*row] for row in trace.text] for trace in figure.data}
    assert written == {"#000000": [["", "0.8000", "0.9000"]], "#ffffff": [["0.1000", "", ""]]}
    assert [list(trace.z[0]) for trace in figure.data] == [[None, 0.8, 0.9], [0.1, None, None]]
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}


def test_a_hostile_metric_is_escaped():
    metric = '<a href="https://example.org">x</a>'
    figure = plot_heatmap(heatmap_info([trial(0, 0.5)], "lr", "eps", goal="maximize", metric=metric))
    assert "<a" not in figure.layout.title.text + figure.data[0].hovertext[0][0]


def test_diagonals_join_cells_of_equal_lr_over_eps():
    info = info_of([trial(0, 0.5, lr=lr, eps=eps) for lr in (1e-3, 1e-2) for eps in (1e-8, 1e-7)])
    assert info.diagonals() == {5.0: [(0, 0), (1, 1)]}
    (line,) = [trace for trace in plot_heatmap(info).data if trace.type == "scatter"]
    assert (line.x, line.y) == (("1e-3", "1e-2", None), ("1e-8", "1e-7", None))
    assert line.hovertext[0] == "α/ε 1e5"
    assert line.visible == "legendonly"  # on request


def test_steps_that_differ_have_no_diagonals_nor_has_a_map_of_beta2():
    assert info_of([trial(0, 0.5, lr=1e-3, eps=1e-8), trial(1, 0.5, lr=3e-3, eps=1e-7)]).diagonals() == {}
    beta2 = info_of([trial(0, 0.5, beta2=0.9), trial(1, 0.5, beta2=0.99, eps=1e-7)], x="eps", y="beta2")
    assert beta2.diagonals() == {}


def test_the_expected_ridge():
    """A line through the rows; between two columns, where the logarithm of its lr lies."""
    ridge = Ridge.of(sample.probe(), sample.lr_test())
    trials = [
        trial(n, 0.5, lr=lr, eps=eps) for n, (lr, eps) in enumerate(itertools.product((1e-4, 1e-3, 1e-1), (1e-6, 1e-2)))
    ]
    info = info_of(trials, ridge=ridge)
    assert info.ridge == (ridge.lr(1e-6), ridge.lr(1e-2))
    ((line),) = [shape for shape in plot_heatmap(info).layout.shapes if shape.name == "expected ridge"]
    assert line.showlegend
    column = 1 + math.log10(3) / 2  # 3e-3 lies between 1e-3 and 1e-1
    assert line.path.startswith(f"M{column:.3f},-0.5 L{column:.3f},0 L")
    assert info_of(trials, x="eps", y="lr", ridge=ridge).ridge == ()
    assert not plot_heatmap(info_of(trials)).layout.shapes[1:]


def test_cells_that_are_not_planned_are_blank():
    trials = [trial(0, 0.5, lr=1e-3, eps=1e-6), trial(1, lr=1e-2, eps=1e-2)]
    names = [trace.name for trace in plot_heatmap(info_of(trials)).data if trace.showlegend]
    assert names == ["· not run yet"]
    (marks,) = [trace for trace in plot_heatmap(info_of(trials, full=False)).data if trace.name]
    assert [list(row) for row in marks.z] == [[None, None], [None, 1]]  # the waiting trial
