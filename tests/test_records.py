from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bench.errors import OutputError, RecordError
from bench.records import (
    SCHEMA_FILE,
    Record,
    read_record,
    read_records,
    schema_validator,
    write_record,
)

GOLDEN = Path(__file__).parent / "reports" / "golden" / "records"
FINISHED = GOLDEN / "mrpc-dtvg-16-42-ab2de0c6077d.json"
FAILED = GOLDEN / "mrpc-dtvg-16-44-281f9db047a1.json"
VALID: dict[str, Any] = json.loads(FINISHED.read_text())
LATER = {"predictions": None, "sources": None, "seal": None}
"""Keys that records of the first days of schema 1 lack."""
LATER_OF_TRAINING = {
    "micro_batch_size": None,
    "evaluation_micro_batch_size": None,
    "trainings_per_pass": None,
}
LATER_OF_CELL = {"precision": "float32"}


def complete(content: dict[str, Any]) -> dict[str, Any]:
    """A record with the keys that came later."""
    training = content["training"]
    cell = LATER_OF_CELL | content["cell"]
    return LATER | content | {"cell": cell, "training": training and LATER_OF_TRAINING | training}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def changed(**changes: Any) -> dict[str, Any]:
    """The valid record with values replaced, by path: ``cell__shots=0``."""
    content = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return content


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text()))


def test_every_object_with_fixed_keys_is_closed() -> None:
    def objects(schema: object) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [found for item in schema for found in objects(item)]
        if not isinstance(schema, dict):
            return []
        own = [schema] if "required" in schema and isinstance(schema["required"], list) else []
        return own + [found for item in schema.values() for found in objects(item)]

    found = objects(json.loads(SCHEMA_FILE.read_text()))
    assert len(found) == 18
    for schema in found:
        assert schema["additionalProperties"] is False
        optional = {
            name
            for key, later in (
                ("schema", LATER),
                ("best_step", LATER_OF_TRAINING),
                ("prompt_length", LATER_OF_CELL),
            )
            for name in later
            if key in schema["properties"]
        }
        assert set(schema["required"]) == set(schema["properties"]) - optional


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_stored_records_still_load(path: Path) -> None:
    content = json.loads(path.read_text())
    schema_validator().validate(content)
    record = read_record(path)
    assert json.loads(json.dumps(dataclasses.asdict(record))) == complete(content)
    assert record.file_name == path.name


@pytest.mark.parametrize("path", [FINISHED, FAILED])
def test_round_trip(path: Path, tmp_path: Path) -> None:
    record = read_record(path)
    written = write_record(record, tmp_path / "records")
    assert written == tmp_path / "records" / path.name
    assert read_record(written) == record
    stored = json.loads(path.read_text())
    content = json.loads(written.read_text())
    assert content.pop("seal") is not None
    assert content | {"seal": None} == complete(stored)


def test_the_seal_is_the_hash_of_the_file_without_it(tmp_path: Path) -> None:
    data = write_record(read_record(FINISHED), tmp_path).read_bytes()
    seal = json.loads(data)["seal"]
    assert hashlib.sha256(data.replace(seal.encode(), b"0" * 64)).hexdigest() == seal


def test_no_changed_byte_passes(tmp_path: Path) -> None:
    path = write_record(read_record(FINISHED), tmp_path)
    data = path.read_bytes()
    for place in range(0, len(data), 7):  # In the text, its digits, keys and white space alike.
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(RecordError, match=re.escape(str(path))):
            read_record(path)


