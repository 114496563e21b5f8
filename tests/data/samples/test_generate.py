"""The contract of ``generate``: columns, sizes, seeds, and splits that never meet."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from bench.data import samples
from bench.data.samples import SIZES, generate
from bench.data.samples.registry import SAMPLERS
from bench.data.samples.sampling import Row, Sampler, draw, is_training, numbered, stream
from bench.errors import DataError, UnknownNameError
from bench.tasks import get_task, list_tasks

INT_PAIR = {"sentence1": str, "sentence2": str, "label": int, "idx": int}
MRQA: dict[str, type] = {
    "context": str,
    "question": str,
    "answers": list,
    "key": str,
    "labels": list,
}
# Columns and types as the hub has them.
COLUMNS: dict[str, dict[str, type]] = {
    "cola": {"sentence": str, "label": int, "idx": int},
    "sst2": {"sentence": str, "label": int, "idx": int},
    "mrpc": INT_PAIR,
    "qqp": {"question1": str, "question2": str, "label": int, "idx": int},
    "stsb": INT_PAIR | {"label": float},
    "mnli": {"premise": str, "hypothesis": str, "label": int, "idx": int},
    "qnli": {"question": str, "sentence": str, "label": int, "idx": int},
    "rte": INT_PAIR,
    "boolq": {"question": str, "passage": str, "idx": int, "label": int},
    "cb": {"premise": str, "hypothesis": str, "idx": int, "label": int},
    "multirc": {"paragraph": str, "question": str, "answer": str, "idx": dict, "label": int},
    "wic": {
        **{"word": str, "sentence1": str, "sentence2": str, "start1": int, "start2": int},
        **{"end1": int, "end2": int, "idx": int, "label": int},
    },
    "wsc.fixed": {
        **{"text": str, "span1_index": int, "span2_index": int, "span1_text": str},
        **{"span2_text": str, "idx": int, "label": int},
    },
    "record": {
        **{"passage": str, "query": str, "entities": list, "entity_spans": dict},
        **{"answers": list, "idx": dict},
    },
    "squad": {"id": str, "title": str, "context": str, "question": str, "answers": dict},
    "nq": MRQA,
    "hotpotqa": MRQA,
    "searchqa": MRQA,
    "newsqa": MRQA,
    "winogrande": {"sentence": str, "option1": str, "option2": str, "answer": str},
    "yelp_polarity": {"text": str, "label": int},
    "scitail": {
        **dict.fromkeys(
            ("sentence1_binary_parse", "sentence1_parse", "sentence2_parse"), type(None)
        ),
        **{"sentence1": str, "sentence2": str, "annotator_labels": type(None), "gold_label": str},
    },
    "paws": {"id": int, "sentence1": str, "sentence2": str, "label": int},
    "e2e": {"meaning_representation": str, "human_reference": str},
    "common_gen": {"concept_set_idx": int, "concepts": list, "target": str},
    "web_nlg": {
        **{"gem_id": str, "gem_parent_id": str, "input": list, "target": str},
        **{"references": list, "category": str, "webnlg_id": str},
    },
}
# Columns that make an input; two rows that agree in them would be the same question.
INPUTS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "cb": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "boolq": ("question", "passage"),
    "multirc": ("paragraph", "question", "answer"),
    "wsc.fixed": ("text",),
    "record": ("passage", "query"),
    "winogrande": ("sentence",),
    "yelp_polarity": ("text",),
    **dict.fromkeys(("mrpc", "stsb", "rte", "wic", "scitail", "paws"), ("sentence1", "sentence2")),
    **dict.fromkeys(("squad", "nq", "hotpotqa", "searchqa", "newsqa"), ("context", "question")),
    "e2e": ("meaning_representation", "human_reference"),
    "common_gen": ("concepts", "target"),
    "web_nlg": ("input", "target"),
}
EVERY_SPLIT = [(task, split) for task, sizes in SIZES.items() for split in sizes]


def inputs(task: str, rows: list[Row]) -> list[str]:
    """The texts of each row, in any order: what must not occur twice."""
    return ["|".join(sorted(_flat(row[column]) for column in INPUTS[task])) for row in rows]


def _flat(value: object) -> str:
    return "|".join(sorted(map(str, value))) if isinstance(value, list) else str(value)


def default(task: str, split: str) -> list[Row]:
    return generate(task, split, SIZES[task][split])


def test_every_task_has_samples_for_the_splits_its_rule_reads() -> None:
    assert set(SIZES) == {task.name for task in list_tasks()}
    for task in list_tasks():
        assert set(task.hub.splits) <= set(SIZES[task.name]), task.name


@pytest.mark.parametrize("task", SIZES)
def test_rows_have_the_columns_and_types_of_the_hub(task: str) -> None:
    assert set(get_task(task).hub.columns) <= set(COLUMNS[task])
    for split in SIZES[task]:
        for row in generate(task, split, 30):
            assert {name: type(value) for name, value in row.items()} == COLUMNS[task]


@pytest.mark.parametrize("task", SIZES)
def test_default_splits_have_their_size_and_share_nothing(task: str) -> None:
    seen: Counter[str] = Counter()
    for split, size in SIZES[task].items():
        rows = default(task, split)
        assert len(rows) == size
        seen.update(inputs(task, rows))
    assert max(seen.values()) == 1


@pytest.mark.parametrize("task", ["mnli", "wsc.fixed", "wic", "winogrande", "multirc", "e2e"])
def test_splits_stay_apart_at_other_sizes_and_seeds(task: str) -> None:
    train, *others = SIZES[task]
    trained = {text for seed in (1, 2) for text in inputs(task, generate(task, train, 4000, seed))}
    for split in others:
        rows = inputs(task, generate(task, split, 1000, seed=3))
        assert len(set(rows)) == 1000
        assert not trained & set(rows)


@pytest.mark.parametrize(("task", "split"), EVERY_SPLIT)
def test_fewer_rows_are_a_prefix_of_more(task: str, split: str) -> None:
    assert generate(task, split, 25) == generate(task, split, 60)[:25]


@pytest.mark.parametrize("task", SIZES)
def test_another_seed_gives_other_rows(task: str) -> None:
    one, two = (inputs(task, generate(task, "train", 50, seed)) for seed in (0, 1))
    assert one != two


def test_rows_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = (
        "import hashlib\n"
        "from bench.data.samples import SIZES, generate\n"
        "rows = [generate(t, s, 20) for t in SIZES for s in SIZES[t]]\n"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
    )
    rows = [generate(task, split, 20) for task, split in EVERY_SPLIT]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == hashlib.sha256(repr(rows).encode()).hexdigest()


def test_labels_are_noisy_in_training_only() -> None:
    def make(rng: Random) -> list[Row]:
        return [{"text": str(rng.random()), "label": 0}]

    def corrupt(row: Row, rng: Random) -> None:
        row["label"] = 1

    sizes = {"train": 1, "validation": 1}
    sampler = Sampler(make, sizes, ("text",), numbered, noise=0.2, corrupt=corrupt)
    train = draw("some", sampler, "train", 2000, 0)
    assert 0.17 < sum(row["label"] == 1 for row in train) / 2000 < 0.23
    assert all(row["label"] == 0 for row in draw("some", sampler, "validation", 500, 0))
    endless = stream("some", sampler, 0)
    assert all(next(endless)["label"] == 0 for _ in range(500))


def test_an_exhausted_world_is_a_clear_error() -> None:
    def make(rng: Random) -> list[Row]:
        return [{"text": str(rng.randrange(20)), "label": 0}]

    sampler = Sampler(make, {"train": 1, "validation": 1}, ("text",), numbered)
    with pytest.raises(DataError, match=r"some train: only \d+ distinct rows of 100 exist"):
        draw("some", sampler, "train", 100, 0)


def test_bad_names_and_sizes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="mnli"):
        generate("mnly", "train", 1)
    with pytest.raises(UnknownNameError, match="validation_matched"):
        generate("mnli", "validation", 1)
    with pytest.raises(DataError, match="-1 rows"):
        generate("mnli", "train", -1)
    assert generate("mnli", "train", 0) == []


def test_digest_follows_source_and_ignores_line_endings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest_of(text: bytes) -> str:
        folder = tmp_path_factory.mktemp("package")
        (folder / "world.py").write_bytes(text)
        monkeypatch.setattr(samples, "__file__", str(folder / "__init__.py"))
        return samples.digest()

    assert digest_of(b"A = 1\nB = 2\n") == digest_of(b"A = 1\r\nB = 2\r\n")
    assert digest_of(b"A = 1\nB = 2\n") != digest_of(b"A = 1\nB = 3\n")


BALANCE = {
    **{"cola": {1: 0.70}, "sst2": {1: 0.5}, "mrpc": {1: 0.67}, "qqp": {1: 0.37}, "rte": {1: 0.5}},
    **{"mnli": {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, "qnli": {1: 0.5}, "boolq": {1: 0.62}},
    **{"cb": {0: 0.46, 1: 0.44, 2: 0.10}, "multirc": {1: 0.5}, "wic": {1: 0.5}},
    **{"wsc.fixed": {1: 0.45}, "yelp_polarity": {1: 0.5}, "paws": {1: 0.44}},
}
"""Share of each label, close to the real training sets."""


@pytest.mark.parametrize("task", BALANCE)
def test_classes_are_as_balanced_as_in_the_real_data(task: str) -> None:
    rows = generate(task, "train", 3000)
    for label, share in BALANCE[task].items():
        assert abs(sum(row["label"] == label for row in rows) / 3000 - share) < 0.035


def test_grades_of_stsb_fill_the_scale() -> None:
    grades = [float(str(row["label"])) for row in generate("stsb", "validation", 1000)]
    assert min(grades) == 0.0
    assert max(grades) == 5.0
    assert all(str(grade) == f"{grade:.1f}" for grade in grades)
    for low in range(5):
        assert sum(low <= grade <= low + 1 for grade in grades) > 100


@pytest.mark.parametrize("task", SIZES)
def test_texts_are_short(task: str) -> None:
    rows = generate(task, "train", 300)
    texts = [pair.source.split() for row in rows for pair in get_task(task).to_text(row, True)]
    assert max(map(len, texts)) <= 80


@pytest.mark.parametrize("name", ["mnli", "sst2"])
def test_an_example_tells_by_itself_whether_it_is_for_training(name: str) -> None:
    sampler = SAMPLERS[name]
    for position, split in enumerate(sampler.sizes):
        rows = generate(name, split, 200, seed=3)
        assert {is_training(name, sampler, row) for row in rows} == {position == 0}


def test_a_pair_is_for_training_in_either_order() -> None:
    sampler = SAMPLERS["mnli"]
    rows = [*generate("mnli", "train", 100), *generate("mnli", "validation_matched", 100)]
    for row in rows:
        turned = {**row, "premise": row["hypothesis"], "hypothesis": row["premise"]}
        assert is_training("mnli", sampler, turned) is is_training("mnli", sampler, row)
