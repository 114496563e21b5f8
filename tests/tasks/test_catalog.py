"""The declarations of the tasks, built in and from plugins."""

import pickle
from pathlib import Path

import pytest

import bench.tasks
from bench.plugins import use_files
from bench.tasks import SUITES, TASKS, Task, get_suite, get_task
from bench.tasks.declared import declare

# spec/tasks.md: first word of the source, dataset and configuration, split rule, input and answer
# length, scores (the table's first), rows by official split.
PROTOCOL = """
cola cola nyu-mll/glue,cola halve 256 20 matthews_correlation,accuracy 8551/1043/1063
sst2 sst2 nyu-mll/glue,sst2 hold 256 20 accuracy 67349/872/1821
mrpc mrpc nyu-mll/glue,mrpc halve 256 20 accuracy,f1 3668/408/1725
qqp qqp nyu-mll/glue,qqp hold 256 20 accuracy,f1 363846/40430/390965
stsb stsb nyu-mll/glue,stsb halve 256 20 pearson,spearmanr 5749/1500/1379
mnli mnli nyu-mll/glue,mnli mnli 256 20 accuracy 392702/9815/9832
qnli qnli nyu-mll/glue,qnli hold 256 20 accuracy 104743/5463/5463
rte rte nyu-mll/glue,rte halve 256 20 accuracy 2490/277/3000
boolq superglue-boolq aps/super_glue,boolq halve 256 20 accuracy 9427/3270/3245
cb superglue-cb aps/super_glue,cb halve 256 20 accuracy,f1_multiclass 250/56/250
multirc superglue-multirc aps/super_glue,multirc halve 348 20 f1,em 27243/4848/9693
wic superglue-wic aps/super_glue,wic halve 256 20 accuracy 5428/638/1400
wsc.fixed superglue-wsc.fixed aps/super_glue,wsc.fixed halve 256 20 accuracy 554/104/146
record superglue-record aps/super_glue,record hold 256 20 f1,em 100730/10000/10000
squad squad rajpurkar/squad hold 512 20 QA 87599/10570
nq nq lucadiliello/naturalquestionsshortqa hold 512 20 QA 104071/12836
hotpotqa hotpotqa lucadiliello/hotpotqa hold 512 20 QA 72928/5901
searchqa searchqa lucadiliello/searchqa hold 512 20 QA 117384/16980
newsqa newsqa lucadiliello/newsqa hold 512 20 QA 74160/4212
winogrande winogrande allenai/winogrande,winogrande_xl hold 256 20 accuracy 40398/1267/1767
yelp_polarity yelp_polarity fancyzhx/yelp_polarity hold 256 20 accuracy 560000/38000
scitail scitail allenai/scitail,snli_format halve 256 20 accuracy 23596/1304/2126
paws paws google-research-datasets/paws,labeled_final official 256 20 accuracy 49401/8000/8000
e2e e2e tuetschek/e2e_nlg official 128 128 bleu,rougeL,rouge1,rouge2,meteor,OWN 42061/4672/4693
common_gen common_gen allenai/common_gen hold 128 128 ROUGE 67389/4018/1497
web_nlg web_nlg GEM/web_nlg,en official 128 128 ROUGE 35426/1667/1779
"""
PUBLISHED = "bleu_published,rouge1_published,rouge2_published,rougeL_published"
SHORT = {
    "QA": "f1,em,f1_any,em_any",
    "ROUGE": "rougeL,rouge1,rouge2,bleu,meteor,OWN",
    "OWN": ",".join([PUBLISHED, *(f"{name}_first" for name in PUBLISHED.split(","))]),
}


def test_tasks_follow_the_protocol() -> None:
    rules = {"halve-validation": "halve", "hold-out-train": "hold"}
    declared = []
    for task in TASKS:
        place = ",".join(filter(None, (task.repository, task.config)))
        rule = rules.get(task.split_rule, task.split_rule)
        counts = "/".join(map(str, task.rows.values()))
        lengths, metrics = (task.input_length, task.target_length), ",".join(task.metrics)
        row = (task.name, task.published_name, place, rule, *lengths, metrics, counts)
        declared.append(tuple(map(str, row)))
    text = PROTOCOL.strip()
    for name, metrics in SHORT.items():
        text = text.replace(f" {name} ", f" {metrics} ").replace(f",{name} ", f",{metrics} ")
    assert declared == [tuple(line.split()) for line in text.splitlines()]
    assert list(TASKS) == bench.tasks.list_tasks()


# spec/methods.md: what the published code computes on validation, and chooses checkpoints by.
SELECTION = {"cola": "matthews_correlation", "multirc": "f1", "cb": "accuracy,f1_multiclass"}
SELECTION |= dict.fromkeys(("mrpc", "qqp"), "accuracy,f1") | {"stsb": "pearson,spearmanr"}
SELECTION |= dict.fromkeys((*SUITES["mrqa"], "record"), "f1,em")
SELECTION |= dict.fromkeys(SUITES["nlg"], PUBLISHED)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_declaration_is_complete(task: Task) -> None:
    assert len(set(task.columns)) == len(task.columns) > 0
    selection = task.selection_metrics or task.metrics
    assert ",".join(selection) == SELECTION.get(task.name, "accuracy")
    assert pickle.loads(pickle.dumps(task)).repository == task.repository
    assert (task.label_of is not None) == (task.labels is not None or task.name == "stsb")


def test_suites_hold_every_task_once() -> None:
    parts = ("glue", "superglue", "mrqa", "others", "nlg")
    assert [len(SUITES[part]) for part in parts] == [8, 6, 5, 4, 3]
    assert [name for part in parts for name in SUITES[part]] == [*SUITES["paper"]]
    assert set(bench.tasks.list_suites()) == {*parts, "sources", "paper"}


def test_exceptions_of_the_protocol() -> None:
    assert get_task("yelp_polarity").splits == ("train", "test")
    assert get_task("mnli").splits == ("train", "validation_mismatched", "validation_matched")
    capped = {task.name: task.max_training_rows for task in TASKS if task.max_training_rows}
    assert capped == {"yelp_polarity": 100_000}
    assert {task.name for task in TASKS if task.group_by_source} == set(SUITES["nlg"])
    assert {task.name for task in TASKS if task.source_only} == {"squad", "record"}
    assert {task.name for task in TASKS if task.labels and len(task.labels) == 3} == {"mnli", "cb"}


TASK = """
from bench.tasks.declared import declare
from bench.tasks.readers import READERS
KEYS = {"reader": READERS["wsc"], "labels": [0, 1], "rows": {"train": 1000, "validation": 200}}
KEYS |= {"suites": ["glue", "shop"], "hub": "me/reviews@" + "0123456789" * 4}
TASKS = {"reviews": declare("reviews", KEYS)}
"""


def test_a_plugin_task_joins_suites(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TASK, encoding="utf-8")
    use_files([tmp_path / "mine.py"])
    task = get_task("reviews")
    assert bench.tasks.list_tasks() == [*TASKS, task]
    assert (get_suite("shop"), get_suite("glue")[-2:]) == (("reviews",), ("rte", "reviews"))
    assert "reviews" not in get_suite("paper")
    assert (task.metrics, task.version) == (("accuracy",), 1)
    assert (task.labels, task.label_of({"label": 1})) == (("0", "1"), 1)
    origins = [getattr(bench.tasks.task_plugin(n), "origin", None) for n in ("reviews", "rte")]
    assert origins == ["file mine.py", None]


def test_files_lie_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"template": "{text}", "files": {"train": "a.csv", "validation": "b.csv"}}
    assert declare("mine", keys).files["train"] == tmp_path / "a.csv"
