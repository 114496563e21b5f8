"""Presets, files, options and items merged into one configuration; every fault at once."""

from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, dump_config, load_config
from bench.errors import ConfigError, ModelError
from bench.grid import make_grid
from bench.registry import parse_method
from bench.store import ResultStore
from bench.tasks import SUITES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def faults_of(*items: str, **arguments: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(items=items, **arguments)
    assert len(caught.value.faults) == len(set(caught.value.faults))
    assert "\n" not in str(caught.value)
    assert "nput should" not in str(caught.value)
    return list(caught.value.faults)


def test_paper_has_the_published_values() -> None:
    config = load_config("paper")
    assert (config.model, config.data, config.suites) == ("google-t5/t5-base", "hub", ("paper",))
    assert len(config.task_names()) == 26
    assert config.methods == ("pt", "spot", "attempt", "mpt", "dtvg")
    assert (config.seeds, config.shots) == ((42, 43, 44), ("full",))
    assert (config.data_seed, config.prompt_length) == (42, 100)
    assert (config.input_length, config.validation_rows) == (None, None)
    assert config.sources == ("mnli", "qnli", "qqp", "sst2", "squad", "record")
    assert (config.training.gradient_clip, config.training.beams) == (1.0, 1)
    # 20 epochs of a few-shot sample would end before the warm-up does.
    assert config.target_training("attempt", few_shot=True) == config.training
    assert config.target_training("dtvg", few_shot=True) == config.target_training("dtvg")
    e2e = config.for_task("e2e")
    assert e2e.target_training("pt", few_shot=True) == config.training
    assert not config.method_spec("attempt").settings.train_norm


def test_paper_has_the_published_values_for_decoder_only_models() -> None:
    config, plain = load_config("paper", options={"model": "tiny-llama"}), load_config("paper")
    assert (config.preset, config.input_length) == ("paper for decoder-only models", 256)
    assert config.training.batch_size == config.source_training.batch_size == 16
    for name in config.methods:
        assert config.target_training(name).batch_size == (4 if name == "spot" else 16)
    assert config.training.steps == plain.training.steps
    assert config.target_training("attempt").epochs == plain.target_training("attempt").epochs
    other = load_config("paper", options={"model": "tiny"})
    assert other == plain.model_copy(update={"model": "tiny"})


def test_given_values_win_over_those_for_an_architecture(file: Path) -> None:
    file.write_text("model: tiny-llama\ninput_length: 300\n")
    config = load_config("paper", file, items=["training.batch_size=8"])
    changes = "input_length=300, training.batch_size=8"
    assert config.preset == f"paper for decoder-only models with {changes}"
    other = load_config("paper", file, items=["model=tiny"])  # The last model given counts.
    assert (other.input_length, other.training.batch_size) == (300, 32)


def test_a_model_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"\A[^\n]*'\./none'[^\n]*\Z"):
        load_config("paper", options={"model": "./none"})
    assert load_config(options={"model": "./none"}).preset == "smoke"  # Nothing depends on it.


def test_later_sources_win(file: Path) -> None:
    file.write_text("prompt_length: 7\ntraining: {steps: 8, batch_size: 3}\nseeds: [1]\n")
    options = {"seeds": [5], "shots": [6]}
    config = load_config(file=file, options=options, items=["training.steps=9", "shots=[full]"])
    assert (config.prompt_length, config.seeds, config.shots) == (7, (5,), ("full",))
    assert (config.training.steps, config.training.batch_size) == (9, 3)
    assert config.training.warmup_steps == load_config().training.warmup_steps


def test_a_key_is_given_once(file: Path) -> None:
    file.write_text("tasks: [cb]\nseeds: [1]\ntasks: [rte]\n")
    with pytest.raises(ConfigError, match=r"'tasks' twice.*line 1"):
        load_config(file=file)


def test_given_tasks_replace_those_of_the_preset(file: Path) -> None:
    file.write_text("tasks: [cb]")
    assert load_config("laptop", file).task_names() == ("cb",)
    suite = load_config("laptop", items=["suites=[sources]"])
    assert suite.task_names() == SUITES["sources"]
    assert len(load_config("laptop").task_names()) > 1


SIZES = "source_training.batch_size=16, training.batch_size=3"
OWN = "method_options.pt.settings.learning_rate"
CLIP = "method_options.pt.training.gradient_clip"
MPT = "method_options.mpt.settings"
NLG = "suite_options.nlg"


