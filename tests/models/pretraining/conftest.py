"""Small students, untrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from bench.models.catalog import BUNDLED
from bench.models.pretraining.recipe import RECIPES, Recipe
from bench.models.pretraining.students import Student, student_of

SMALL = {
    "tiny": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1},
    "tiny-llama": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(BUNDLED["tiny"].path)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def small_recipes() -> Mapping[str, Recipe]:
    """The first stage of each recipe: a model of one narrow layer, three steps, one process."""
    return {
        name: replace(
            stages[0],
            architecture=stages[0].architecture | SMALL[name],
            steps=3,
            batch_size=4,
            processes=1,
            chunk=2,
        )
        for name, stages in RECIPES.items()
    }


@pytest.fixture(params=sorted(RECIPES))
def student(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerBase,
    small_recipes: Mapping[str, Recipe],
) -> Student:
    """Each kind of model."""
    return student_of(small_recipes[request.param], tokenizer)
