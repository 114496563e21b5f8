"""A recipe to pretrain the architecture of ``tiny`` on text and tasks of the sample world, like T5.

``python -m bench.models.pretraining --out FOLDER`` runs it. It has not yet given a useful model, so
``tiny`` comes with random weights: see ``docs/tiny-model.md``.
"""
