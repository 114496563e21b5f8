"""What listeners hear, through the training loop and through ``--log``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.protocol import Batch, ParameterGroup, Trainable
from bench.runs.loggers import TensorBoard, make_loggers
from bench.training.checkpoints import CheckpointFile
from bench.training.listeners import EvaluationEvent, Listener, ListenerError, TrainingInfo
from bench.training.loop import DivergedError, Trainer, TrainingResult, Validation
from bench.training.settings import TrainingSettings

Bench = Callable[..., Any]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "extending"
INFO = TrainingInfo("d" * 64, "wsc.fixed", "pt", "pt", 16, 42)


class StubModel:
    device = torch.device("cpu")

    @contextmanager
    def training(self) -> Iterator[None]:
        yield


class Counter(Trainable[Any]):
    """Its loss in step n is n."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup("weight", [self.weight], 0.5)]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        return batch.input_ids.float().mean() + 0 * self.weight.sum()

    def diagnostics(self) -> dict[str, Any]:
        return {"group": ["mnli", "qqp"], "scales": {"target": 0.5}, "parts": [1.0, 2.0]}


class Stream:
    examples = 4

    def seen(self, steps: int) -> int:
        return steps

    def batch(self, step: int) -> Batch:
        ids = torch.full((1, 1), step)
        return Batch(ids, torch.ones_like(ids), ids)


