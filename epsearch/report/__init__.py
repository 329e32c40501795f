"""The report: maps of performance, histograms of ẑ, one HTML page; nothing here needs a GPU, torch or Optuna.

`heatmap`, `scatter`, `histogram`, `progress` and `curve` each turn trials or a probe into an info object and that into
a figure; `gallery` names the figures, `page` and `write` put them into files, `publish` into Optuna's
dashboard, which `dashboard` serves.
"""

from epsearch.report.figures.gallery import figures
from epsearch.report.output.write import write_report

__all__ = ["figures", "write_report"]
