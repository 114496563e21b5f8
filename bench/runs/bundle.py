"""The runs behind a result folder in one file, from which they can be repeated elsewhere.

``bench run`` leaves a note of each run in ``configs/``: its configuration, the cells it planned and
the environment it ran in. ``bench freeze`` joins the notes with the commands in the records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from bench.config import RunConfig, plain_config, restore_config
from bench.errors import ConfigError, RecordError
from bench.files import atomic_write
from bench.records import read_records
from bench.registry import method_entry
from bench.runs.environment import differences, environment
from bench.runs.results import ResultFolder
from bench.tasks import task_plugin

if TYPE_CHECKING:
    from bench.runs.grid import Grid

VERSION: Final = 1
STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, config=STRICT)
class PluginNote:
    """A plugin that a run used; not the plugin itself."""

    kind: Literal["method", "task"]
    name: str
    origin: str


@checked(frozen=True, config=STRICT)
class RunNote:
    """One run.

    Attributes:
        configuration: all of it, merged.
        plugins: methods and tasks that are not built in.
        environment: versions, machine, and digests of model, data and code.
        cells: digests of the planned cells, each the name of a record.
    """

    configuration: dict[str, Any]
    plugins: list[PluginNote]
    environment: dict[str, dict[str, str | None]]
    cells: list[str]


@checked(frozen=True, config=STRICT)
class Bundle:
    """What ``bench freeze`` writes.

    Attributes:
        bundle: version of the format.
        runs: whose cells have records in the folder.
        commands: that made the records, the oldest first.
        commits: of the checkouts they ran from, marked where files had been changed.
        records: how many, by status.
    """

    bundle: Literal[1]
    runs: list[RunNote]
    commands: list[str]
    commits: list[str]
    records: dict[str, int]


@dataclass(frozen=True)
class Frozen:
    """A bundle with what could not be found for it, one line each."""

    bundle: Bundle
    warnings: tuple[str, ...]


def note_run(grid: Grid) -> Path:
    """Leave a note of a run in its result folder: ``configs/DIGEST.yaml``, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    config = grid.requested
    names = dict.fromkeys([*config.task_names(), *config.sources])
    found = [task_plugin(name) for name in names]
    found += [method_entry(method).plugin for method in config.methods]
    note = RunNote(
        configuration=plain_config(config),
        plugins=[
            PluginNote(kind=plugin.kind, name=plugin.name, origin=plugin.origin)  # type: ignore[arg-type]
            for plugin in dict.fromkeys(found)
            if plugin is not None
        ],
        environment={k: dict(v) for k, v in environment(grid.plan, config.model).items()},
        cells=[cell.digest for cell in grid.plan.cells],
    )
    data = _yaml(asdict(note)).encode()
    path = grid.folder.configs / f"{hashlib.sha256(data).hexdigest()}.yaml"
    atomic_write(path, data)
    return path


def read_notes(place: ResultFolder) -> tuple[list[RunNote], list[str]]:
    """The notes of all runs of a result folder, and a warning for each that cannot be read."""
    notes, warnings = [], []
    for path in sorted(place.configs.glob("*.yaml")):
        try:
            note: RunNote = _read(path, RunNote, "run again to write it anew")
        except RecordError as error:
            warnings.append(str(error))
        else:
            notes.append(note)
    return notes, warnings


