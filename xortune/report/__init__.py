"""Reports: tables are values first; Markdown and the terminal only draw them."""