def test_no_truncated_record_passes(tmp_path: Path) -> None:
    path = write_record(read_record(FAILED), tmp_path)
    data = path.read_bytes()
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(RecordError, match=re.escape(str(path))):
            read_record(path)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"surprise": 1}, "$.surprise"),
        ({"cell__model__surprise": 1}, "$.cell.model.surprise"),
        ({"schema": "1"}, "$.schema"),
        ({"digest": "abc"}, "$.digest"),
        ({"digest": VALID["digest"].upper()}, "$.digest"),
        ({"status": "running"}, "$.status"),
        ({"cell__shots": 0}, "$.cell.shots"),
        ({"cell__shots": "16"}, "$.cell.shots"),
        ({"cell__seed": True}, "$.cell.seed"),
        ({"cell__seed": 1.5}, "$.cell.seed"),
        ({"cell__task": ""}, "$.cell.task"),
        ({"cell__data__kind": "web"}, "$.cell.data.kind"),
        ({"rows__few_shot": [-1]}, "$.rows.few_shot"),
        ({"scores__test": {"accuracy": 100.5}}, "$.scores.test.accuracy"),
        ({"scores__test": {"accuracy": -0.5}}, "$.scores.test.accuracy"),
        ({"scores__test": {"accuracy": 1.0, "pearson": -100.5}}, "$.scores.test.pearson"),
        ({"scores__validation": {"f1": -1}}, "$.scores.validation.f1"),
        ({"scores__valid_label_share__test": 1.5}, "$.scores.valid_label_share.test"),
        ({"majority__test": {"f1": -1}}, "$.majority.test.f1"),
        ({"training__best_score": -101}, "$.training.best_score"),
        (
            {
                "training__curve": [
                    {
                        "step": 1,
                        "loss": 1.0,
                        "validation": {"em": -1},
                        "valid_label_share": None,
                    }
                ]
            },
            "$.training.curve",
        ),
        ({"timing__training_seconds": -1.0}, "$.timing.training_seconds"),
        ({"error": {"type": "ValueError", "message": ""}}, "$.error"),
        ({"scores": None}, "$"),
        ({"status": "failed"}, "$.error"),
    ],
)
def test_schema_and_reader_refuse(changes: dict[str, Any], place: str, tmp_path: Path) -> None:
    content = changed(**changes)
    assert not schema_validator().is_valid(content)
    path = write_json(tmp_path / "record.json", content)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    message = str(caught.value)
    assert message.startswith(f"record {path} is not valid: {place}")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["matthews_correlation", "pearson", "spearmanr"])
def test_correlations_may_be_negative(name: str, tmp_path: Path) -> None:
    content = changed(scores__test={"accuracy": 0, name: -100})
    schema_validator().validate(content)
    record = read_record(write_json(tmp_path / "record.json", content))
    assert record.scores is not None
    assert record.scores.test[name] == -100.0


def test_table_metric_must_have_a_score(tmp_path: Path) -> None:
    content = changed(scores__test={"f1": 50.0})
    with pytest.raises(RecordError, match=r"\$\.scores\.test: lacks the table metric accuracy"):
        read_record(write_json(tmp_path / "record.json", content))


@pytest.mark.parametrize("version", [0, 2])
def test_other_schema_version(version: int, tmp_path: Path) -> None:
    content = changed(schema=version, provenance={"renamed": 1})
    with pytest.raises(RecordError, match=f"of schema version {version}, this program reads 1"):
        read_record(write_json(tmp_path / "record.json", content))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["diagnostics", "cell__training", "training__curve"])
def test_no_number_is_infinite(number: str, place: str, tmp_path: Path) -> None:
    curve = [{"step": 1, "loss": "HERE", "validation": {}, "valid_label_share": None}]
    value = curve if place == "training__curve" else {"value": [1, {"inner": "HERE"}]}
    path = tmp_path / "record.json"
    text = json.dumps(changed(**{place: value}))
    path.write_text(text.replace('"HERE"', "1.5"))
    read_record(path)
    path.write_text(text.replace('"HERE"', number))
    with pytest.raises(RecordError, match=r"not valid: \$\..* holds NaN or an infinite number"):
        read_record(path)


@pytest.mark.parametrize("path", [FINISHED, FAILED])
def test_truncated_anywhere(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes().rstrip()
    cut = tmp_path / "cut.json"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(RecordError, match="is damaged: Invalid JSON"):
            read_record(cut)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(RecordError):
        read_record(path)


# JSON Schema takes 1.0 for an integer, and so many digits do not fit a float: left out.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer())
    | st.sampled_from(["", "failed", "finished", "pearson", "hub", "0" * 64, "a\nb"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["accuracy", "pearson", "step", "type", "é"]), inner)
    ),
    max_leaves=4,
)


