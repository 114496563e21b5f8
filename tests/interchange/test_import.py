"""Prompts that PEFT trained, in our store: same answers, and what the store says of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch

from bench.errors import PromptError, UnknownNameError
from bench.interchange.evaluation import evaluate_prompt, require_model
from bench.interchange.importing import ForeignPrompt, import_prompt, read_prompt
from bench.models.base import FrozenLM
from bench.models.info import ModelInfo
from bench.models.loading import describe
from bench.protocol import tensor_digest
from bench.runs.examples import Examples
from bench.runs.prompts import PromptStore

TASK, LENGTH, WIDTH = "rte", 6, 32

Command = Callable[..., tuple[int, str, str]]


def train_with_peft(frozen: FrozenLM, examples: Examples, **config: Any) -> Any:
    """Three optimiser steps of PEFT's own prompt tuning."""
    torch.manual_seed(0)
    adapted = peft.get_peft_model(
        frozen.model,
        peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=LENGTH, **config),
    )
    optimiser = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.3)
    batch = examples.training(TASK, 8, 42).encoded.batch(range(8))
    adapted.train()
    for _ in range(3):
        adapted(batch.input_ids, batch.mask, labels=batch.labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return adapted


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path / "out" / "prompts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A prompt of the model's width under another name, with something else beside it."""
    torch.manual_seed(1)
    path = tmp_path / "prompt.safetensors"
    tensors = {"soft": torch.randn(LENGTH, WIDTH), "scale": torch.ones(LENGTH)}
    safetensors.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("config", "notes"),
    [
        ({"num_transformer_submodules": 1}, 0),
        ({}, 1),  # PEFT's default allocates the prompt twice.
    ],
    ids=["one copy", "two copies"],
)
def test_prompt_that_peft_trained_gives_the_same_answers(
    config: dict[str, Any],
    notes: int,
    frozen: FrozenLM,
    model: Path,
    examples: Examples,
    peft_answers: Callable[[Any], list[str]],
    store: PromptStore,
    tmp_path: Path,
) -> None:
    adapted = train_with_peft(frozen, examples, **config)
    theirs = peft_answers(adapted)
    adapted.save_pretrained(tmp_path / "adapter")

    prompt = read_prompt(tmp_path / "adapter", frozen)
    stored = import_prompt(store, prompt, TASK, describe(str(model)))

    assert stored.matrix.shape == (LENGTH, WIDTH)
    assert len(prompt.notes) == notes
    assert evaluate_prompt(stored, frozen, examples, TASK).predictions == theirs
    batch = examples.evaluation(TASK, "test").batch(range(8))
    with torch.no_grad():
        expected = adapted(batch.input_ids, batch.mask, labels=batch.labels).logits
        logits = frozen.run(stored.matrix.unsqueeze(0), batch).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_the_way_there_and_back_keeps_every_bit(
    results: Any, records: Any, frozen: FrozenLM, model: Path, store: PromptStore, tmp_path: Path
) -> None:
    from bench.interchange.exporting import export_peft

    export_peft(results, records["dtvg"].digest, tmp_path / "adapter")

    back = import_prompt(
        store, read_prompt(tmp_path / "adapter", frozen), TASK, describe(str(model))
    )

    first = results.prompts.load(records["dtvg"].training.prompt)
    assert torch.equal(back.matrix, first.matrix)
    assert back.card.training["base_model"] == str(model)


