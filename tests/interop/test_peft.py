"""Exported adapters in PEFT, and adapters that PEFT trained in runs of this program."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import peft
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from bench.data import Examples, open_source
from bench.errors import OutputError, PromptError, RecordError
from bench.interop import export_peft, import_prompt, model_card
from bench.models.base import FrozenLM
from bench.models.loading import load
from bench.record import DataBlock, Record
from bench.store import ResultStore
from tests.core.small_grids import configure, do
from tests.data.conftest import hub_on_loopback

TASK, LENGTH, WIDTH = "rte", 6, 128


def run(store: ResultStore, *methods: str, model: str = "tiny") -> dict[str, Record]:
    """Records of short runs, by label."""
    sizes = (f"prompt_length={LENGTH}", "input_length=64", "validation_rows=20", "test_rows=40")
    grid = do(configure(*sizes, model=model, tasks=[TASK], shots=[8], methods=list(methods)), store)
    return {each.method.label: store.find(each) for each in grid.reported.values()}


@pytest.fixture(scope="module")
def finished(models_loaded_once: None, tmp_path_factory: Any) -> ResultStore:
    """One run of several methods on rte with 8 shots."""
    store = ResultStore(tmp_path_factory.mktemp("finished"))
    assert all(run(store, "pt", "dtvg", "attempt", "no_prompt").values())
    return store


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "out")


def logits_of_peft(adapted: Any, frozen: FrozenLM, batch: Any) -> torch.Tensor:
    """Scores of the target tokens, as PEFT computes them."""
    adapted.eval()
    with torch.no_grad():
        if frozen.architecture == "encoder-decoder":
            return adapted(batch.input_ids, batch.mask, labels=batch.labels).logits
        read = torch.cat([batch.input_ids, batch.labels[:, :-1]], dim=1)
        scores = adapted(read, torch.ones_like(read)).logits
        return scores[:, -batch.labels.shape[1] :]


def one_row(frozen: FrozenLM) -> Any:
    """PEFT counts positions over the padding of decoder-only models."""
    examples = Examples(open_source("bundled"), frozen.encoder, 42, 64)
    return examples.evaluation(TASK, "test").batch([0])


@pytest.mark.parametrize(("model", "method"), [("tiny", "dtvg"), ("tiny-llama", "pt")])
def test_exported_prompt_gives_equal_logits_in_peft_and_equal_scores_when_imported(
    model: str, method: str, finished: ResultStore, store: ResultStore, tmp_path: Path
) -> None:
    origin = finished if model == "tiny" else store
    record = run(origin, method, model=model)[method]
    folder = tmp_path / "adapter"
    frozen = load(model)
    batch = one_row(frozen)
    matrix = origin.load_prompt(record.training.prompt).matrix
    with frozen.inference():
        ours = frozen.run(matrix.unsqueeze(0), batch).logits
        bare = frozen.run(matrix[:0].unsqueeze(0), batch).logits
    assert export_peft(origin, record.id[:12], folder) == record
    adapted = peft.PeftModel.from_pretrained(frozen.model, folder)
    theirs = logits_of_peft(adapted, frozen, batch)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    assert (bare - ours).abs().max() > 1e-2  # The prompt matters.
    assert peft.PeftConfig.from_pretrained(folder).num_transformer_submodules == 1
    back = import_prompt(store, folder, TASK, model, seed=42)
    assert torch.equal(store.load_prompt(back.id).matrix, matrix)
    assert back.training.initial_digest == record.training.initial_digest
    texts = (back.id[:12], str(folder))  # From the store, and from the folder.
    scored = run(store, *(f"fixed:prompt={text}" for text in texts), model=model)
    assert [own.scores.test for own in scored.values()] == [record.scores.test] * 2


@pytest.mark.parametrize("submodules", [1, None])
def test_prompt_of_peft(submodules: int | None, store: ResultStore, tmp_path: Path) -> None:
    frozen = load("tiny")
    batch = one_row(frozen)
    # PEFT's default allocates the prompt twice.
    options = {"num_virtual_tokens": LENGTH, "num_transformer_submodules": submodules}
    config = peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", **options)
    adapted = peft.get_peft_model(frozen.model, config)
    adapted.save_pretrained(tmp_path / "adapter")
    record = import_prompt(store, tmp_path / "adapter", TASK, "tiny")
    matrix = store.load_prompt(record.id).matrix
    assert matrix.shape == (LENGTH, WIDTH)
    noted = ["two allocated prompts" in note for note in record.rows.notes]
    assert noted == [True] * (submodules is None)
    with frozen.inference():
        ours = frozen.run(matrix.unsqueeze(0), batch).logits
    torch.testing.assert_close(ours, logits_of_peft(adapted, frozen, batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("rte-attempt", "prompt of attempt depends on the input"),
        ("rte-no_prompt", "prompt of no_prompt has no tokens"),
    ],
)
def test_refused_exports(name: str, fault: str, finished: ResultStore, tmp_path: Path) -> None:
    with pytest.raises((PromptError, RecordError), match=fault) as caught:
        export_peft(finished, name, tmp_path / "adapter")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "adapter").exists()


def test_other_files_are_never_touched(finished: ResultStore, tmp_path: Path) -> None:
    export_peft(finished, "rte-pt", tmp_path)
    export_peft(finished, "rte-dtvg", tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["num_virtual_tokens"] == LENGTH
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"holds thesis.tex"):
        export_peft(finished, "rte-pt", tmp_path)
    with pytest.raises(OutputError, match=r"cannot write .*thesis\.tex"):
        export_peft(finished, "rte-pt", tmp_path / "thesis.tex")


def test_card_of_a_bundled_model(finished: ResultStore, tmp_path: Path) -> None:
    record = export_peft(finished, "rte-dtvg", tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head.pop("model-index")[0]["name"] == "rte-dtvg-8-42"
    tags = {"pipeline_tag": "text-classification", "tags": ["prompt-tuning", "dtvg-bench", "dtvg"]}
    assert head == {"library_name": "peft", **tags}
    (result,) = ModelCard(card).data.eval_results
    assert result.metric_value == round(record.scores.test["accuracy"], 2)
    assert (result.dataset_type, result.dataset_name) == ("bundled", "rte of bundled samples")
    assert f"| accuracy | {record.scores.test['accuracy']:.2f} |" in card
    assert "test (40 rows)" in card
    assert "bundled model and sample rows: not a benchmark result" in card
    assert "model = load('tiny').model" in card


def card_of(record: Record, **changes: Any) -> str:
    run = record.run.model_copy(update=changes)
    return model_card(record.model_copy(update={"run": run}), LENGTH, "me/prompt")


@pytest.mark.parametrize(
    ("name", "base", "place"),
    [
        ("google-t5/t5-base@0db7e", "google-t5/t5-base", "'google-t5/t5-base', revision='0db7e'"),
        ("./models/t5@x", None, "'./models/t5@x'"),
    ],
)
def test_base_model_in_card(name: str, base: str | None, place: str, finished: ResultStore) -> None:
    record = finished.record("rte-pt")
    model = record.run.model.model_copy(update={"name": name, "bundled": False})
    card = card_of(record, model=model)
    assert yaml.safe_load(card.split("---\n")[1]).get("base_model") == base
    assert f"AutoModelForSeq2SeqLM.from_pretrained({place})\n" in card
    model = model.model_copy(update={"name": "smollm2", "note": "GGUF file s.gguf, Q8_0"})
    card = card_of(record, model=model, shots=None, train_rows=9)
    assert "model = load('smollm2').model" in card
    assert f"on {record.rows.train} training examples" in card


def test_datasets_of_the_hub_in_card(finished: ResultStore) -> None:
    record, commit = finished.record("rte-pt"), "0" * 40
    fingerprint = f"nyu-mll/glue@rte@{commit}"
    data = DataBlock(kind="hub", name="hub", fingerprint=fingerprint, revision=commit)
    text = card_of(record, data=data)
    assert 'model = PeftModel.from_pretrained(model, "me/prompt")' in text
    card = ModelCard(text).data
    (result,) = card.eval_results
    assert (card.datasets, result.dataset_type) == (["nyu-mll/glue"], "nyu-mll/glue")
    assert (result.dataset_config, result.dataset_revision) == ("rte", commit)


def test_push_and_import_from_a_hub(
    finished: ResultStore, store: ResultStore, shared: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Uploads go into the folder that a stand-in for the hub serves."""
    commit = "c" * 40

    def upload(repo_id: str, folder_path: Path, allow_patterns: list[str], token: bool) -> None:
        assert {path.name for path in folder_path.iterdir()} == {*allow_patterns}
        shutil.copytree(folder_path, tmp_path / "models" / repo_id / commit)

    made = Mock(return_value=Mock(repo_id="me/prompt"))
    monkeypatch.setattr(huggingface_hub, "create_repo", made)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    record = export_peft(finished, "rte-dtvg", tmp_path / "adapter", "prompt")
    made.assert_called_once_with("prompt", exist_ok=True, token=True)
    with hub_on_loopback(shared, tmp_path, monkeypatch):
        found = import_prompt(store, "hf://me/prompt@main", TASK, "tiny")
        with pytest.raises(PromptError, match=r"^hub repository me/none: Repo.*'hf auth login'$"):
            import_prompt(store, "hf://me/none", TASK, "tiny")
    assert (found.run.data.kind, found.run.data.name) == ("hub", f"hf://me/prompt@{commit}")
    matrix = finished.load_prompt(record.training.prompt).matrix
    assert torch.equal(store.load_prompt(found.id).matrix, matrix)


def test_no_token_or_no_network(finished: ResultStore, tmp_path: Path, monkeypatch: Any) -> None:
    for offline, error in ((False, "LocalTokenNotFound"), (True, "OfflineMode")):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        with pytest.raises(PromptError, match=f"^hub repository me/prompt: {error}") as caught:
            export_peft(finished, "rte-pt", tmp_path, "me/prompt")
        assert "\n" not in str(caught.value)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
