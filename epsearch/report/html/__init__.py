"""The pages: report, comparison, notebook."""
