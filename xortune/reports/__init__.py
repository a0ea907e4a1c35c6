"""Tables and figures as values; Markdown, HTML, LaTeX and the terminal draw them."""