@st.composite
def mutated_records(draw: st.DrawFn) -> Any:
    """A valid record with one value replaced, removed or added somewhere."""
    content = json.loads(draw(st.sampled_from([FINISHED, FAILED])).read_text())
    place: Any = content
    while True:
        inner = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not inner:
            return content
        key = draw(st.sampled_from(inner))
        if not isinstance(place[key], dict | list) or draw(st.integers(0, 4)) == 0:
            break
        place = place[key]
    action = draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove":
        del place[key]
    elif action == "add" and isinstance(place, dict):
        place[draw(st.sampled_from(["f1", "spearmanr", "surprise", "type"]))] = draw(VALUES)
    else:
        place[key] = draw(VALUES)
    return content


@given(mutated_records())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reader_agrees_with_the_schema(tmp_path: Path, content: Any) -> None:
    path = write_json(tmp_path / "record.json", content)
    valid = schema_validator().is_valid(content)
    if valid and content["scores"]:
        valid = content["scores"]["table_metric"] in content["scores"]["test"]
    if valid:
        assert isinstance(read_record(path), Record)
    else:
        with pytest.raises(RecordError) as caught:
            read_record(path)
        assert "\n" not in str(caught.value)


def test_write_refuses_what_cannot_be_read_back(tmp_path: Path) -> None:
    record = read_record(FINISHED)
    assert record.training is not None
    fractional = dataclasses.replace(record.training, steps=10.0)  # type: ignore[arg-type]
    for broken in (
        dataclasses.replace(record, diagnostics={"loss": float("nan")}),
        dataclasses.replace(record, diagnostics={"values": {1, 2}}),  # type: ignore[dict-item]
        dataclasses.replace(record, status="failed"),
        dataclasses.replace(record, training=fractional),
        dataclasses.replace(record, digest="../../etc"),
    ):
        with pytest.raises(RecordError):
            write_record(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_message_that_is_no_text_is_stored(tmp_path: Path) -> None:
    record = read_record(FAILED)
    assert record.error is not None
    error = dataclasses.replace(record.error, message="no file caf\udce9 中")
    path = write_record(dataclasses.replace(record, error=error), tmp_path)
    stored = read_record(path)
    assert stored.error is not None
    assert stored.error.message == "no file caf? 中"


@given(task=st.text(min_size=1), name=st.text(min_size=1))
def test_file_name_is_safe(task: str, name: str) -> None:
    record = read_record(FINISHED)
    method = dataclasses.replace(record.cell.method, name=name)
    cell = dataclasses.replace(record.cell, task=task, method=method)
    file_name = dataclasses.replace(record, cell=cell).file_name
    assert Path(file_name).name == file_name
    assert file_name.isascii()
    assert file_name.isprintable()
    assert file_name[0] not in ".-"
    assert file_name.endswith(f"-{record.digest[:12]}.json")


def test_write_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_record(read_record(FINISHED), tmp_path / "taken")


def test_damaged_files_are_named_kept_and_ignored(tmp_path: Path) -> None:
    good = write_record(read_record(FINISHED), tmp_path)
    cut = tmp_path / "cut.json"
    cut.write_bytes(good.read_bytes()[:100])
    (tmp_path / "folder.json").mkdir()
    (tmp_path / ".0123.tmp").write_text("left by a killed run")
    (tmp_path / "notes.txt").write_text("no record")
    records, warnings = read_records(tmp_path)
    assert records == [read_record(FINISHED)]
    first, second = warnings
    assert first.startswith(f"record {cut} is damaged: Invalid JSON")
    assert second.startswith(f"cannot read record {tmp_path / 'folder.json'}: Is a directory")
    assert cut.exists()


def test_folder_that_does_not_exist_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nothing") == ([], [])


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot list records"):
        read_records(write_json(tmp_path / "file", {}))