@pytest.mark.parametrize(
    ("items", "changes"),
    [
        ([], ""),
        (["tasks=[cb]", "model=tiny", "seeds=[1]", "device=cpu", "prompt_length=20"], ""),
        (["source_training.steps=4", "data_seed=1"], "data_seed=1, source_training.steps=4"),
        # What follows ``training`` is named once, unless it follows no longer.
        (["training.batch_size=3"], "training.batch_size=3"),
        (SIZES.split(", "), SIZES),
        (["sources=[cb]"], "sources=['cb']"),
        # Values count as they are after validation.
        (["training.gradient_clip=5e-1"], "training.gradient_clip=0.5"),
        ([f"{NLG}.training.gradient_clip=1"], f"{NLG}.training.gradient_clip=1.0"),
        ([f"{NLG}.{OWN}=1e-3"], f"{NLG}.{OWN}=0.001"),
        ([f"{OWN}=1e-3"], f"{OWN}=0.001"),
        ([f"{CLIP}=1e-3"], f"{CLIP}=0.001"),
        ([f"{MPT}={{weight_decay: 0.2, eps: 0.1}}"], f"{MPT}.eps=0.1, {MPT}.weight_decay=0.2"),
    ],
)
def test_the_label_names_changes_of_the_protocol(items: list[str], changes: str) -> None:
    assert load_config(items=items).preset == ("smoke with " + changes if changes else "smoke")


@pytest.mark.parametrize(
    "items",
    [
        (),
        ("training.steps=3", "shots=[4,full]", "tasks=[cb,stsb]", "device=cpu"),
        ("method_options.dtvg.settings.scales=off", "sources=[sst2,mnli]"),
        ("method_options.pt.training={steps: null, epochs: 2.5}", "training.gradient_clip=1e-3"),
        ("suite_options.glue={method_options: {dtvg: {settings: {scales: off}}}}",),
    ],
)
@pytest.mark.parametrize("origin", ["smoke tiny", "paper google-t5/t5-base", "paper tiny-llama"])
def test_dumps_load_again(origin: str, items: tuple[str, ...], file: Path) -> None:
    preset, model = origin.split()
    config = load_config(preset, options={"model": model}, items=items)
    file.write_text(dump_config(config))
    assert load_config(file=file) == config  # The label included.
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config  # As for workers.


def test_source_training_inherits_what_it_does_not_say() -> None:
    config = load_config(items=["training.batch_size=3", "training.patience=2"])
    assert (config.source_training.batch_size, config.source_training.patience) == (3, 2)
    assert (config.source_training.steps, config.source_training.evaluate_every) == (150, 75)
    config = load_config(items=["training.steps=null", "training.epochs=3"])
    assert (config.training.steps, config.training.epochs) == (None, 3)
    assert (config.source_training.steps, config.source_training.epochs) == (150, None)
    shares = ["training.warmup_steps=null", "training.warmup_share=0.5"]
    config = load_config(items=[*shares, "source_training.warmup_steps=4"])
    assert (config.training.warmup(10), config.source_training.warmup(10)) == (40, 4)
    config = load_config(items=["training.batching=bucketed"])
    assert config.target_training("dtvg").batching == config.source_training.batching == "bucketed"
    assert config.stage_training("mpt").batching == "random"


def test_all_faults_are_named_at_once(file: Path) -> None:
    file.write_text(
        "tasks: [cbb]\nshots: [0]\nmodle: tiny\ntokenizer: here\n"
        "training: {batch_size: 0, stepps: 3}\n"
        "method_options: {dtvg: {settings: {groping: all}}, pt: {trainin: {}}}\n"
    )
    faults = faults_of("seeds", file=file, options={"seeds": [1, "x"]})
    steps, pt = ("training.steps", "epochs", "warmup_steps"), "method_options.pt."
    keys = ("training", "source_training", "few_shot_training")
    tokenizer = next(fault for fault in faults if fault.startswith("unknown key 'tokenizer': "))
    assert set(faults) - {tokenizer} == {
        "--set seeds: expected key=value, such as training.steps=100",
        "unknown task 'cbb': did you mean cb?",
        "shots.0: expected a whole number of at least 1, or 'full' (given: 0)",
        "unknown key 'modle': did you mean model or methods?",
        "seeds.1: expected a whole number (given: 'x')",
        "training.batch_size: expected at least 1 (given: 0)",
        f"unknown key 'training.stepps': did you mean {' or training.'.join(steps)}?",
        "unknown setting of dtvg 'groping': did you mean grouping?",
        f"unknown key '{pt}trainin': did you mean {' or '.join(f'{pt}{k}' for k in keys)}?",
    }


