"""Draw heatmaps like Figs. 6 and 7 from the dense tables of outcomes.py; trains nothing.

    python benchmarks/heatmaps.py    # writes docs/heatmap-NAME.svg; needs Chromium

At the β₂ of the rule; the probed range of eps is framed.
"""

from __future__ import annotations

from outcomes import at_ruled_beta2, range_of, tables
from search_comparison import ROOT

from epsearch.records.trial import Trial
from epsearch.report.figures.heatmap import heatmap_info, plot_heatmap

DRAWN = ["cifar10-vgg", "fashion-mnist-mlp", "war-and-peace-lstm"]


def main() -> None:
    for probe, rows in tables():
        if probe["workload"] not in DRAWN or probe["optimizer"] != "adam":
            continue
        trials = [
            Trial(
                number=number,
                optimizer=probe["optimizer"],
                state="complete" if row["value"] is not None else "failed",
                fail_reason="diverged" if row["diverged"] else None,
                **{key: row[key] for key in ("lr", "eps", "beta2", "value")},
            )
            for number, row in enumerate(at_ruled_beta2(probe, rows))
        ]
        info = heatmap_info(trials, "lr", "eps", goal=probe["goal"], metric=probe["metric"])
        found = range_of(probe)
        inside = [index for index, eps in enumerate(info.ys) if found.lower <= eps <= found.upper]
        figure = plot_heatmap(info)
        figure.add_shape(
            type="rect",
            x0=-0.5,
            x1=len(info.xs) - 0.5,
            y0=inside[0] - 0.5,
            y1=inside[-1] + 0.5,
            line={"color": "black", "width": 2, "dash": "dash"},
        )
        title = f"{probe['workload']}, {probe['epochs']} epochs; dashed: the probed range"
        figure.update_layout(title={"text": title}, width=900)
        figure.update_traces(visible=False, selector={"visible": "legendonly"})
        figure.write_image(ROOT / "docs" / f"heatmap-{probe['workload']}.svg")


if __name__ == "__main__":
    main()
