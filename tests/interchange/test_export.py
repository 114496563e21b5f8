"""A cell's prompt as a PEFT adapter: what PEFT makes of it, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import yaml

from bench.errors import OutputError, PromptError, RecordError
from bench.interchange.evaluation import evaluate_prompt
from bench.interchange.exporting import export_peft
from bench.interchange.model_card import model_card
from bench.models.base import FrozenLM
from bench.models.loading import describe
from bench.records import Record, find_record, write_record
from bench.runs.examples import Examples
from bench.runs.recording import failed
from bench.runs.results import ResultFolder

TASK, LENGTH, WIDTH = "rte", 6, 32
MERGED = ("pt", "spot", "mpt", "dtvg")

Records = dict[str, Record]
Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("method", MERGED)
def test_peft_gives_the_same_logits_and_answers(
    method: str,
    results: ResultFolder,
    records: Records,
    frozen: FrozenLM,
    examples: Examples,
    peft_answers: Callable[[Any], list[str]],
    tmp_path: Path,
) -> None:
    record = records[method]
    assert record.training is not None
    stored = results.prompts.load(record.training.prompt)
    ours = evaluate_prompt(stored, frozen, examples, TASK)
    batch = examples.evaluation(TASK, "test").batch(range(8))
    with frozen.inference():
        logits = frozen.run(stored.matrix.unsqueeze(0), batch).logits
        bare = frozen.model(input_ids=batch.input_ids, labels=batch.labels).logits

    export_peft(results, record.digest[:12], tmp_path)
    adapted = peft.PeftModel.from_pretrained(frozen.model, tmp_path)

    with torch.no_grad():
        theirs = adapted(batch.input_ids, batch.mask, labels=batch.labels).logits
    torch.testing.assert_close(theirs, logits, atol=1e-5, rtol=0)
    assert (bare - logits).abs().max() > 1e-3  # The prompt matters.
    assert peft_answers(adapted) == ours.predictions


def test_adapter_holds_one_prompt_and_nothing_else(
    results: ResultFolder, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "adapter"

    export_peft(results, records["dtvg"].file_name, folder)

    files = {path.name for path in folder.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "prompt_embeddings": (LENGTH, WIDTH)
    }
    config = peft.PeftConfig.from_pretrained(folder)
    assert isinstance(config, peft.PromptTuningConfig)
    assert config.num_transformer_submodules == 1
    assert config.base_model_name_or_path == records["dtvg"].cell.model.name


def test_attempt_is_refused_with_the_reason(
    results: ResultFolder, records: Records, command: Command, tmp_path: Path
) -> None:
    cell = records["attempt"].digest

    code, _, error = command("export", cell, "--to", "peft", tmp_path, "--out", results.folder)

    assert code == 2
    assert re.fullmatch(r"error: cell \w{12} .* attempt depends on the input, .*\n", error)
    assert not list(tmp_path.iterdir())


def test_failed_cell_has_no_prompt(records: Records, tmp_path: Path, configure: Any) -> None:
    from bench.runs.grid import lay_out

    folder = ResultFolder(tmp_path / "out")
    cell = lay_out(configure(methods=["pt"]), folder, "never").plan.cells[0]
    folder.write(failed(cell, 1, ValueError("it broke")).record)

    with pytest.raises(PromptError, match=r"it failed \(it broke\)"):
        export_peft(folder, cell.digest, tmp_path / "adapter")


def test_cell_is_found_by_digest_or_file_name(results: ResultFolder, records: Records) -> None:
    record = records["mpt"]
    names = (record.digest, record.digest[:12], record.digest[:30], record.digest[:5])

    for name in (*names, "rte-mpt", record.file_name, record.file_name.removesuffix(".json")):
        assert find_record(results.records, name) == record
    wrong = ("0" * 64, record.digest[:12] + "0" * 20, "../records", "", "*", "mpt")
    for name in wrong:
        with pytest.raises(RecordError, match="no cell matches"):
            find_record(results.records, name)


def test_ambiguous_cell_is_refused(records: Records, tmp_path: Path) -> None:
    for start in ("aa1", "aa2"):
        digest = start + records["pt"].digest[3:]
        write_record(dataclasses.replace(records["pt"], digest=digest), tmp_path)

    for name in ("aa", "rte-pt-8"):
        with pytest.raises(RecordError, match=f"2 cells match '{name}'"):
            find_record(tmp_path, name)


def test_other_files_are_never_touched(
    results: ResultFolder, records: Records, tmp_path: Path
) -> None:
    export_peft(results, records["pt"].digest, tmp_path)
    export_peft(results, records["mpt"].digest, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["peft_type"] == "PROMPT_TUNING"
    (tmp_path / "thesis.tex").write_text("mine")

    with pytest.raises(OutputError, match=r"holds thesis.tex"):
        export_peft(results, records["pt"].digest, tmp_path)
    with pytest.raises(OutputError, match="choose an empty folder"):
        export_peft(results, records["pt"].digest, tmp_path / "thesis.tex")


def test_card_tells_what_the_prompt_is(
    results: ResultFolder, records: Records, command: Command, tmp_path: Path
) -> None:
    record = records["spot"]
    assert record.scores is not None

    code, out, _ = command("export", record.digest[:12], tmp_path, "--out", results.folder)

    assert code == 0
    assert str(tmp_path) in out
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head == {"library_name": "peft", "tags": ["prompt-tuning", "dtvg-bench", "spot"]}
    accuracy = record.scores.test["accuracy"]
    for fact in (
        "# Soft prompt: rte, spot",
        "learning\\_rate=0.3",
        record.cell.model.digest,
        record.cell.data.fingerprint,
        "8 training examples",
        "| seed | 42",
        "| metric | test (200 rows) | validation |",
        f"| accuracy | {accuracy:.2f} |",
        "PeftModel.from_pretrained",
        "## Licence",
        "bundled sample rows",
    ):
        assert fact in card
    assert "toy model" not in card


def test_card_of_a_hub_model_pins_its_revision(records: Records, results: ResultFolder) -> None:
    record = records["pt"]
    assert record.training is not None
    stored = results.prompts.load(record.training.prompt)
    model = dataclasses.replace(record.cell.model, name="google-t5/t5-base@0db7e623")
    data = dataclasses.replace(record.cell.data, kind="hub", name="nyu-mll/glue | [x](y)")
    cell = dataclasses.replace(record.cell, model=model, data=data)

    card = model_card(dataclasses.replace(record, cell=cell), stored.card)

    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == "google-t5/t5-base"
    assert "from_pretrained('google-t5/t5-base', revision='0db7e623')" in card
    assert "Not a result" not in card
    assert "nyu-mll/glue \\| \\[x\\](y)" in card


@pytest.mark.parametrize("name", ["models/t5", "x@y", "./t5"])
def test_card_of_a_folder_claims_no_repository_of_the_hub(
    name: str,
    records: Records,
    results: ResultFolder,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, name)
    record = records["pt"]
    assert record.training is not None
    stored = results.prompts.load(record.training.prompt)
    info = describe(name, tokenizer=name)
    block = dataclasses.replace(record.cell.model, name=info.name, note=info.note)
    cell = dataclasses.replace(record.cell, model=block)

    card = model_card(dataclasses.replace(record, cell=cell), stored.card)

    place = f"./{name.removeprefix('./')}"
    assert "base_model" not in yaml.safe_load(card.split("---\n")[1])
    assert f"AutoModelForSeq2SeqLM.from_pretrained({place!r})\n" in card
    assert f"| model note | with the tokenizer {place} |" in card
    assert describe(place).digest == describe(name).digest


def test_card_of_the_bundled_model_says_so(records: Records, results: ResultFolder) -> None:
    record = records["pt"]
    assert record.training is not None
    stored = results.prompts.load(record.training.prompt)
    model = dataclasses.replace(record.cell.model, name="tiny", bundled=True, note="small")
    cell = dataclasses.replace(record.cell, model=model)

    card = model_card(dataclasses.replace(record, cell=cell), stored.card)

    assert "**Not a result.** Trained on the bundled toy model (small)" in card
    assert "load('tiny').model" in card
