"""Mutated records, configurations, notes and prompts: whatever is read, errors have a type.

``BENCH_FUZZ`` is the number of mutations for each reader, ``BENCH_FUZZ_SEED`` chooses them.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml

from bench.config import dump_config, load_config
from bench.errors import BenchError
from bench.files import UNSEALED, sealed
from bench.predictions import load_predictions, predictions_file
from bench.records import read_record
from bench.runs.bundle import read_bundle, read_notes
from bench.runs.prompts import PromptCard, PromptStore
from bench.runs.results import ResultFolder
from bench.training.checkpoints import Checkpoint, CheckpointFile, Progress

MUTATIONS = int(os.environ.get("BENCH_FUZZ", "100"))
SEED = int(os.environ.get("BENCH_FUZZ_SEED", "0"))

ROOT = Path(__file__).parent
GOLDEN = ROOT / "reports" / "golden" / "records"
ANSWERED = ROOT / "reports" / "paper" / "golden" / "records"

DEEP = 3000
TOKENS = [
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 400, b"1.5", b"''"),
    *(b'""', b"{}", b"[]", b"[" * DEEP, b'{"a":' * DEEP, b"\xff\xfe", b"\x00", b"\\ud800", b"\n"),
    *(b"2026-99-99", b"0b_", b"!!python/name:os.system", b"&a [*a]", b"<<: 1", b": ", b"- ", b"#"),
    *(b"\xe2\x80\xa8", b"\xc3", b"'", b'"', b"\t", b"..", b"!!binary x", b"!!int x", b"? [1]"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, 1e308, "", "x", "a\nb", "\x00", []),
    *({}, [None], {"": None}, "full", "0" * 64, "../../etc/passwd", [[1]], {"a": {"b": []}}),
    *(["cb"], "é\u2028", "😀" * 50, [1, "a"], [0] * 1000, {"x" * 300: 1}),
]

Mutate = Callable[[random.Random], bytes]


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """One to three changes that know nothing of what the bytes mean."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice([1, 1, 2, 8, 64]))
        kind = draw.randrange(5)
        if kind == 0 and start < len(content):
            content[start] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del content[start:end]
        elif kind == 2:
            content[start:end] = draw.choice(TOKENS)
        elif kind == 3:
            content[start:start] = content[end : end + 200]
        else:
            del content[draw.choice([start, len(content)]) :]
    return bytes(content)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys or indices."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def mutate_values(values: Any, draw: random.Random) -> Any:
    """One to three values are replaced, taken away, put elsewhere or added."""
    changed = copy.deepcopy(values)
    for _ in range(draw.randint(1, 3)):
        found = list(places(changed))
        if not found:
            break
        place, key = draw.choice(found)
        kind = draw.randrange(5)
        if kind == 0:
            del place[key]
        elif kind == 1:
            other, name = draw.choice(found)
            with_other = isinstance(other, dict) and name not in other
            place[key] = None if with_other else copy.deepcopy(other[name])
        elif kind == 2 and isinstance(place, dict):
            place[
                draw.choice(["surprise", "", "a b", key + "s" if isinstance(key, str) else 1])
            ] = copy.deepcopy(draw.choice(VALUES))
        else:
            place[key] = copy.deepcopy(draw.choice(VALUES))
    return changed


def json_of(values: Any, draw: random.Random) -> bytes:
    """Sealed or not, so that a reader cannot stop at the seal."""
    text = json.dumps(values).encode()
    return sealed(text) if draw.random() < 0.5 else text


