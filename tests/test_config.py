"""Presets, files, options and items merged into one configuration; every fault at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.config import RunConfig, dump_config, load_config
from bench.config_values import PRESETS, read_preset
from bench.errors import ConfigError, ModelError, UnknownNameError
from bench.training.settings import TrainingSettings

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(*items: str, **arguments: Any) -> set[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(items=items, **arguments)
    assert len(caught.value.faults) == len(set(caught.value.faults))
    assert "\n" not in str(caught.value)
    return set(caught.value.faults)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_and_name_themselves(preset: str) -> None:
    assert load_config(preset).preset == preset


def test_smoke_is_the_default_and_needs_no_network() -> None:
    config = load_config()
    assert (config.preset, config.model, config.data) == ("smoke", "tiny", "bundled")


def test_paper_has_the_published_values() -> None:
    config = load_config("paper")
    assert (config.model, config.data, config.suites) == ("google-t5/t5-base", "hub", ("paper",))
    assert len(config.task_names()) == 26
    assert config.methods == ("pt", "spot", "attempt", "mpt", "dtvg")
    assert (config.seeds, config.shots) == ((42, 43, 44), ("full",))
    assert (config.data_seed, config.prompt_length) == (42, 100)
    # The tasks' own input lengths and all validation rows.
    assert (config.input_length, config.validation_rows) == (None, None)
    assert config.sources == ("mnli", "qnli", "qqp", "sst2", "squad", "record")
    assert config.training == TrainingSettings(
        steps=30_000,
        epochs=None,
        batch_size=32,
        warmup_steps=500,
        evaluate_every=1_000,
        gradient_clip=1.0,
        patience=None,
        evaluation_batch_size=128,
    )
    assert config.source_training.steps == 300_000
    assert config.target_training("dtvg").batch_size == 16
    assert config.target_training("dtvg").steps == 30_000
    attempt = config.target_training("attempt")
    assert (attempt.steps, attempt.epochs, attempt.batch_size) == (None, 20, 32)
    # 20 epochs of a few-shot sample would end before the warm-up does.
    few = config.target_training("attempt", few_shot=True)
    assert (few.steps, few.epochs) == (30_000, None)
    assert config.target_training("dtvg", few_shot=True) == config.target_training("dtvg")
    rates = {name: config.method_spec(name).settings.learning_rate for name in config.methods}
    assert rates == dict.fromkeys(config.methods, 0.3)
    decays = {name: config.method_spec(name).settings.weight_decay for name in config.methods}
    assert decays == {**dict.fromkeys(config.methods, 1e-5), "dtvg": 0.0}
    assert config.method_spec("mpt").settings.factor_learning_rate == 0.4
    assert config.method_spec("dtvg").settings.source_scale_learning_rate == 1e-3


def test_paper_has_the_published_values_for_decoder_only_models() -> None:
    config = load_config("paper", options={"model": "tiny-llama"})
    assert config.preset == "paper for decoder-only models"
    assert config.input_length == 256
    stages = (config.training, config.source_training)
    assert [stage.batch_size for stage in stages] == [16, 16]
    for name in config.methods:
        assert config.target_training(name).batch_size == 16
        rates = asdict(config.method_spec(name).settings)
        found = {rate for key, rate in rates.items() if key.endswith("learning_rate")}
        assert found == {1e-3}
    plain = load_config("paper")
    assert config.training.steps == plain.training.steps
    assert config.target_training("attempt").epochs == plain.target_training("attempt").epochs
    assert load_config("paper", options={"model": "tiny"}) == replace(plain, model="tiny")


def test_what_is_given_wins_over_the_values_for_an_architecture(write: Write) -> None:
    file = write("model: tiny-llama\ninput_length: 300\n")
    config = load_config("paper", file, items=["training.batch_size=8"])
    assert (config.input_length, config.training.batch_size) == (300, 8)
    assert config.preset == (
        "paper for decoder-only models with input_length=300, training.batch_size=8"
    )
    other = load_config("paper", file, items=["model=tiny"])  # The last model given counts.
    assert (other.input_length, other.training.batch_size) == (300, 32)
    again = load_config("paper", write(dump_config(config)))
    assert again == config


def test_a_model_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"no model folder at '\./none'") as caught:
        load_config("paper", options={"model": "./none"})
    assert "\n" not in str(caught.value)
    assert load_config(options={"model": "./none"}).preset == "smoke"  # Nothing depends on it.


def test_beams_are_part_of_the_protocol() -> None:
    assert load_config().training.beams == load_config("paper").source_training.beams == 1
    assert load_config(items=["training.beams=1"]).preset == "smoke"
    config = load_config(items=["training.beams=4"])
    assert config.preset == "smoke with training.beams=4"
    assert config.target_training("dtvg").beams == config.source_training.beams == 4


def test_later_sources_win(write: Write) -> None:
    file = write("prompt_length: 7\ntraining: {steps: 8, batch_size: 3}\nseeds: [1]\nshots: [2]\n")
    config = load_config(
        file=file,
        options={"seeds": [5], "shots": [6]},
        items=["training.steps=9", "shots=[full]"],
    )
    assert config.prompt_length == 7
    assert config.training.batch_size == 3
    assert config.seeds == (5,)
    assert config.shots == ("full",)
    assert config.training.steps == 9
    assert config.training.warmup_steps == read_preset("smoke")["training"]["warmup_steps"]


def test_the_label_names_changes_of_the_protocol_alone() -> None:
    config = load_config(
        options={"tasks": ["cb"], "model": "tiny", "seeds": [1]},
        items=["training.steps=9", "prompt_length=20", "method_options.pt.training.batch_size=2"],
    )
    assert config.preset == ("smoke with training.steps=9, method_options.pt.training.batch_size=2")
    both = load_config(items=["source_training.steps=4", "data_seed=1"])
    assert both.preset == "smoke with data_seed=1, source_training.steps=4"


def test_the_label_tells_protocols_apart_and_equal_ones_not() -> None:
    def label(*items: str) -> str:
        return load_config(items=items).preset

    # What the preset lets follow ``training`` is told of once, unless it follows no longer.
    assert label("training.batch_size=3") == "smoke with training.batch_size=3"
    assert label("training.batch_size=3", "source_training.batch_size=3") == label(
        "training.batch_size=3"
    )
    usual = read_preset("smoke")["training"]["batch_size"]
    assert label("training.batch_size=3", f"source_training.batch_size={usual}") == (
        f"smoke with training.batch_size=3, source_training.batch_size={usual}"
    )
    assert label(f"source_training.batch_size={usual}") == "smoke"
    # Equal to ``training``, but not what the preset says.
    steps = read_preset("smoke")["training"]["steps"]
    assert label(f"source_training.steps={steps}") == f"smoke with source_training.steps={steps}"
    assert label("sources=[mnli,qnli,qqp,sst2,squad,record]") == "smoke"
    assert label("sources=[cb]") == "smoke with sources=['cb']"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "items",
    [
        (),
        ("training.steps=3", "shots=[4,full]", "tasks=[cb,stsb]", "tokenizer=here", "device=cpu"),
        (
            "method_options.dtvg.settings.scales=off",
            "method_options.pt.training={steps: null, epochs: 2.5}",
            "sources=[sst2,mnli]",
        ),
    ],
)
def test_dumped_configurations_load_again(
    preset: str, items: tuple[str, ...], write: Write
) -> None:
    config = load_config(preset, items=items)
    again = load_config(preset, write(dump_config(config)))
    assert again == config


def test_tasks_of_suites_come_first_and_once() -> None:
    config = load_config(options={"suites": ["nlg", "nlg"], "tasks": ["cb", "e2e", "cb"]})
    assert config.task_names() == ("e2e", "common_gen", "web_nlg", "cb")


def test_source_training_inherits_what_it_does_not_say() -> None:
    config = load_config(items=["training.batch_size=3", "training.patience=2"])
    smoke = read_preset("smoke")
    assert config.source_training.batch_size == 3
    assert config.source_training.patience == 2
    assert config.source_training.steps == smoke["source_training"]["steps"]
    assert config.source_training.evaluate_every == smoke["source_training"]["evaluate_every"]


def test_source_training_with_steps_does_not_inherit_epochs() -> None:
    config = load_config(items=["training.steps=null", "training.epochs=3"])
    assert (config.training.steps, config.training.epochs) == (None, 3)
    own = read_preset("smoke")["source_training"]["steps"]
    assert (config.source_training.steps, config.source_training.epochs) == (own, None)


def test_source_prompts_take_over_buckets_but_no_source_stage_does() -> None:
    """A stage draws its rows with replacement, so its record must not say otherwise."""
    config = load_config(items=["training.batching=bucketed"])
    assert config.target_training("dtvg").batching == "bucketed"
    assert config.source_training.batching == "bucketed"
    assert config.stage_training("mpt").batching == "random"
    assert config.preset == "smoke with training.batching=bucketed"
    assert load_config("paper").training.batching == "random"


def test_changes_of_single_methods() -> None:
    config = load_config(
        items=[
            "method_options.mpt.training.batch_size=3",
            "method_options.mpt.source_training.steps=7",
            "method_options.mpt.settings.rank=2",
        ]
    )
    assert config.target_training("mpt").batch_size == 3
    assert config.target_training("mpt:rank=3").batch_size == 3
    assert config.target_training("pt") == config.training
    assert config.stage_training("mpt").steps == 7
    assert config.source_training.steps == read_preset("smoke")["source_training"]["steps"]
    assert config.method_spec("mpt").settings.rank == 2
    assert config.method_spec("mpt:rank=3").settings.rank == 3


@pytest.mark.parametrize(("word", "value"), [("off", "off"), ("on", "on"), ("'off'", "off")])
def test_yaml_reads_on_and_off_as_truth_values(word: str, value: str, write: Write) -> None:
    file = write(f"method_options: {{dtvg: {{settings: {{scales: {word}}}}}}}")
    assert load_config(file=file).method_spec("dtvg").settings.scales == value
    items = [f"method_options.dtvg.settings.scales={word}"]
    assert load_config(items=items).method_spec("dtvg").settings.scales == value


def test_three_faults_are_all_named(write: Write) -> None:
    file = write("tasks: [cbb]\nshots: [0]\nmodle: tiny\n")
    assert faults_of(file=file) == {
        "unknown task 'cbb': did you mean cb?",
        "shots.0: expected a whole number of at least 1, or 'full' (given: 0)",
        "modle: unexpected keyword argument (given: 'tiny')",
    }


def test_five_faults_of_five_kinds_are_all_named(write: Write) -> None:
    file = write(
        "training: {batch_size: 0, stepps: 3}\n"
        "method_options: {dtvg: {settings: {groping: all}}, pt: {trainin: {}}}\n"
    )
    faults = faults_of("seeds", file=file, options={"seeds": [1, "x"]})
    assert faults == {
        "--set seeds: expected key=value, such as training.steps=100",
        "seeds.1: input should be a valid integer, unable to parse string as an integer "
        "(given: 'x')",
        "training.batch_size: input should be greater than or equal to 1 (given: 0)",
        "training.stepps: unexpected keyword argument (given: 3)",
        "unknown setting of dtvg 'groping': did you mean grouping?",
        "method_options.pt.trainin: unexpected keyword argument",
    }


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        (["methods=[ptt]"], "unknown method 'ptt': did you mean pt or mpt or spot?"),
        (["suites=[glu]"], "unknown suite 'glu': did you mean glue or superglue?"),
        (["sources=[sst]"], "unknown task 'sst': did you mean sst2"),
        (["method_options.dtvf={}"], "unknown method 'dtvf': did you mean dtvg?"),
        (["method_options.mpt.settings.rnk=2"], "unknown setting of mpt 'rnk': did you mean rank?"),
        (["method_options.pt.training.stps=2"], "method_options.pt.training.stps: unexpected"),
        (["method_options.pt=5"], "method_options.pt: input should be a dictionary"),
        (["method_options.mpt.settings={1: 2}"], "method_options.mpt.settings.1.[key]: input"),
        (["methods=[dtvg:grouping=foo]"], "method 'dtvg:grouping=foo': grouping: input should be"),
        (["methods=[]"], "methods: "),
        (["tasks=rte"], "tasks: input should be a valid tuple (given: 'rte')"),
        (["suites=[]"], "tasks: none given; name a suite or a task"),
        (["seeds=[-1]"], "seeds.0: input should be greater than or equal to 0 (given: -1)"),
        (["shots=[true]"], "shots.0: expected a whole number of at least 1, or 'full'"),
        (["training.epochs=2"], "training: set exactly one of steps and epochs, the other to null"),
        (["training.steps=null"], "training: set exactly one of steps and epochs"),
        (
            ["method_options.pt.training.epochs=2"],
            "method_options.pt.training: set exactly one of steps and epochs",
        ),
        (["training.beams=0"], "training.beams: input should be greater than or equal to 1"),
        (["training.batching=sorted"], "training.batching: input should be 'random' or 'bucketed'"),
        (
            ["method_options.mpt.source_training.batching=bucketed"],
            "method_options.mpt.source_training.batching: a source stage draws its rows with",
        ),
        (["training.gradient_clip=.inf"], "training.gradient_clip: input should be a finite"),
        (["input_length=2"], "input_length: input should be greater than or equal to 8"),
        (["sources=[cb,cb]"], "sources: a task is named twice (given: cb, cb)"),
        (["preset=paper"], "preset: choose it by --preset (given: 'paper')"),
        (["=3"], "--set =3: expected key=value"),
        (["a..b=3"], "--set a..b=3: expected key=value"),
        (["shots=["], "--set shots=[: the value is no valid YAML"),
    ],
)
def test_one_fault_is_one_line_at_its_place(items: list[str], fault: str) -> None:
    (found,) = faults_of(*items)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n", "expected 'key: value' lines"),
        ("a: [\n", "no valid YAML"),
        ("a: \x00\n", "no valid YAML"),
        ("1: 2\n", "1: keys should be strings"),
    ],
)
def test_files_that_are_no_configuration(text: str, fault: str, write: Write) -> None:
    (found,) = faults_of(file=write(text))
    assert fault in found


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (fault,) = faults_of(file=tmp_path / "none.yaml")
    assert fault.startswith(f"configuration {tmp_path / 'none.yaml'}: No such file")


def test_an_empty_file_changes_nothing(write: Write) -> None:
    assert load_config(file=write("# nothing\n")) == load_config()


def test_an_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'papr': did you mean paper"):
        load_config("papr")


def test_merging_leaves_options_as_they_are() -> None:
    options: dict[str, Any] = {"training": {"steps": 3}}
    load_config(options=options, items=["training.steps=4"])
    assert options == {"training": {"steps": 3}}


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_is_not_there(device: str) -> None:
    config = load_config(items=[f"device={device}"])
    with pytest.raises(ConfigError, match=f"device: '{device}' cannot be used here") as caught:
        config.torch_device()
    assert "\n" not in str(caught.value)


def test_every_field_of_a_preset_is_one_of_the_configuration() -> None:
    known = set(RunConfig.__dataclass_fields__)
    for preset in PRESETS:
        assert set(yaml.safe_load(dump_config(load_config(preset)))) == known - {"preset"}
        assert set(read_preset(preset)) <= known
