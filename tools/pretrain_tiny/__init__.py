"""The recipe that made the bundled models: text and tasks of the sample world, like T5's.

``python -m tools.pretrain_tiny --out FOLDER`` runs it; ``README.md`` describes it.
"""
