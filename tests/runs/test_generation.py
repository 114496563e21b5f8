"""Generation tasks from rows to records: pairs to train on, all references to score against."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sacrebleu
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer

from bench.data import open_source
from bench.interchange.evaluation import evaluate_prompt
from bench.interchange.exporting import export_peft
from bench.models.base import FrozenLM
from bench.models.decoder_only import DecoderOnlyLM
from bench.models.encoder_decoder import EncoderDecoderLM
from bench.models.loading import load
from bench.protocol import Batch
from bench.runs.examples import Examples

TASKS = {"e2e": "bleu", "common_gen": "rougeL", "web_nlg": "rougeL"}
MODELS = ("tiny", "tiny-llama")
ROWS = 16
ROUGE = ("rouge1", "rouge2", "rougeL")


class WordNet:
    """A WordNet in which words of the same first letter are synonyms."""

    def ensure_loaded(self) -> None:
        pass

    def synsets(self, word: str) -> list[Any]:
        class Synset:
            def lemmas(self) -> list[Any]:
                return [Lemma(other) for other in ("a", "the", "there", "town", "it", "is")]

        class Lemma:
            def __init__(self, other: str) -> None:
                self.other = other

            def name(self) -> str:
                return self.other if self.other[0] == word[:1] else word

        return [Synset()]


class Missing:
    def ensure_loaded(self) -> None:
        raise LookupError("Resource wordnet not found.")


@pytest.fixture(scope="module")
def slices(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first real rows of every split."""
    folder = tmp_path_factory.mktemp("nlg")
    for task in TASKS:
        (folder / task).mkdir()
        for path in (shared / "data" / task).glob("*.parquet"):
            pq.write_table(pq.read_table(path).slice(0, ROWS), folder / task / path.name)
    return folder


@pytest.fixture(scope="module")
def models() -> dict[str, FrozenLM]:
    return {name: load(name) for name in MODELS}


def by_source(task: str, slices: Path) -> dict[str, list[str]]:
    """The references of each input of the test split, read off the rows."""
    files = {"e2e": "test", "common_gen": "validation", "web_nlg": "test"}
    found: dict[str, list[str]] = {}
    for row in pq.read_table(slices / task / f"{files[task]}.parquet").to_pylist():
        if task == "e2e":
            source = f"e2e meaning: {row['meaning_representation']}"
            texts = [row["human_reference"]]
        elif task == "common_gen":
            source, texts = f"common_gen concepts: {', '.join(row['concepts'])}", [row["target"]]
        else:
            source = f"web_nlg triples: {' ; '.join(row['input'])}"
            texts = list(row["references"]) or [row["target"]]
        found.setdefault(source, [])
        found[source] += [text for text in texts if text not in found[source]]
    return found


def direct_scores(answers: list[str], references: list[list[str]]) -> dict[str, float]:
    """All metrics by the packages alone."""
    most = max(map(len, references))
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    scorer = RougeScorer(ROUGE)
    rouge = [scorer.score_multi(r, a) for a, r in zip(answers, references, strict=True)]
    meteor = [
        meteor_score(
            [word_tokenize(text, preserve_line=True) for text in texts],
            word_tokenize(answer, preserve_line=True),
            wordnet=WordNet(),
        )
        for answer, texts in zip(answers, references, strict=True)
    ]
    return {
        "bleu": sacrebleu.corpus_bleu(answers, streams, force=True).score,
        **{n: 100 * sum(s[n].fmeasure for s in rouge) / len(rouge) for n in ROUGE},
        "meteor": 100 * sum(meteor) / len(meteor),
    }


@pytest.fixture
def repeating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers begin with what was read, so that they share words with the references."""

    def patch(adapter: type[FrozenLM]) -> None:
        own = adapter.answer

        def answer(self: FrozenLM, prompt: Any, batch: Batch, *rest: Any) -> list[str]:
            answers = own(self, prompt, batch, *rest)
            read = self.decode(batch.input_ids)
            return [f"{text} {answer}" for text, answer in zip(read, answers, strict=True)]

        monkeypatch.setattr(adapter, "answer", answer)

    for adapter in (DecoderOnlyLM, EncoderDecoderLM):
        patch(adapter)


@pytest.mark.usefixtures("repeating")
@pytest.mark.parametrize("lm", MODELS)
@pytest.mark.parametrize("task", TASKS)
def test_real_rows_become_scores_of_the_packages(
    task: str,
    lm: str,
    slices: Path,
    models: dict[str, FrozenLM],
    configure: Any,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nltk.corpus.wordnet", WordNet())
    config = configure(
        *("training.steps=2", "validation_rows=4", "input_length=96"),
        data=str(slices),
        model=lm,
        tasks=[task],
        methods=["pt"],
        shots=["full"],
        seeds=[42],
    )
    done = run(config, tmp_path / "out")
    (record,) = done.records.values()
    expected = by_source(task, slices)
    assert record.status == "finished"
    assert record.rows.test == len(expected)
    assert record.scores.table_metric == TASKS[task]
    assert record.scores.left_out == {}
    stored = done.folder.prompts.load(record.training.prompt)
    examples = Examples(open_source(str(slices)), models[lm].encoder, 42, 96)
    rows = examples.evaluation(task, "test")
    assert dict(zip(rows.sources, map(list, rows.references), strict=True)) == expected
    answers = evaluate_prompt(stored, models[lm], examples, task).predictions
    direct = direct_scores(answers, list(expected.values()))
    assert dict(record.scores.test) == pytest.approx(direct, abs=1e-9)
    assert min(direct.values()) > 0  # Equal scores say something.


@pytest.mark.parametrize("task", TASKS)
def test_every_reference_is_a_pair_to_train_on(
    task: str, slices: Path, models: dict[str, FrozenLM]
) -> None:
    examples = Examples(open_source(str(slices)), models["tiny"].encoder, 42)
    chosen = examples.training(task, None, 42)
    rows = pq.read_table(slices / task / "train.parquet").to_pylist()
    column = "human_reference" if task == "e2e" else "target"
    held_out = len(examples.rows(task).validation) if task == "common_gen" else 0
    assert len(chosen.encoded) == len(rows) - held_out
    left = Counter(row[column] for row in rows)
    left.subtract(chosen.encoded.targets)
    assert min(left.values()) >= 0
    assert left.total() == held_out


def test_without_wordnet_the_record_names_the_reason(
    slices: Path, configure: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nltk.corpus.wordnet", Missing())
    config = configure(
        *("training.steps=2", "validation_rows=4", "input_length=96", "training.beams=2"),
        data=str(slices),
        model="tiny-llama",
        tasks=["e2e"],
        methods=["pt"],
        shots=["full"],
        seeds=[42],
    )
    done = run(config, tmp_path / "out")
    (record,) = done.records.values()
    assert set(record.scores.test) == {"bleu", "rougeL", "rouge1", "rouge2"}
    assert set(record.scores.left_out) == {"meteor"}
    assert "WordNet" in record.scores.left_out["meteor"]
    assert record.cell.training["beams"] == 2
    assert "training.beams=2" in record.cell.preset
    export_peft(done.folder, record.digest, tmp_path / "peft")
    card = (tmp_path / "peft" / "README.md").read_text(encoding="utf-8")
    assert "meteor is left out: meteor needs WordNet" in card