STAGE = "method_options.mpt.source_training.batching"


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ("methods=[ptt]", "unknown method 'ptt': did you mean pt or mpt or "),
        ("sources=[sst]", "unknown task 'sst': did you mean sst2"),
        ("method_options.pt.training.stps=2", "unknown key 'method_options.pt.training.stps': did"),
        ("method_options={'pt:eps=1': {}}", "method_options.pt:eps=1: options hold for all"),
        ("method_options.pt=5", "method_options.pt: expected 'key: value' entries (given: 5)"),
        ("methods=[dtvg:grouping=foo]", "method 'dtvg:grouping=foo': grouping: expected 'full'"),
        ("methods=[fixed]", "method 'fixed': prompt: name a stored prompt"),
        ("methods=[]", "methods: expected at least one (given: "),
        ("tasks=rte", "tasks: expected a list (given: 'rte')"),
        ("model=[a]", "model: expected text (given: ['a'])"),
        ("suites=[]", "tasks: none given; name a suite or a task"),
        ("seeds=[-1]", "seeds.0: expected at least 0 (given: -1)"),
        ("shots=[true]", "shots.0: expected a whole number of at least 1, or 'full'"),
        ("training.epochs=2", "training: set exactly one of steps and epochs, the other to null"),
        ("method_options.pt.training.epochs=2", "method_options.pt.training: set exactly one of"),
        ("training.warmup_share=.1", "training: set exactly one of warmup_steps and warmup_share"),
        ("training.evaluate_every=0", "training.evaluate_every: expected a whole number of at le"),
        ("suite_options.nlgg.training={}", "unknown suite 'nlgg': did you mean nlg"),
        (f"{NLG}.seeds=[1]", f"{NLG}.seeds.[key]: expected 'training' or 'method_options'"),
        (f"{NLG}.training=5", f"{NLG}: training: expected 'key: value' entries (given: 5)"),
        (f"{NLG}.method_options=5", f"{NLG}: method_options: expected 'key: value' entries (gi"),
        (f"{NLG}.method_options.pt.training.x=1", f"{NLG}: unknown key 'method_options.pt.train"),
        (f"{NLG}.method_options.mpt.settings.rnk=1", f"{NLG}: unknown setting of mpt 'rnk'"),
        ("training.steps=1.5", "training.steps: expected a whole number (given: 1.5)"),
        ("training.batching=sorted", "training.batching: expected 'random' or 'bucketed' (given"),
        (f"{STAGE}=bucketed", f"{STAGE}: a source stage draws its rows with"),
        ("training.gradient_clip=.inf", "training.gradient_clip: expected a finite number"),
        ("input_length=2", "input_length: expected at least 8 (given: 2)"),
        ("sources=[cb,cb]", "sources: a task is named twice (given: cb, cb)"),
        ("source_prompts.cb=abcd", "source_prompts: cb is none of the sources (mnli, "),
        ("preset=paper", "preset: choose it by --preset (given: 'paper')"),
        ("=3", "--set =3: expected key=value"),
        ("shots=[", "--set shots=[: the value is no valid YAML"),
    ],
)
def test_one_fault_is_one_line_at_its_place(item: str, fault: str) -> None:
    (found,) = faults_of(item)
    assert found.startswith(fault)


def test_files_that_are_no_configuration(file: Path) -> None:
    contents: dict[Any, str] = {b"- cb": "expected 'key: value' lines"}
    contents |= {None: "No such file or directory; check the path"}
    contents |= dict.fromkeys((b"tasks: [", b"\xff\xfe\x00", b"[" * 500), "no valid YAML (")
    for content, fault in contents.items():
        file.unlink(missing_ok=True) if content is None else file.write_bytes(content)
        (found,) = faults_of(file=file)
        assert found.startswith(f"configuration {file}: {fault}")


@pytest.mark.parametrize(
    ("text", "options", "written", "values"),
    [
        ("dtvg", {}, "dtvg", {"grouping": "full", "scales": "on"}),
        ("pt:learning_rate=1e-3", {}, "pt:learning_rate=0.001", {"learning_rate": 0.001}),
        # What is the default anyway is no variant.
        ("dtvg:grouping=full,solver=greedy", {}, "dtvg", {"grouping": "full"}),
        ("dtvg:solver=exact,grouping=all", {}, "dtvg:grouping=all,solver=exact", {}),
        ("dtvg:scales=off", {}, "dtvg:scales=off", {"scales": "off"}),
        ("dtvg:scales=on", {"scales": "off"}, "dtvg:scales=on", {"scales": "on"}),
        # Settings of the configuration count, but are no part of the label.
        ("dtvg", {"scales": False}, "dtvg", {"scales": "off"}),
        ("dtvg:grouping=all", {"scales": False}, "dtvg:grouping=all", {"scales": "off"}),
        ("attempt:temperature=null", {"temperature": 2.0}, "attempt:temperature=null", {}),
        ("attempt:train_norm=false", {}, "attempt:train_norm=False", {"train_norm": False}),
        # An id of digits alone is text.
        ("fixed:prompt=12345678", {}, "fixed:prompt=12345678", {"prompt": "12345678"}),
    ],
)
def test_variants(text: str, options: dict[str, Any], written: str, values: dict[str, Any]) -> None:
    before = dict(options)
    spec = parse_method(text, options)
    assert (spec.name, spec.label) == (text.partition(":")[0], written)
    assert values.items() <= spec.values().items()
    assert options == before
    if not options:  # A label names an equal method.
        assert parse_method(written, {}) == spec


