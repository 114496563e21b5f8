"""The figures: every module here is one.

Its name on the command line is that of the module, with ``-`` for ``_``. It defines

``draw(results: Results, method_order: Sequence[str]) -> list[Drawing]``
    all its pictures of a results folder: one per section, as a rule. Raises
    :class:`bench.reports.figures.drawing.MissingDataError` if there is nothing to draw.
"""
