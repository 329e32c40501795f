"""The report: figures, verdict, one HTML page. Needs neither a GPU nor torch nor Optuna.

`analysis` interprets the trials. Each module of `figures` turns trials or a probe into an info object and that into a
figure; `figures.gallery` lists them. `html` makes the pages. `output` writes the files, publishes the figures in
Optuna's dashboard and serves it.
"""

from epsearch.report.figures.gallery import figures
from epsearch.report.output.write import write_report

__all__ = ["figures", "write_report"]