def freeze(folder: Path) -> Frozen:
    """Gather what is behind a result folder.

    Raises:
        RecordError: there are no records, or no notes of the runs that made them.
    """
    place = ResultFolder(folder)
    found, warnings = read_records(place.records)
    if not found:
        raise RecordError(f"{place.records} holds no records; give the --out folder of a run")
    records = {record.digest: record for record in found}
    runs = []
    for path in sorted(place.configs.glob("*.yaml")):
        note: RunNote = _read(path, RunNote, "run again to write it anew")
        if records.keys() & set(note.cells):
            runs.append(note)
    covered = {digest for note in runs for digest in note.cells}
    if not runs:
        raise RecordError(
            f"{place.configs} has no note of the runs behind the records; "
            "give the --out folder itself, or run again with --overwrite always"
        )
    missing = records.keys() - covered
    if missing:
        warnings.append(
            f"{len(missing)} of {len(records)} records come from runs without a note in "
            f"{place.configs}: the bundle leaves them out"
        )
    kept = sorted(
        (record for digest, record in records.items() if digest in covered),
        key=lambda record: (record.timing.started, record.digest),
    )
    sources = [record.provenance for record in kept]
    commits = [
        f"{source.git_commit}{' with changes' if source.git_dirty else ''}"
        for source in sources
        if source.git_commit is not None
    ]
    status = [record.status for record in kept]
    bundle = Bundle(
        bundle=VERSION,
        runs=runs,
        commands=list(dict.fromkeys(source.command for source in sources)),
        commits=list(dict.fromkeys(commits)),
        records={"finished": status.count("finished"), "failed": status.count("failed")},
    )
    return Frozen(bundle, tuple(warnings))


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write a bundle as YAML, or as JSON where the name ends in ``.json``.

    Raises:
        OutputError: the file cannot be written.
    """
    values = asdict(bundle)
    text = json.dumps(values, indent=1) + "\n" if path.suffix == ".json" else _yaml(values)
    atomic_write(path, text.encode())


def read_bundle(path: Path) -> Bundle:
    """Read what :func:`write_bundle` wrote.

    Raises:
        RecordError: the file is missing, damaged, or of another version.
    """
    bundle: Bundle = _read(path, Bundle, "give a file that bench freeze wrote")
    return bundle


@dataclass(frozen=True)
class Repetition:
    """A configuration to run again, and the notes of the runs that had it."""

    config: RunConfig
    notes: tuple[RunNote, ...]


def repetitions(bundle: Bundle, places: Mapping[str, str]) -> list[Repetition]:
    """The configurations of a bundle, each once.

    Args:
        bundle: the runs.
        places: where model, tokenizer or data lie here, if elsewhere than there.

    Raises:
        ConfigError: one cannot be used here, such as for want of a plugin.
    """
    notes: dict[str, list[RunNote]] = {}
    for note in bundle.runs:
        for plugin in note.plugins:
            _require(plugin)
        notes.setdefault(json.dumps(note.configuration, sort_keys=True), []).append(note)
    return [
        Repetition(restore_config(same[0].configuration, places), tuple(same))
        for same in notes.values()
    ]


def compare(repetition: Repetition, grid: Grid) -> list[str]:
    """Where the environment differs from that of the runs, one line each."""
    lines: dict[str, None] = {}
    cells = [cell.digest for cell in grid.plan.cells]
    for note in repetition.notes:
        here = environment(grid.plan, note.configuration["model"])
        lines |= dict.fromkeys(differences(note.environment, here))
        others = set(cells) - set(note.cells)
        if others:
            lines[f"{len(others)} of {len(cells)} cells differ in what decides their result"] = None
    return list(lines)


def _require(plugin: PluginNote) -> None:
    present = task_plugin(plugin.name) if plugin.kind == "task" else None
    if plugin.kind == "method":
        try:
            present = method_entry(plugin.name).plugin
        except ConfigError:
            present = None
    if present is None:
        raise ConfigError(
            f"the bundle uses {plugin.kind} {plugin.name!r} of {plugin.origin}, which is not here: "
            "install its package, or give its file by --plugin"
        )


def _read(path: Path, kind: Any, advice: str) -> Any:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(kind).validate_python(values)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "content"
        raise RecordError(f"{path}: {place}: {fault['msg']}; {advice}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged: no valid YAML; {advice}") from error


def _yaml(values: object) -> str:
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


__all__ = [
    "Bundle",
    "Frozen",
    "PluginNote",
    "Repetition",
    "RunNote",
    "compare",
    "freeze",
    "note_run",
    "read_bundle",
    "read_notes",
    "repetitions",
    "write_bundle",
]
