"""The pages: report, comparison, notebook output."""
