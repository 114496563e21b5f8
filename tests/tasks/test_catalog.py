"""The declarations of the tasks: complete, consistent with each other and cheap to import."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import pytest

from bench.errors import UnknownNameError
from bench.tasks import PARQUET_BRANCH, SUITES, Task, get_suite, get_task, list_tasks
from bench.tasks.metrics import METRICS

TASKS = list_tasks()
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)

# The protocol's table: main metric, split rule, input length, answer length, training rows.
PROTOCOL = {
    "cola": ("matthews_correlation", "halve-validation", 256, 20, 8551),
    "sst2": ("accuracy", "hold-out-train", 256, 20, 67349),
    "mrpc": ("accuracy", "halve-validation", 256, 20, 3668),
    "qqp": ("accuracy", "hold-out-train", 256, 20, 363846),
    "stsb": ("pearson", "halve-validation", 256, 20, 5749),
    "mnli": ("accuracy", "mnli", 256, 20, 392702),
    "qnli": ("accuracy", "hold-out-train", 256, 20, 104743),
    "rte": ("accuracy", "halve-validation", 256, 20, 2490),
    "boolq": ("accuracy", "halve-validation", 256, 20, 9427),
    "cb": ("accuracy", "halve-validation", 256, 20, 250),
    "multirc": ("f1", "halve-validation", 348, 20, 27243),
    "wic": ("accuracy", "halve-validation", 256, 20, 5428),
    "wsc.fixed": ("accuracy", "halve-validation", 256, 20, 554),
    "record": ("f1", "hold-out-train", 256, 20, 100730),
    "squad": ("f1", "hold-out-train", 512, 20, 87599),
    "nq": ("f1", "hold-out-train", 512, 20, 104071),
    "hotpotqa": ("f1", "hold-out-train", 512, 20, 72928),
    "searchqa": ("f1", "hold-out-train", 512, 20, 117384),
    "newsqa": ("f1", "hold-out-train", 512, 20, 74160),
    "winogrande": ("accuracy", "hold-out-train", 256, 20, 40398),
    "yelp_polarity": ("accuracy", "hold-out-train", 256, 20, 560000),
    "scitail": ("accuracy", "halve-validation", 256, 20, 23097),
    "paws": ("accuracy", "official", 256, 20, 49401),
    "e2e": ("bleu", "official", 128, 128, 42061),
    "common_gen": ("rougeL", "hold-out-train", 128, 128, 67389),
    "web_nlg": ("rougeL", "official", 128, 128, 35426),
}


def test_tasks_are_those_of_the_protocol() -> None:
    declared = {
        task.name: (
            task.table_metric,
            task.split_rule,
            task.input_length,
            task.target_length,
            task.hub.rows["train"],
        )
        for task in TASKS
    }
    assert declared == PROTOCOL
    assert len(TASKS) == len(PROTOCOL)


@each_task
def test_revision_is_pinned(task: Task) -> None:
    pinned = task.hub.revision
    assert pinned == PARQUET_BRANCH or re.fullmatch(r"[0-9a-f]{40}", pinned)


@each_task
def test_source_is_complete(task: Task) -> None:
    hub = task.hub
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", hub.path)
    assert len(set(hub.columns)) == len(hub.columns) > 0
    assert hub.splits[0] == "train"
    assert set(hub.splits) <= set(hub.rows)
    assert all(count > 0 for count in hub.rows.values())


@each_task
def test_metrics_are_what_the_scorers_compute(task: Task) -> None:
    scorers = task.scorers or task.metrics
    computed = [output for scorer in scorers for output in METRICS[scorer].outputs]
    assert sorted(computed) == sorted(task.metrics)


@each_task
def test_task_can_be_sent_to_another_process(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)).hub == task.hub


@each_task
def test_classification_declares_labels_and_classes(task: Task) -> None:
    if task.labels is not None:
        assert task.labels == tuple(str(index) for index in range(len(task.labels)))
        assert task.label_of is not None
    else:
        assert (task.label_of is not None) == (task.name == "stsb")


def test_suites_hold_every_task_once() -> None:
    parts = ("glue", "superglue", "mrqa", "others", "nlg")
    assert [len(SUITES[part]) for part in parts] == [8, 6, 5, 4, 3]
    assert sorted(name for part in parts for name in SUITES[part]) == sorted(SUITES["paper"])
    assert set(SUITES["paper"]) == set(PROTOCOL)
    assert set(SUITES) == {*parts, "sources", "paper"}


def test_sources_keep_their_order() -> None:
    assert get_suite("sources") == ("mnli", "qnli", "qqp", "sst2", "squad", "record")


def test_tasks_that_are_only_sources_in_the_papers() -> None:
    assert {task.name for task in TASKS if task.source_only} == {"squad", "record"}


def test_exceptions_of_the_protocol() -> None:
    assert get_task("yelp_polarity").hub.splits == ("train", "test")
    assert get_task("mnli").hub.splits == ("train", "validation_mismatched", "validation_matched")
    capped = {t.name: t.max_training_rows for t in TASKS if t.max_training_rows is not None}
    assert capped == {"yelp_polarity": 100_000}
    assert {t.name for t in TASKS if t.group_by_source} == set(SUITES["nlg"])


def test_parquet_branch_keeps_configurations_as_folders() -> None:
    assert get_task("scitail").hub.load_arguments() == {
        "path": "allenai/scitail",
        "revision": "refs/convert/parquet",
        "data_dir": "snli_format",
    }
    rte = get_task("rte").hub
    assert rte.load_arguments() == {
        "path": "nyu-mll/glue",
        "revision": rte.revision,
        "name": "rte",
    }
    assert "name" not in get_task("squad").hub.load_arguments()


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'mrpcc': did you mean mrpc"):
        get_task("mrpcc")
    with pytest.raises(UnknownNameError, match=r"unknown suite 'gleu': did you mean glue"):
        get_suite("gleu")


def test_import_is_light() -> None:
    heavy = ("torch", "datasets", "evaluate", "sklearn", "scipy", "pandas", "numpy", "nltk")
    code = (
        "import sys, bench.tasks, bench.tasks.metrics;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
