"""Parts of the documentation that are made from the code when `mkdocs build` runs."""
