"""Tables and figures as values; Markdown, HTML, LaTeX and the terminal draw them."""

EXPORTS = ("document", "files", "live", "plots", "progress", "scripts", "terminal")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
