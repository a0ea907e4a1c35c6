"""A figure as a value (`model`), drawn with Plotly (pages, notebooks) or matplotlib (files)."""
