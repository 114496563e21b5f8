"""The recipe that made the bundled models: text and tasks of the sample world, like T5's.

``python -m bench.models.pretraining --out FOLDER`` runs it; ``docs/tiny-model.md`` describes it.
"""
