"""The 26 sample tasks: what makes their examples, how many, and what numbers them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from tools.sample_world import (
    acceptability,
    coreference,
    generation,
    nli,
    paraphrase,
    qa,
    reading,
    senses,
    sentiment,
)
from tools.sample_world.sampling import Row, Sampler, numbered, unnumbered, wrong_label

# Sizes by split rule. Sources have enough rows to hold out the protocol's 1,000; other tasks that
# hold out training rows stay at 1,000, so that a tenth of them validates and evaluation is cheap.
SOURCE = MappingProxyType({"train": 3000, "validation": 200})
MATCHED = MappingProxyType({"train": 3000, "validation_matched": 200, "validation_mismatched": 200})
HELD_OUT = MappingProxyType({"train": 1000, "validation": 200})
HALVED = MappingProxyType({"train": 1500, "validation": 400})
HALVED_TESTED = MappingProxyType({"train": 1500, "validation": 400, "test": 200})
HELD_OUT_TESTED = MappingProxyType({"train": 1000, "validation": 200, "test": 200})
OFFICIAL = MappingProxyType({"train": 1500, "validation": 200, "test": 200})


def _multirc_ids(row: Row, split: str, group: int, index: int) -> Row:
    ids = row["idx"]
    assert isinstance(ids, dict)
    question = 2 * group + ids["question"]
    return {"idx": {"paragraph": group, "question": question, "answer": ids["answer"]}}


def _record_ids(row: Row, split: str, group: int, index: int) -> Row:
    return {"idx": {"passage": group, "query": index}}


def _squad_ids(row: Row, split: str, group: int, index: int) -> Row:
    return {"id": f"sample-{split}-{index:05d}"}


def _paws_ids(row: Row, split: str, group: int, index: int) -> Row:
    return {"id": index + 1}


def _mrqa_ids(row: Row, split: str, group: int, index: int) -> Row:
    return {"key": f"sample-{split}-{index:05d}"}


def _concept_ids(row: Row, split: str, group: int, index: int) -> Row:
    return {"concept_set_idx": group}


def _gem_ids(row: Row, split: str, group: int, index: int) -> Row:
    gem = f"web_nlg_en-{split}-{index}"
    # As on the hub, only the evaluation splits list all references of an input.
    references = [] if split == "train" else row["references"]
    ids: Row = {"gem_id": gem, "gem_parent_id": gem, "webnlg_id": f"{split}/{group}"}
    return ids | {"references": references}


def _jitter(row: Row, rng: Random) -> None:
    """Annotators' means scatter: move an stsb grade by up to 0.4."""
    label = row["label"]
    assert isinstance(label, float)
    row["label"] = round(min(5.0, max(0.0, label + rng.choice((-0.4, -0.2, 0.2, 0.4)))), 1)


_PAIR = ("sentence1", "sentence2")
_QA = ("context", "question")

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "cola": Sampler(acceptability.cola, HALVED, ("sentence",), numbered),
        "sst2": Sampler(sentiment.sst2, SOURCE, ("sentence",), numbered),
        "mrpc": Sampler(paraphrase.mrpc, HALVED, _PAIR, numbered, 0.03, wrong_label(2)),
        "qqp": Sampler(
            paraphrase.qqp, SOURCE, ("question1", "question2"), numbered, 0.03, wrong_label(2)
        ),
        "stsb": Sampler(paraphrase.stsb, HALVED, _PAIR, numbered, 0.5, _jitter),
        "mnli": Sampler(
            nli.mnli, MATCHED, ("premise", "hypothesis"), numbered, 0.03, wrong_label(3)
        ),
        "qnli": Sampler(reading.qnli, SOURCE, ("question", "sentence"), numbered),
        "rte": Sampler(nli.rte, HALVED, _PAIR, numbered),
        "boolq": Sampler(
            reading.boolq, HALVED, ("question", "passage"), numbered, 0.03, wrong_label(2)
        ),
        "cb": Sampler(
            nli.cb, {"train": 250, "validation": 300}, ("premise", "hypothesis"), numbered
        ),
        "multirc": Sampler(reading.multirc, HALVED, ("paragraph",), _multirc_ids),
        "wic": Sampler(senses.wic, HALVED, _PAIR, numbered),
        "wsc.fixed": Sampler(
            coreference.wsc, {"train": 600, "validation": 300}, ("text",), numbered
        ),
        "record": Sampler(reading.record, SOURCE, ("passage", "query"), _record_ids),
        "squad": Sampler(qa.squad, SOURCE, _QA, _squad_ids),
        "nq": Sampler(qa.nq, HELD_OUT, _QA, _mrqa_ids),
        "hotpotqa": Sampler(qa.hotpotqa, HELD_OUT, _QA, _mrqa_ids),
        "searchqa": Sampler(qa.searchqa, HELD_OUT, _QA, _mrqa_ids),
        "newsqa": Sampler(qa.newsqa, HELD_OUT, _QA, _mrqa_ids),
        "winogrande": Sampler(coreference.winogrande, HELD_OUT, ("sentence",), unnumbered),
        "yelp_polarity": Sampler(
            sentiment.yelp_polarity, {"train": 1000, "test": 200}, ("text",), unnumbered
        ),
        "scitail": Sampler(nli.scitail, HALVED_TESTED, _PAIR, unnumbered),
        "paws": Sampler(paraphrase.paws, OFFICIAL, _PAIR, _paws_ids),
        "e2e": Sampler(generation.e2e, OFFICIAL, ("meaning_representation",), unnumbered),
        "common_gen": Sampler(generation.common_gen, HELD_OUT_TESTED, ("concepts",), _concept_ids),
        "web_nlg": Sampler(generation.web_nlg, OFFICIAL, ("input",), _gem_ids),
    }
)
