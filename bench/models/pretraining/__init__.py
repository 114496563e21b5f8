"""How the bundled ``tiny`` model learned: text and tasks of the sample world, in the manner of T5.

``python -m bench.models.pretraining --out FOLDER`` repeats it. See ``docs/tiny-model.md``.
"""