def test_adapter_of_another_model_of_equal_width_is_told(
    results: Any,
    records: Any,
    model: Path,
    make_model: Callable[..., Path],
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.interchange.exporting import export_peft

    other = make_model(WIDTH)
    export_peft(results, records["pt"].digest, tmp_path / "adapter")
    monkeypatch.chdir(model.parent)
    words = ("prompts", "import", tmp_path / "adapter", "--task", TASK, "--seed", 42)
    words += ("--out", tmp_path / "out", "--model")

    _, imported, told = command(*words, other)
    _, card, _ = command("prompts", "show", imported.split()[1], "--out", tmp_path / "out")

    note = f"the adapter says that it was trained on {model}, but was imported for {other}; "
    assert told.startswith(f"note: {note}")
    assert json.loads(card)["training"]["notes"] == [told.removeprefix("note: ").rstrip()]
    for own in (model, model.name):  # However its folder is named, it is its own model.
        assert command(*words, own)[2] == ""


@pytest.mark.parametrize(
    ("stated", "name", "bundled", "told"),
    [
        ("google-t5/t5-base", "google-t5/t5-base@0db7e623", False, False),
        ("google-t5/t5-base", "google-t5/t5-large", False, True),
        ("google-t5/t5-base", "./t5-base", False, True),
        ("google-t5/t5-base", "tiny", True, True),
        (None, "tiny", True, False),
    ],
)
def test_base_model_of_an_adapter_is_compared_by_name(
    stated: str | None, name: str, bundled: bool, told: bool, store: PromptStore
) -> None:
    prompt = ForeignPrompt(torch.zeros(2, 3), "soft", Path("file"), "0" * 64, stated)
    info = ModelInfo(name, "0" * 64, "encoder-decoder", bundled, "")

    notes = import_prompt(store, prompt, TASK, info).card.training["notes"]

    assert len(notes) == told


def test_commands_import_list_show_and_evaluate(
    file: Path, model: Path, command: Command, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    code, text, notes = command("prompts", "import", file, "--task", TASK, "--model", model, *out)
    assert code == 0
    assert "the file also holds scale 6; left out" in notes
    assert "initial prompt is unknown, so DTVG cannot use it" in notes
    digest = text.split()[1]
    assert f"--source-prompt rte={digest[:12]}" in text

    code, text, _ = command("prompts", "list", "--json", *out)
    assert json.loads(text) == [
        {
            "digest": digest,
            "task": TASK,
            "method": "imported",
            "model": str(model),
            "form": "prompt",
            "tokens": LENGTH,
            "shots": None,
            "seed": None,
            "initial": None,
        }
    ]
    _, table, _ = command("prompts", "list", *out)
    assert digest[:12] in table

    code, text, _ = command("prompts", "show", digest[:8], *out)
    card = json.loads(text)
    assert card["tensors"] == {"prompt": [LENGTH, WIDTH]}
    assert card["training"]["file"] == str(file)
    assert card["imported"] is True

    chosen = ("--task", TASK, "--model", model, "--input-length", 64)
    code, text, _ = command("evaluate", digest[:8], *chosen, "--json", *out)
    values = json.loads(text)
    assert code == 0
    assert len(values["predictions"]) == values["rows"] == 200
    assert values["bundled"] == ["data"]
    code, text, _ = command("evaluate", digest[:8], *chosen, *out)
    assert f"accuracy {values['metrics']['accuracy']:.2f} (200 rows)" in text
    assert "bundled data: no result" in text
    code, _, error = command("evaluate", digest[:8], *chosen, "--device", "cuda:99", *out)
    assert code == 2
    assert error.startswith("error: device: 'cuda:99' cannot be used here")
    assert error.count("\n") == 1


def test_list_of_an_empty_store_is_empty_and_damage_is_told(
    command: Command, store: PromptStore
) -> None:
    out = ("--out", store.folder.parent)
    assert command("prompts", "list", "--json", *out) == (0, "[]\n", "")
    store.folder.mkdir(parents=True)
    (store.folder / "abcd.json").write_text("{}")

    code, text, warning = command("prompts", "list", "--json", *out)

    assert (code, text) == (0, "[]\n")
    assert "abcd.json is no card of a prompt" in warning


def test_same_prompt_keeps_its_digest_another_start_changes_it(
    file: Path, frozen: FrozenLM, model: Path, store: PromptStore
) -> None:
    prompt, info = read_prompt(file, frozen), describe(str(model))
    initial = frozen.initial_prompt(LENGTH, 42)

    unknown = import_prompt(store, prompt, TASK, info).card
    again = import_prompt(store, prompt, TASK, info).card
    known = import_prompt(store, prompt, TASK, info, initial).card
    other = import_prompt(store, prompt, "cb", info).card

    assert unknown.digest == again.digest
    assert len({unknown.digest, known.digest, other.digest}) == 3
    assert unknown.initial_digest is None
    assert known.initial_digest == tensor_digest(initial)
    assert {card.digest for card in store.cards()[0]} == {
        unknown.digest,
        known.digest,
        other.digest,
    }


def test_start_is_named_by_seed_or_file(
    file: Path, model: Path, frozen: FrozenLM, command: Command, tmp_path: Path
) -> None:
    start = tmp_path / "start.pt"
    torch.save(frozen.initial_prompt(LENGTH, 7), start)
    place = ("--task", TASK, "--model", model, "--prompts", tmp_path / "store")
    words = ("prompts", "import", file, *place, "--json")

    by_seed = json.loads(command(*words, "--seed", 7)[1])
    by_file = json.loads(command(*words, "--initial", start)[1])
    code, _, error = command(*words, "--seed", 7, "--initial", start)

    expected = tensor_digest(frozen.initial_prompt(LENGTH, 7))
    assert by_seed["initial_digest"] == by_file["initial_digest"] == expected
    assert by_seed["digest"] == by_file["digest"]
    assert (code, error) == (
        2,
        "error: --initial and --seed both name the initial prompt: give one\n",
    )


def test_start_of_another_length_is_refused(
    file: Path, frozen: FrozenLM, model: Path, store: PromptStore
) -> None:
    with pytest.raises(PromptError, match=r"shape \(7, 32\), the prompt \(6, 32\)"):
        import_prompt(
            store,
            read_prompt(file, frozen),
            TASK,
            describe(str(model)),
            frozen.initial_prompt(LENGTH + 1, 0),
        )


def test_unknown_task_is_refused(
    file: Path, frozen: FrozenLM, model: Path, store: PromptStore
) -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'rt'"):
        import_prompt(store, read_prompt(file, frozen), "rt", describe(str(model)))
    assert store.cards() == ([], [])


def test_prompt_of_another_model_is_not_evaluated(
    file: Path, frozen: FrozenLM, model: Path, store: PromptStore
) -> None:
    info = describe(str(model))
    stored = import_prompt(store, read_prompt(file, frozen), TASK, info)

    require_model(stored, info)
    with pytest.raises(PromptError, match="another model than"):
        require_model(stored, dataclasses.replace(info, digest="0" * 64))


def test_prompt_that_depends_on_the_input_is_not_evaluated(
    results: Any, records: Any, frozen: FrozenLM, examples: Examples
) -> None:
    stored = results.prompts.load(records["attempt"].training.prompt)

    with pytest.raises(PromptError, match="is a module, no matrix"):
        evaluate_prompt(stored, frozen, examples, TASK)


@pytest.mark.parametrize("prefix", ["abc", "../../etc", "ABCD", "", "zzzz", "abcd*", "a" * 65])
def test_only_the_beginning_of_a_digest_names_a_prompt(prefix: str, store: PromptStore) -> None:
    with pytest.raises(PromptError, match="expected 4 to 64 of the characters"):
        store.find(prefix)


def test_prefix_must_fit_one_prompt(store: PromptStore, file: Path, frozen: FrozenLM) -> None:
    store.folder.mkdir(parents=True)
    for digest in ("abcd1" + "0" * 59, "abcd2" + "0" * 59):
        (store.folder / f"{digest}.json").write_text("{}")

    assert store.find("abcd1") == "abcd1" + "0" * 59
    with pytest.raises(PromptError, match="2 prompts begin with 'abcd'"):
        store.find("abcd")
    with pytest.raises(PromptError, match="no prompt begins with 'abce'"):
        store.find("abce")


@pytest.mark.parametrize(
    ("dtype", "note"), [(torch.bfloat16, "bfloat16"), (torch.float64, "float64")]
)
def test_other_float_types_are_converted_and_told(
    dtype: torch.dtype, note: str, frozen: FrozenLM, tmp_path: Path
) -> None:
    matrix = torch.randn(LENGTH, WIDTH).to(dtype)
    torch.save(matrix, tmp_path / "prompt.pt")

    prompt = read_prompt(tmp_path / "prompt.pt", frozen)

    assert isinstance(prompt, ForeignPrompt)
    assert prompt.matrix.dtype == torch.float32
    torch.testing.assert_close(prompt.matrix, matrix.float(), atol=0, rtol=0)
    assert prompt.notes == (f"converted from {note}",)
