"""Soft prompt transfer: which source the target starts from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from baselines.spot import SPoT, SPoTSettings, similarity
from bench.errors import PromptError, UnknownNameError
from bench.protocol import Ingredients, Needs, SoftPrompt, tensor_digest

ARCHIVE = "dtvg.npz"

Make = Callable[..., Ingredients]


def test_similarity_equals_the_published_one(case: dict[str, Tensor]) -> None:
    values = similarity(case["target"], case["sources"])

    torch.testing.assert_close(values, case["spot_similarity"], atol=1e-5, rtol=1e-5)


@pytest.fixture
def parts(ingredients: Make) -> Ingredients:
    """Sources at 90, 60 and 120 degrees from the target, the second one therefore nearest."""
    initial = torch.zeros(2, 2)
    digest = tensor_digest(initial)

    def prompt(task: str, x: float, y: float) -> SoftPrompt:
        # Single tokens differ wildly; only their mean is (x, y).
        offset = torch.tensor([[9.0, -5.0], [-9.0, 5.0]])
        return SoftPrompt(task, torch.tensor([x, y]) + offset, digest)

    return ingredients(
        initial=initial,
        sources=(prompt("mnli", 0, 2), prompt("qnli", 1, 3**0.5), prompt("sst2", -1, 3**0.5)),
        target=prompt("cb", 5, 0),
    )


def test_retrieval_starts_from_the_most_similar_source(parts: Ingredients) -> None:
    method = SPoT.build(SPoTSettings(), parts)

    assert torch.equal(method.merged_prompt(), parts.sources[1].matrix)
    told = method.diagnostics()
    assert told["source"] == "qnli"
    assert told["similarities"] == pytest.approx({"mnli": 0.0, "qnli": 0.5, "sst2": -0.5}, abs=1e-6)
    assert SPoT.needs(SPoTSettings()) == Needs(sources=True, target=True)


def test_fixed_source_is_the_named_one_and_needs_no_target(parts: Ingredients) -> None:
    settings = SPoTSettings(source="sst2")
    without = Ingredients(parts.initial, sources=parts.sources)

    method = SPoT.build(settings, without)

    assert torch.equal(method.merged_prompt(), parts.sources[2].matrix)
    assert method.diagnostics() == {"source": "sst2"}
    assert SPoT.needs(settings) == Needs(sources=True, named_sources=("sst2",))


def test_unknown_source_is_refused_with_the_nearest_name(parts: Ingredients) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown source task 'mnil': did you mean mnli"):
        SPoT.build(SPoTSettings(source="mnil"), parts)


@pytest.mark.parametrize("what", ["sources", "target"])
def test_prompt_may_have_started_anywhere_but_must_fit(
    what: str, ingredients: Make, stray: SoftPrompt
) -> None:
    given = {what: (stray,) if what == "sources" else stray}

    method = SPoT.build(SPoTSettings(), ingredients(**given))

    assert torch.equal(method.merged_prompt(), stray.matrix) == (what == "sources")
    with pytest.raises(PromptError, match=r"prompt of stray has shape \(4, 6\)"):
        SPoT.build(SPoTSettings(), ingredients(length=5, **given))


@pytest.mark.parametrize("missing", [{"target": None}, {"sources": ()}])
def test_missing_prompt_is_refused(missing: dict[str, object], ingredients: Make) -> None:
    with pytest.raises(PromptError, match="missing"):
        SPoT.build(SPoTSettings(), ingredients(**missing))