MIXED = "method 'mpt:rnk=2,=3,x': expected mpt:key=value, got"
MANY = f"mpt:rank={'|'.join(map(str, range(1, 1002)))}"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("dtvf", ["unknown method 'dtvf': did you mean dtvg?"]),
        (":rank=2", ["unknown method '': choose from attempt, dtvg, fixed, mpt, no_prompt, pt, s"]),
        ("mpt:rank=two", ["method '{}': rank: expected a whole number (given: 'two')"]),
        ("dtvg:", ["method '{}': expected dtvg:key=value, got ''"]),
        ("pt:learning_rate", ["method '{}': expected pt:key=value, got 'learn"]),
        ("pt:learning_rate=[", ["method '{}': learning_rate: no valid YAML"]),
        ("pt:learning_rate=.inf", ["method '{}': learning_rate: expected a f"]),
        ("mpt:rnk=2,=3,x", [f"{MIXED} '=3'", f"{MIXED} 'x'", "unknown setting of mpt 'rnk': did"]),
        ("fixed:prompt=a|b", ["method '{}': fixed trains nothing, so give one value, without '|'"]),
        ("pt:learning_rate=0.1|", ["method '{}': learning_rate: a value beside '|' is missing"]),
        ("pt:learning_rate=1|x", ["method '{}': learning_rate: expected a number (given: 'x')"]),
        ("dtvg:grouping=all|al", ["method '{}': grouping: expected "]),
        (MANY, ["method '{}': more than 1000 combinations"]),
    ],
)
def test_faults_of_methods_are_one_line_each(text: str, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_method(text, {})
    assert "\n" not in str(caught.value)
    for found, start in zip(caught.value.faults, faults, strict=True):
        assert found.startswith(start.replace("{}", text))


@pytest.mark.parametrize("preset", ["smoke", "paper"])
def test_the_last_suite_of_a_file_wins(preset: str, file: Path) -> None:
    """Also over a preset that has options for the first one."""
    steps = "{training: {steps: %d, epochs: null, evaluate_every: 10}}"
    options = [
        f"  {suite}: {{method_options: {{pt: {steps % n}}}}}\n"
        for suite, n in (("nlg", 70), ("paper", 50))
    ]
    for lines, expected in ((options, 50), (options[::-1], 70)):
        file.write_text("suite_options:\n" + "".join(lines))
        config = load_config(preset, file, {"tasks": ["e2e"]})
        assert config.for_task("e2e").target_training("pt").steps == expected
        file.write_text(dump_config(config))
        assert load_config(file=file).for_task("e2e").target_training("pt").steps == expected


def test_options_of_a_suite_count_for_its_tasks_alone(tmp_path: Path) -> None:
    glue = "suite_options.glue"
    items = ["training.batch_size=3", "source_training.batch_size=7", "sources=[mnli]"]
    items += [f"{glue}.training={{batch_size: 4, patience: 9}}", "methods=[dtvg]", "suites=[]"]
    items += ["method_options.pt.training.batch_size=5", "tasks=[cb,rte,mnli]"]
    items += ["method_options.dtvg.settings.scales=off"]
    items += [f"{glue}.method_options.pt.training.patience=2"]
    items += [f"{glue}.method_options.dtvg.settings.grouping=all"]
    items += [f"{glue}.method_options.pt.settings.learning_rate=0.5"]
    items += ["suite_options.sources.training.batch_size=6"]
    grid = make_grid(load_config(items=items), ResultStore(tmp_path))
    found = {}
    for run in grid.runs.values():
        settings, training = run.method.settings, run.training
        own = getattr(settings, "grouping", settings.learning_rate)
        found[run.task, run.method.name, run.shots] = (training.batch_size, training.patience, own)
        assert getattr(settings, "scales", "off") == "off"
    assert found == {
        ("mnli", "pt", None): (7, None, 0.3),  # The source prompt.
        **{("cb", "pt", 16): (5, None, 1.0), ("cb", "dtvg", 16): (3, None, "full")},
        **{("rte", "pt", 16): (5, 2, 0.5), ("rte", "dtvg", 16): (4, 9, "all")},
        # In both suites: the later one wins.
        **{("mnli", "pt", 16): (5, 2, 0.5), ("mnli", "dtvg", 16): (6, 9, "all")},
    }
