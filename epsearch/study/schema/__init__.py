"""The sections of a study file as typed models; a field's docstring is its documentation."""
