"""The study: its file, its space, its identity, its run directory."""
