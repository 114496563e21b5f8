"""From texts to padded batches of similar length."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bench.method import Batch
from bench.seeding import derive_seed
from tools.pretrain_tiny.drills import drill
from tools.pretrain_tiny.mixture import Mixture
from tools.pretrain_tiny.recipe import Recipe
from tools.pretrain_tiny.students import IdPair, Student


@dataclass(frozen=True)
class Shares:
    """What the examples of a chunk are.

    Attributes:
        drills: share of drills.
        styled: share of tasks and judgements with an instruction.
    """

    drills: float
    styled: float


def shares(recipe: Recipe, step: int) -> Shares:
    """The mixture from a step on."""
    done = min(1.0, step / recipe.drill_steps)
    drills = recipe.first_drill_share + done * (recipe.last_drill_share - recipe.first_drill_share)
    styling = min(1.0, max(0, step - recipe.plain_steps) / recipe.styling_steps)
    return Shares(drills, styling * recipe.styled_share)


def batches(student: Student) -> Iterator[Batch]:
    """Endless batches; no example is drawn a second time except by chance."""
    recipe = student.recipe
    mixture = Mixture(recipe.seed, recipe.task_weights, recipe.fronts)
    rng = Random(derive_seed("pretraining batches", recipe.seed))
    for chunk in itertools.count():
        pairs = _pairs(student, mixture, rng, shares(recipe, chunk * recipe.chunk))
        pairs.sort(key=lambda pair: (len(pair[1]) > recipe.short_target, len(pair[0])))
        starts = list(range(0, len(pairs), recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield student.padded(pairs[start : start + recipe.batch_size])


def _pairs(student: Student, mixture: Mixture, rng: Random, share: Shares) -> list[IdPair]:
    """The examples of one chunk as ids."""
    recipe = student.recipe
    plain = min(recipe.text_share, 1 - share.drills)
    kinds = rng.choices(
        ("texts", "drills", "tasks"),
        (plain, share.drills, 1 - share.drills - plain),
        k=recipe.chunk * recipe.batch_size,
    )
    counts = Counter(kinds)
    named = recipe.fronts.named_share
    drills = [
        drill(rng, share.styled, recipe.drill_weights, named) for _ in range(counts["drills"])
    ]
    examples = [mixture.steered(share.styled) for _ in range(counts["tasks"])]
    asked = drills + [(example.text, example.target) for example in examples]
    return [
        *(student.text_example(mixture.text(), rng) for _ in range(counts["texts"])),
        *student.task_examples(asked),
    ]
