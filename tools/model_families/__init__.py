"""Which model families agree with plain transformers; see ``README.md``."""
