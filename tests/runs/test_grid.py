"""One finished grid of all methods, held against values computed another way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from bench.models.loading import load
from bench.predictions import load_predictions
from bench.protocol import tensor_digest
from bench.records import schema_validator
from bench.registry import METHODS
from bench.reports import load_results, render_tables
from bench.tasks import get_task

LENGTH, WIDTH, HIDDEN, SOURCES = 6, 16, 100, 6
MATRIX = LENGTH * WIDTH

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def official(data: Path) -> Callable[[str, str], Rows]:
    """Rows of an official split, straight from its file."""
    return lambda task, split: pq.read_table(data / task / f"{split}.parquet").to_pylist()


@pytest.fixture(scope="module")
def judged(official: Callable[[str, str], Rows]) -> dict[str, Rows]:
    """The test rows of both tasks: the second half of cb's validation rows, all of sst2's."""
    rows = official("cb", "validation")
    shuffled = torch.randperm(len(rows), generator=torch.Generator().manual_seed(42)).tolist()
    return {"cb": [rows[i] for i in shuffled[10:]], "sst2": official("sst2", "validation")}


def by_method(finished: Any, method: str) -> list[Any]:
    return [record for (_, label, _), record in finished.records.items() if label == method]


def test_every_cell_is_finished(finished: Any) -> None:
    assert len(finished.outcome.finished) == 2 * 5 * 2
    assert finished.outcome.failed == []
    expected = {cell.digest for cell in finished.grid.plan.cells}
    assert {record.digest for record in finished.records.values()} == expected
    assert all(record.status == "finished" for record in finished.records.values())


def test_every_prompt_is_trained_once_and_no_checkpoint_is_left(finished: Any) -> None:
    stored = [path.stem for path in finished.folder.prompts.folder.glob("*.json")]
    # 6 sources and MPT's shared prompt for each seed, and a prompt for each cell.
    assert len(stored) == (6 + 1) * 2 + 20
    assert set(stored) == set(finished.grid.plan.trainings)
    assert list((finished.folder.folder / "checkpoints").iterdir()) == []


def test_records_follow_the_written_schema(finished: Any) -> None:
    for path in finished.folder.records.glob("*.json"):
        schema_validator().validate(json.loads(path.read_text()))


def test_rows(finished: Any) -> None:
    for (task, _, _), record in finished.records.items():
        # cb halves 20 validation rows; sst2 holds out a tenth of its 30 training rows.
        expected = {"cb": (4, 10, 10), "sst2": (4, 3, 20)}[task]
        assert (record.rows.train, record.rows.validation, record.rows.test) == expected


def test_few_shot_rows_are_balanced_training_rows(
    finished: Any, official: Callable[[str, str], Rows]
) -> None:
    samples: dict[tuple[str, int], set[tuple[int, ...]]] = {}
    for (task, _, seed), record in finished.records.items():
        samples.setdefault((task, seed), set()).add(record.rows.few_shot)
    held_out = torch.randperm(30, generator=torch.Generator().manual_seed(42))[:3].tolist()
    for (task, seed), found in samples.items():
        (sample,) = found  # The same for all methods.
        rows = official(task, "train")
        per_class = Counter(rows[index]["label"] for index in sample)
        assert sorted(per_class.values()) == ([1, 1, 2] if task == "cb" else [2, 2])
        assert len(set(sample)) == 4
        assert task == "cb" or not set(sample) & set(held_out)
        assert found != samples[task, 85 - seed]  # The other of the seeds 42 and 43.


def test_majority_row(
    finished: Any, official: Callable[[str, str], Rows], judged: dict[str, Rows]
) -> None:
    for (task, _, _), record in finished.records.items():
        train = official(task, "train")
        if task == "sst2":
            held_out = torch.randperm(30, generator=torch.Generator().manual_seed(42))[:3].tolist()
            train = [row for index, row in enumerate(train) if index not in held_out]
        counts = Counter(row["label"] for row in train)
        majority = min(label for label in counts if counts[label] == max(counts.values()))
        rows = judged[task]
        share = sum(row["label"] == majority for row in rows) / len(rows)
        assert record.majority.label == str(majority)
        assert record.majority.test["accuracy"] == pytest.approx(100 * share)
        if task == "cb":  # Precision is the share, recall 1; the other two classes count 0.
            f1 = 2 * share / (1 + share) / 3
            assert record.majority.test["f1_multiclass"] == pytest.approx(100 * f1)


def test_the_lowest_class_wins_a_tie_in_the_majority_row(
    configure: Any, run: Any, official: Callable[[str, str], Rows], tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "cb"
    folder.mkdir(parents=True)
    train = [row | {"label": 2 - index % 2} for index, row in enumerate(official("cb", "train"))]
    validation = [row | {"label": 1} for row in official("cb", "validation")]
    for split, rows in (("train", train), ("validation", validation)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    config = configure(data=str(folder.parent), tasks=["cb"], methods=["pt"], seeds=[42])
    (record,) = run(config, tmp_path / "out").records.values()
    assert record.majority.label == "1"
    assert record.majority.test["accuracy"] == 100.0


def test_notes(finished: Any, judged: dict[str, Rows], model: Path) -> None:
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(model)
    for (task, method, _), record in finished.records.items():
        texts = [pair.source for row in judged[task] for pair in get_task(task).to_text(row, False)]
        cut = sum(len(words(text)["input_ids"]) > 48 for text in texts)
        expected = {f"{cut} test inputs cut at 48 tokens"} if cut else set()
        if task == "sst2":
            expected.add("sst2 has 30 training rows: 3 of them validate instead of 1000")
            if method != "pt":
                expected.add(
                    "a source prompt trained on the full data of this very task was available"
                )
        assert set(record.rows.notes) == expected


def test_trainable_parameters_are_what_the_formulas_say(finished: Any) -> None:
    formulas = {
        "pt": MATRIX,
        "spot": MATRIX,
        "attempt": MATRIX + 2 * HIDDEN * WIDTH + 2 * WIDTH,
        "mpt": MATRIX + LENGTH + WIDTH,
        "dtvg": MATRIX + LENGTH + SOURCES * LENGTH,
    }
    for (_, method, _), record in finished.records.items():
        assert record.training.trainable_parameters == formulas[method]


def test_all_prompts_of_a_seed_start_from_the_same_matrix(finished: Any, model: Path) -> None:
    lm = load(str(model))
    for training in finished.grid.plan.trainings.values():
        card = finished.folder.prompts.load(training.digest).card
        assert card.initial_digest == tensor_digest(lm.initial_prompt(LENGTH, training.seed))
    for (_, _, seed), record in finished.records.items():
        assert record.training.initial_digest == tensor_digest(lm.initial_prompt(LENGTH, seed))


def test_the_best_step_is_the_first_of_the_best(finished: Any) -> None:
    for record in finished.records.values():
        points = [
            (sum(point.validation.values()) / len(point.validation), -point.step, point)
            for point in record.training.curve
        ]
        score, step, point = max(points, key=lambda entry: entry[:2])
        assert [entry[2].step for entry in points] == [2, 4]
        assert record.training.best_score == score
        assert record.training.best_step == -step
        assert record.scores.validation == point.validation
        assert record.scores.valid_label_share.validation == point.valid_label_share


@pytest.mark.parametrize("method", ["pt", "spot", "mpt", "dtvg"])
def test_scores_are_those_of_the_stored_prompt(
    method: str, finished: Any, judged: dict[str, Rows], model: Path
) -> None:
    """Row by row without padding, straight through transformers."""
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    words = AutoTokenizer.from_pretrained(model)
    t5 = T5ForConditionalGeneration.from_pretrained(model)
    for record in by_method(finished, method):
        task, rows = get_task(record.cell.task), judged[record.cell.task]
        prompt = finished.folder.prompts.load(record.training.prompt).matrix.unsqueeze(0)
        right = valid = 0
        for row in rows:
            (pair,) = task.to_text(row, training=False)
            encoded = words(pair.source, truncation=True, max_length=48, return_tensors="pt")
            texts = t5.get_input_embeddings()(encoded["input_ids"])
            inputs = torch.cat([prompt, texts], dim=1)
            ids = t5.generate(inputs_embeds=inputs, max_new_tokens=20, do_sample=False)
            answer = words.decode(ids[0], skip_special_tokens=True).strip()
            right += answer == pair.target
            valid += answer in (task.labels or ())
        assert record.scores.test["accuracy"] == pytest.approx(100 * right / len(rows))
        assert record.scores.valid_label_share.test == pytest.approx(valid / len(rows))


def test_prompts_have_learned_something(finished: Any, model: Path) -> None:
    """Were the initial prompt stored instead of the trained one, all else would still hold."""
    lm = load(str(model))
    for (_, method, seed), record in finished.records.items():
        if method != "attempt":
            matrix = finished.folder.prompts.load(record.training.prompt).matrix
            assert not torch.equal(matrix, lm.initial_prompt(LENGTH, seed))


def source_prompts(finished: Any, record: Any) -> dict[str, Tensor]:
    plan, store = finished.grid.plan, finished.folder.prompts
    required = [plan.trainings[digest] for digest in record.cell.requires]
    return {
        training.task: store.load(training.digest).matrix
        for training in required
        if training.shots is None and not training.is_source_stage
    }


def test_diagnostics_of_spot(finished: Any) -> None:
    for record in by_method(finished, "spot"):
        sources = source_prompts(finished, record)
        target = finished.folder.prompts.load(record.cell.requires[-1]).matrix
        expected = {
            task: float(torch.cosine_similarity(target.mean(0), source.mean(0), dim=0))
            for task, source in sources.items()
        }
        found = record.diagnostics["best"]
        assert found["similarities"] == pytest.approx(expected, abs=1e-6)
        assert found["source"] == max(expected, key=lambda task: expected[task])
        assert found["step"] == record.training.best_step


def test_diagnostics_of_dtvg(finished: Any, model: Path) -> None:
    for record in by_method(finished, "dtvg"):
        history = record.diagnostics["history"]
        assert [point["step"] for point in history] == [0, 2, 4]
        assert record.diagnostics["best"] in history
        assert record.diagnostics["best"]["step"] == record.training.best_step
        groups = [point["group"] for point in history]
        changes = (groups[0] != groups[1]) + (groups[1] != groups[2])
        assert record.diagnostics["changes"] == {"group": changes}
        for point in history:
            assert point["group_size"] == len(point["group"])
            kept = {task for task, value in point["similarities"].items() if value >= 0}
            assert set(point["group"]) <= kept
            assert len(point["consistencies"]) == len(kept)
            assert set(point["scales"]["sources"]) == set(source_prompts(finished, record))
        sources = source_prompts(finished, record)
        target = finished.folder.prompts.load(record.cell.requires[-1]).matrix
        initial = load(str(model)).initial_prompt(LENGTH, record.cell.seed)
        for kind, origin in (("prompts", torch.zeros_like(initial)), ("task_vectors", initial)):
            expected = {
                task: float(
                    torch.cosine_similarity(
                        (target - origin).mean(0), (source - origin).mean(0), dim=0
                    )
                )
                for task, source in sources.items()
            }
            assert history[0]["cosines"][kind] == pytest.approx(expected, abs=1e-5)


def test_records_name_the_sources_behind_them(finished: Any) -> None:
    used = ("mnli", "qnli", "qqp", "sst2", "squad", "record")
    for record in finished.records.values():
        tasks = [source.task for source in record.sources]
        assert tasks == ([] if record.cell.method.name == "pt" else list(used))
        for source in record.sources:
            card = finished.folder.prompts.load(source.prompt).card
            assert (card.training["task"], card.training["shots"]) == (source.task, None)
            assert not source.given


def test_answers_give_the_scores(finished: Any) -> None:
    """The stored answers are those of the checkpoint that was scored."""
    for record in finished.records.values():
        found = load_predictions(finished.folder.records, record)
        scores = found.metrics()
        assert record.scores.test == pytest.approx({m: scores[m] for m in record.scores.test})
        assert len(found) == record.rows.test
        assert len({example.row for example in found.examples}) == len(found)


def test_diagnostics_of_attempt_and_mpt(finished: Any) -> None:
    for record in by_method(finished, "attempt"):
        for point in record.diagnostics["history"]:
            weights = [*point["attention"]["sources"].values(), point["attention"]["target"]]
            assert len(weights) == SOURCES + 1
            assert sum(weights) == pytest.approx(1, abs=1e-5)
    for record in by_method(finished, "mpt"):
        start = record.diagnostics["best"]["source_stage_initialisation"]
        assert start == {"shared": "P_init", "factor_mean": 1.0, "factor_std": 0.02}
    assert all(record.diagnostics == {} for record in by_method(finished, "pt"))


def test_the_table_is_complete(finished: Any) -> None:
    text = render_tables(load_results(finished.folder.folder), method_order=tuple(METHODS))
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["pt", "spot", "attempt", "mpt", "dtvg", "majority class"]
    assert "missing" in text
    assert "20 in all, 0 failed, 0 missing" in text
