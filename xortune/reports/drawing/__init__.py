"""Draws the figures of `plot`: with Plotly for pages and notebooks, with matplotlib for files."""
