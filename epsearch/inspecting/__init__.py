"""Read ẑ from saved training state, without the code that wrote it.

The package is not called `inspect` because importing it would hide the function `epsearch.inspect`.
"""