def mutate_json(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.4:
        return mutate_bytes(data, draw)
    values = json.loads(data)
    if "seal" in values:
        values["seal"] = UNSEALED
    return json_of(mutate_values(values, draw), draw)


def mutate_yaml(text: str, draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return mutate_bytes(text.encode(), draw)
    changed = mutate_values(yaml.safe_load(text), draw)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True).encode()


def mutate_safetensors(data: bytes, draw: random.Random) -> bytes:
    """Changes in the header; its length is put right more often than not."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length], data[8 + length :]
    if draw.random() < 0.5:
        header = mutate_bytes(header, draw)
    else:
        header = json.dumps(mutate_values(json.loads(header), draw)).encode()
    claimed = draw.choice([0, length, 2**63, 2**64 - 1]) if draw.random() < 0.2 else len(header)
    return struct.pack("<Q", claimed) + header + mutate_rest(rest, draw)


def mutate_rest(data: bytes, draw: random.Random) -> bytes:
    return mutate_bytes(data, draw) if draw.random() < 0.1 else data


def check(read: Callable[[random.Random], object]) -> None:
    """What is read is right, or refused with one line."""
    refusals = []
    for number in range(MUTATIONS):
        try:
            read(random.Random(f"{SEED} {number}"))
        except BenchError as error:
            refusals.append(str(error))
        except BaseException as error:
            raise AssertionError(f"mutation {number} of seed {SEED}: {error!r:.300}") from error
    assert [text for text in refusals if len(text.splitlines()) != 1] == []
    # Mutations that change nothing would prove nothing.
    assert len(refusals) > MUTATIONS / 4


def test_records(tmp_path: Path) -> None:
    originals = [path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))]
    path = tmp_path / "record.json"

    def read(draw: random.Random) -> None:
        path.write_bytes(mutate_json(draw.choice(originals), draw))
        read_record(path)

    check(read)


def test_predictions(tmp_path: Path) -> None:
    """The lines, and the record that vouches for them, as in files made on purpose."""
    whole = next(path for path in sorted(ANSWERED.glob("*.json")) if "cb-" in path.name)
    record = read_record(whole)
    packed = (ANSWERED / predictions_file(record)).read_bytes()
    lines = gzip.decompress(packed)
    (tmp_path / "records").mkdir()
    answers = tmp_path / predictions_file(record)

    def read(draw: random.Random) -> None:
        if draw.random() < 0.3:
            answers.write_bytes(mutate_bytes(packed, draw))
            load_predictions(tmp_path, record)
            return
        changed = mutate_bytes(lines, draw)
        if draw.random() < 0.6:
            parts = lines.splitlines()
            index = draw.randrange(len(parts))
            parts[index] = json.dumps(mutate_values(json.loads(parts[index]), draw)).encode()
            changed = b"\n".join(parts) + b"\n"
        answers.write_bytes(gzip.compress(changed, 1))
        values = json.loads(whole.read_bytes())
        values["predictions"]["sha256"] = hashlib.sha256(changed).hexdigest()
        values["seal"] = UNSEALED
        path = tmp_path / "records" / whole.name
        path.write_bytes(sealed(json.dumps(values).encode()))
        load_predictions(tmp_path, read_record(path))

    check(read)


def test_configurations(tmp_path: Path) -> None:
    methods = ("pt", "attempt", "mpt", "dtvg")
    originals = [
        dump_config(load_config(options={"tasks": ["cb"], "methods": [m]})) for m in methods
    ]
    file = tmp_path / "config.yaml"

    def read(draw: random.Random) -> None:
        file.write_bytes(mutate_yaml(draw.choice(originals), draw))
        load_config(file=file)

    check(read)


def test_items() -> None:
    """What stands behind ``--set``, and in the place of a method."""
    items = ["training.steps=100", "shots=[16, full]", "method_options.dtvg.training.steps=5"]
    methods = ["attempt:temperature=2.0", "pt:weight_decay=1.0e-5"]

    def read(draw: random.Random) -> None:
        text = mutate_bytes(draw.choice([*items, *methods]).encode(), draw)
        words = " ".join(text.decode(errors="replace").splitlines())  # Given back as given.
        options: dict[str, Any] = {"tasks": ["cb"]}
        if draw.random() < 0.5:
            load_config(options=options, items=[words])
        else:
            load_config(options=options | {"methods": [words]})

    check(read)


def test_notes_and_bundles(tmp_path: Path) -> None:
    note = {
        "configuration": {"model": "tiny", "seeds": [1, 2]},
        "plugins": [{"kind": "method", "name": "x", "origin": "file x.py"}],
        "environment": {"versions": {"torch": "2.6", "x": None}},
        "cells": ["ab" * 32],
    }
    bundle = {"bundle": 1, "runs": [note], "commands": ["a"], "commits": ["b"], "records": {"c": 1}}
    texts = [yaml.safe_dump(note), yaml.safe_dump(bundle), json.dumps(bundle, indent=1)]
    place = ResultFolder(tmp_path)
    place.configs.mkdir()

    def read(draw: random.Random) -> None:
        file = place.configs / "note.yaml"
        file.write_bytes(mutate_yaml(draw.choice(texts), draw))
        read_notes(place)
        read_bundle(file)

    check(read)


def stored(folder: Path) -> tuple[PromptStore, str]:
    """A store with one prompt."""
    store, digest = PromptStore(folder), "ab" * 32
    card = PromptCard(
        digest=digest,
        form="prompt",
        training={"method": "pt", "task": "cb", "seed": 42, "requires": []},
        initial_digest="cd" * 32,
        trainable_parameters=24,
        rows={"train": 4, "validation": 2, "few_shot": [1, 2]},
        result={"best_score": 50.0, "curve": [{"step": 1, "loss": 0.5}]},
        timing={"training_seconds": 1.0},
        provenance={"git_commit": None},
    )
    store.save(card, {"prompt": torch.ones(6, 4), "other": torch.zeros(2, dtype=torch.float16)})
    return store, digest


def test_cards(tmp_path: Path) -> None:
    store, digest = stored(tmp_path)
    path = tmp_path / f"{digest}.json"
    original = path.read_bytes()

    def read(draw: random.Random) -> None:
        path.write_bytes(mutate_json(original, draw))
        store.cards()
        assert store.load(digest).matrix.shape == (6, 4)

    check(read)


def test_headers_of_prompts(tmp_path: Path) -> None:
    """With a card that vouches for them, as in a store made on purpose."""
    store, digest = stored(tmp_path)
    card, path = tmp_path / f"{digest}.json", tmp_path / f"{digest}.safetensors"
    values, original = json.loads(card.read_bytes()), path.read_bytes()

    def read(draw: random.Random) -> None:
        data = mutate_safetensors(original, draw)
        path.write_bytes(data)
        values.update(sha256=hashlib.sha256(data).hexdigest(), seal=UNSEALED)
        card.write_bytes(sealed(json.dumps(values).encode()))
        assert store.load(digest).matrix.ndim == 2

    check(read)


def test_headers_of_checkpoints(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    parts = [{"prompt": torch.ones(2, 3), "step": torch.tensor(3.0)} for _ in range(3)]
    file.save(Checkpoint(Progress(step=3, curve=[{"step": 1}]), *parts))
    original = file.path.read_bytes()

    def read(draw: random.Random) -> None:
        file.path.write_bytes(mutate_safetensors(original, draw))
        file.load()

    check(read)


def test_safetensors_of_others(tmp_path: Path) -> None:
    from bench.interchange.tensors import read_tensors

    original = safetensors.torch.save({"prompt": torch.ones(6, 4)}, metadata={"a": "b"})
    path = tmp_path / "prompt.safetensors"

    def read(draw: random.Random) -> None:
        path.write_bytes(mutate_safetensors(original, draw))
        read_tensors(path)

    check(read)
