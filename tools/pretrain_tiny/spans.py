"""Span corruption: the text task of T5 (Raffel et al. 2020, section 3.1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def corrupt(
    ids: Sequence[int],
    sentinels: Sequence[int],
    rng: Random,
    noise_density: float,
    mean_span: float,
) -> tuple[list[int], list[int]]:
    """Replace random spans of a text by sentinels.

    Args:
        ids: token ids without the end mark, at least two.
        sentinels: ids that stand for the gaps, in this order; at least two.
        rng: decides on the gaps.
        noise_density: share of tokens to take out.
        mean_span: mean number of tokens in one gap.

    Returns:
        The text with one sentinel for each gap, and the target: each sentinel with what it stands
        for, then the next sentinel as an end.
    """
    noise = min(len(ids) - 1, max(1, round(noise_density * len(ids))))
    gaps = max(1, round(noise / mean_span))
    gaps = min(gaps, noise, len(ids) - noise, len(sentinels) - 1)
    kept_lengths = _partition(len(ids) - noise, gaps, rng)
    gap_lengths = _partition(noise, gaps, rng)
    inputs: list[int] = []
    targets: list[int] = []
    at = 0
    for sentinel, kept, gap in zip(sentinels, kept_lengths, gap_lengths, strict=False):
        inputs += [*ids[at : at + kept], sentinel]
        at += kept
        targets += [sentinel, *ids[at : at + gap]]
        at += gap
    return inputs, [*targets, sentinels[gaps]]


def _partition(total: int, parts: int, rng: Random) -> list[int]:
    """``total`` as a sum of ``parts`` positive numbers, all ways equally likely."""
    cuts = sorted(rng.sample(range(1, total), parts - 1))
    return [end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True)]
