"""Text on the console: wrapped at words on a terminal, one line for each message elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from epsearch.core.numbers import count, rounded
from epsearch.records.trial import Cell, Trial
from epsearch.study.plan import Cost


def print_text(console: Console, text: str = "") -> None:
    """Print text unchanged, without Rich's markup, highlighting and wrapping: commands and paths, to be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_words(console: Console, text: str, style: str = "") -> None:
    """Print sentences, wrapped at words if this is a terminal."""
    console.print(Text(text, style), highlight=False, soft_wrap=not console.is_terminal)


def print_fact(console: Console, name: str, text: str, width: int, style: str = "") -> None:
    """Print text beside its name, which takes `width` characters; on a terminal it wraps at words below itself."""
    if not console.is_terminal:
        print_text(console, f"{name:<{width}}{text}")
        return
    row = Table.grid()
    row.add_column(width=width, no_wrap=True, overflow="ignore")
    row.add_column(overflow="fold")
    row.add_row(Text(name, "dim"), Text(text, style))
    console.print(row)


def has_blocks(console: Console) -> bool:
    """Whether figures of block characters can be shown: on a terminal, in Unicode."""
    return console.is_terminal and console.encoding.startswith("utf")


def describe_cell(cell: Cell | Trial) -> str:
    """`lr 1e-3, eps 1e-6, beta2 0.999`."""
    parts = [("lr", cell.lr), ("eps", cell.eps), ("beta2", cell.beta2)]
    return ", ".join(f"{name} {rounded(name, value)}" for name, value in parts if value is not None)


def describe_cost(cost: Cost) -> str:
    """`25 trials, 501 epochs`."""
    epochs = "epochs set by your code" if cost.epochs is None else count(cost.epochs, "epoch")
    return f"{count(cost.trials, 'trial')}, {epochs}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