class Ears(Listener):
    """Keeps all it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self.heard.append(("start", training, step, total))

    def on_step(self, step: int, total: int) -> None:
        self.heard.append(("step", step, total))

    def on_evaluation(self, event: EvaluationEvent) -> None:
        self.heard.append(("evaluation", event))

    def on_finish(self, result: TrainingResult | None) -> None:
        self.heard.append(("finish", result))


class Fails(Listener):
    """Fails at one event."""

    def __init__(self, event: str) -> None:
        setattr(self, event, self.fail)

    def fail(self, *values: object) -> None:
        raise ValueError("disk\nfull")


SETTINGS = TrainingSettings(
    steps=4,
    epochs=None,
    batch_size=1,
    warmup_steps=0,
    evaluate_every=2,
    gradient_clip=None,
    patience=None,
    evaluation_batch_size=1,
)


def train(
    *listeners: Listener,
    scores: Any = (10.0, 30.0),
    module: Counter | None = None,
    **options: Any,
) -> TrainingResult:
    remaining = iter(scores)
    return Trainer(
        StubModel(),  # type: ignore[arg-type]
        module or Counter(),
        Stream(),
        SETTINGS,
        1,
        lambda: Validation({"accuracy": next(remaining), "f1": 0.0}, 0.5),
        listeners=listeners,
        info=INFO,
        **options,
    ).run()


def test_the_events_of_a_training_in_order() -> None:
    one, two = Ears(), Ears()
    result = train(one, two)
    assert one.heard == two.heard
    names = [event[0] for event in one.heard]
    assert names == ["start", "step", "step", "evaluation", "step", "step", "evaluation", "finish"]
    assert one.heard[0] == ("start", INFO, 0, 4)
    assert one.heard[2] == ("step", 2, 4)
    assert one.heard[-1] == ("finish", result)
    event = one.heard[6][1]
    assert (event.step, event.total, event.loss) == (4, 4, 3.5)  # Mean of the losses 3 and 4.
    assert (event.score, event.best_score, event.best_step) == (15.0, 15.0, 4)
    assert event.scores == {"accuracy": 30.0, "f1": 0.0}
    assert event.valid_label_share == 0.5
    assert event.learning_rates == {"weight": pytest.approx(0.5 / 4)}  # One of four steps left.


def test_an_interrupted_training_goes_on_from_its_step(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    first, second = Ears(), Ears()
    with pytest.raises(StopIteration):
        train(first, scores=(10.0,), checkpoint=file)
    assert first.heard[-1] == ("finish", None)
    train(second, scores=(30.0,), checkpoint=file)
    assert second.heard[0] == ("start", INFO, 2, 4)


@pytest.mark.parametrize("event", ["on_start", "on_step", "on_evaluation", "on_finish"])
def test_a_failing_listener_stops_training_by_name(event: str) -> None:
    ears = Ears()
    with pytest.raises(ListenerError, match=f"listener Fails failed in {event}") as caught:
        train(ears, Fails(event))
    assert "ValueError: disk full" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert ears.heard[-1][0] == "finish"


def test_the_fault_of_the_training_is_not_hidden_by_a_listener() -> None:
    class Explodes(Counter):
        def loss(self, model: Any, batch: Batch) -> Tensor:
            return super().loss(model, batch) * float("nan")

    with pytest.raises(DivergedError):
        train(Fails("on_finish"), module=Explodes())


def test_a_step_does_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a tensor's value is what makes the host wait; only evaluations may."""
    reads: list[int] = []
    ears = Ears()

    def counting(name: str) -> Callable[[Tensor], Any]:
        original = getattr(Tensor, name)

        def read(tensor: Tensor) -> Any:
            if "bench" in Path(sys._getframe(1).f_code.co_filename).parts:  # Not torch's own.
                reads.append(sum(event[0] == "step" for event in ears.heard))
            return original(tensor)

        return read

    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "numpy"):
        monkeypatch.setattr(Tensor, name, counting(name))
    train(ears)
    assert reads  # Evaluations read the mean loss,
    assert set(reads) <= {2, 4}  # and nothing between them does.


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(TensorBoard(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert folder.name == "wsc.fixed-pt-16-42-" + "d" * 12
    found = scalars(folder)
    assert found["training/loss"] == [(2, 1.5), (4, 3.5)]
    assert found["validation/mean"] == [(2, 5.0), (4, 15.0)]
    assert found["validation/accuracy"] == [(2, 10.0), (4, 30.0)]
    assert found["validation/valid_label_share"] == [(2, 0.5), (4, 0.5)]
    assert found["learning_rate/weight"] == [(2, 0.375), (4, 0.125)]
    assert found["diagnostics/scales/target"] == [(2, 0.5), (4, 0.5)]
    assert found["diagnostics/parts/1"] == [(2, 2.0), (4, 2.0)]


def test_tensorboard_hides_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for last in (30.0, 50.0):  # Twice the same training, without a checkpoint.
        train(TensorBoard(tmp_path), scores=(10.0, last))
    (folder,) = tmp_path.iterdir()
    assert scalars(folder)["validation/accuracy"] == [(2, 10.0), (4, 50.0)]


def test_missing_tensorboard_is_told_before_any_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, cell: tuple[object, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    answer = bench(*cell, "--task", "mrpc", "--method", "pt", "--log", "tensorboard")
    assert answer.code == 2
    assert "pip install -c constraints.txt -e '.[tensorboard]'" in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("out").exists()


def test_loggers_run_together_and_a_plugin_is_one(bench: Bench, cell: tuple[object, ...]) -> None:
    pytest.importorskip("tensorboard")
    words = ("--log", "json-lines", "--log", "tensorboard", "--task", "mrpc", "--method", "pt")
    answer = bench(*cell, "--plugin", EXAMPLES / "json_lines.py", *words)
    assert answer.code == 0, answer.err
    (record,) = (json.loads(path.read_text()) for path in Path("out/records").glob("*.json"))
    (file,) = Path("out/logs").glob("*.jsonl")
    assert file.stem.endswith(record["training"]["prompt"][:12])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    curve = [
        {"step": point["step"], "loss": point["loss"], **point["validation"]}
        for point in record["training"]["curve"]
    ]
    assert lines == curve
    logged: Mapping[str, Any] = scalars(file.with_suffix(""))
    assert logged["training/loss"] == [
        (point["step"], pytest.approx(point["loss"])) for point in curve
    ]


def test_a_dry_run_checks_the_names_of_loggers_and_makes_none(
    bench: Bench, tmp_path: Path, cell: tuple[object, ...]
) -> None:
    file = tmp_path / "touch.py"
    file.write_text("LOGGERS = {'touch': lambda folder: 1 / 0}\n")
    words = (*cell, "--task", "mrpc", "--method", "pt", "--dry-run", "--plugin", file)
    assert bench(*words, "--log", "touch").code == 0
    answer = bench(*words, "--log", "touch", "--log", "nonsense")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith("error: unknown logger 'nonsense': ")
    assert not Path("out").exists()


def test_unknown_and_broken_loggers_are_named(bench: Bench, tmp_path: Path) -> None:
    from bench.errors import PluginError, UnknownNameError
    from bench.plugins import use_files

    with pytest.raises(UnknownNameError, match="unknown logger 'tensorbord': did you mean tensorb"):
        make_loggers(["tensorbord"], tmp_path)
    file = tmp_path / "odd.py"
    file.write_text("LOGGERS = {'odd': lambda folder: 3, 'bad': lambda folder: 1 / 0}\n")
    use_files([file])
    with pytest.raises(PluginError, match=r"makes no bench\.training\.listeners\.Listener"):
        make_loggers(["odd"], tmp_path)
    with pytest.raises(PluginError, match=r"'bad' of file odd\.py: cannot be made \(ZeroDivision"):
        make_loggers(["bad"], tmp_path)
