"""A document as one HTML file: `page.page` draws it, with Jinja and Plotly's cartesian bundle."""
