"""Prompts of a causal language model to PEFT and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch

from bench.config import RunConfig
from bench.data import open_source
from bench.errors import PromptError
from bench.interchange.adapters import read_adapter
from bench.interchange.evaluation import evaluate_prompt
from bench.interchange.exporting import export_peft
from bench.interchange.importing import import_prompt, read_prompt
from bench.models.base import FrozenLM
from bench.models.loading import describe, load
from bench.records import Record, read_records
from bench.runs.examples import Examples
from bench.runs.grid import execute, lay_out
from bench.runs.prompts import PromptStore
from bench.runs.results import ResultFolder

TASK, LENGTH, ROWS = "squad", 6, 12


@pytest.fixture
def frozen() -> FrozenLM:
    """Loaded anew for each test, as PEFT wraps the module in it."""
    return load("tiny-llama")


@pytest.fixture(scope="module")
def results(
    configure: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> ResultFolder:
    folder = ResultFolder(tmp_path_factory.mktemp("causal"))
    config = configure(model="tiny-llama", methods=["pt"])
    assert len(execute(lay_out(config, folder, "never")).finished) == 1
    return folder


@pytest.fixture
def record(results: ResultFolder) -> Record:
    (record,) = read_records(results.records)[0]
    return record


def peft_answers(adapted: Any, frozen: FrozenLM, rows: Any, length: int) -> list[str]:
    """What a PEFT model answers to the first rows, one at a time."""
    answers = []
    for index in range(ROWS):
        batch = rows.batch([index])
        ids = adapted.eval().generate(
            input_ids=batch.input_ids,
            attention_mask=batch.mask,
            max_new_tokens=length,
            do_sample=False,
        )
        start = batch.input_ids.shape[1] if ids.shape[1] > length else 0
        answers += frozen.decode(ids[:, start:])
    return answers


def test_an_exported_prompt_gives_the_same_in_peft(
    results: ResultFolder, record: Record, frozen: FrozenLM, tmp_path: Path
) -> None:
    assert record.training is not None
    stored = results.prompts.load(record.training.prompt)
    examples = Examples(open_source("bundled"), frozen.encoder, 42, 64)
    rows, task = examples.evaluation(TASK, "test"), examples.task(TASK)
    ours = evaluate_prompt(stored, frozen, examples, TASK).predictions[:ROWS]
    batch = rows.batch([0])
    with frozen.inference():
        logits = frozen.run(stored.matrix.unsqueeze(0), batch).logits

    export_peft(results, record.digest[:12], tmp_path)
    adapted = peft.PeftModel.from_pretrained(frozen.model, tmp_path)

    config = peft.PeftConfig.from_pretrained(tmp_path)
    assert (config.task_type, config.num_transformer_submodules) == ("CAUSAL_LM", 1)
    read = torch.cat([batch.input_ids, batch.labels[:, :-1]], dim=1)
    with torch.no_grad():
        theirs = adapted(read, torch.ones_like(read)).logits[:, -batch.labels.shape[1] :]
    torch.testing.assert_close(theirs, logits, atol=1e-5, rtol=0)
    assert peft_answers(adapted, frozen, rows, task.target_length) == ours
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "6 soft tokens for the input of a frozen language model" in card
    assert "each followed by `Label :`" in card
    assert "load('tiny-llama').model" in card


def test_a_prompt_of_peft_gives_the_same_here(frozen: FrozenLM, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        adapted = peft.get_peft_model(load("tiny-llama").model, config)
    adapted.save_pretrained(tmp_path)
    examples = Examples(open_source("bundled"), frozen.encoder, 42, 64)
    rows, task = examples.evaluation(TASK, "test"), examples.task(TASK)

    prompt = read_prompt(tmp_path, frozen)
    stored = import_prompt(PromptStore(tmp_path / "store"), prompt, TASK, describe("tiny-llama"))

    ours = evaluate_prompt(stored, frozen, examples, TASK).predictions[:ROWS]
    assert ours == peft_answers(adapted, frozen, rows, task.target_length)
    assert len(set(ours)) > 1  # Equal answers say something.


def test_scores_name_what_was_left_out(
    frozen: FrozenLM, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def ensure_loaded(self) -> None:
            raise LookupError

    monkeypatch.setattr("nltk.corpus.wordnet", Missing())
    file = tmp_path / "prompt.safetensors"
    safetensors.torch.save_file({"prompt_embeddings": frozen.initial_prompt(LENGTH, 0)}, file)
    store = PromptStore(tmp_path / "prompts")
    stored = import_prompt(store, read_prompt(file, frozen), "e2e", describe("tiny-llama"))
    words = ("evaluate", stored.card.digest, "--task", "e2e", "--model", "tiny-llama")
    words += ("--out", str(tmp_path), "--beams", "2", "--split", "validation")

    code, out, _ = command(*words)

    assert code == 0
    assert "e2e validation meteor left out: meteor needs WordNet" in out
    assert "e2e validation bleu " in out


def test_adapters_of_the_other_kind_are_refused(frozen: FrozenLM, tmp_path: Path) -> None:
    config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 2}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(PromptError, match=r"but the model is decoder-only \(CAUSAL_LM\)"):
        read_adapter(tmp_path, frozen.architecture)
