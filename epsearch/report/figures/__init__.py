"""The figures: each an info function and a plot function."""
