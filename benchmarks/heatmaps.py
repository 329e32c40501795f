"""Heatmaps as in Figs. 6 and 7, of the dense tables of outcomes.py; nothing is trained.

    python benchmarks/heatmaps.py    # writes docs/heatmap-NAME.svg; needs a Chromium

At the β₂ of the rule; the probed range of eps is framed.
"""

from __future__ import annotations

import math

from outcomes import range_of, tables
from search_comparison import ROOT

from epsearch.records import Trial
from epsearch.report.heatmap import heatmap_info, plot_heatmap
from epsearch.space import auto_beta2

DRAWN = ["fashion-mnist-mlp", "war-and-peace-lstm"]


def main() -> None:
    for probe, rows in tables():
        if probe["workload"] not in DRAWN or probe["optimizer"] != "adam":
            continue
        ruled = auto_beta2(probe["batches_per_epoch"], 0.9)
        beta2 = min({row["beta2"] for row in rows}, key=lambda other: abs(math.log((1 - other) / (1 - ruled))))
        trials = [
            Trial(
                number=number,
                optimizer=probe["optimizer"],
                state="complete" if row["value"] is not None else "failed",
                fail_reason="diverged" if row["diverged"] else None,
                **{key: row[key] for key in ("lr", "eps", "beta2", "value")},
            )
            for number, row in enumerate(rows)
            if row["beta2"] == beta2
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
