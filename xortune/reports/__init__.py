"""Tables and figures as values; Markdown, HTML, LaTeX and the terminal draw them."""

EXPORTS = ("analysis", "document", "files", "live", "plots", "progress", "terminal")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
