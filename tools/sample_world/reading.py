"""Judging and filling against a text: qnli, boolq, multirc, record."""

from __future__ import annotations

from random import Random

from tools.sample_world.dossier import (
    Fact,
    any_fact,
    any_kind,
    tell_all,
    twin_facts,
    two_subjects,
)
from tools.sample_world.grammar import indefinite, listed, plural, sentence, uncapital
from tools.sample_world.properties import PROPERTIES
from tools.sample_world.sampling import Row
from tools.sample_world.world import COMPANIES, GOODS, KINDS, NAMES, REGIONS, SUBJECTS, TOWNS


def qnli(rng: Random) -> list[Row]:
    """A question and a sentence that answers it 0, or does not 1."""
    label = rng.randrange(2)
    kind = any_kind(rng)
    subject, stranger = two_subjects(rng, kind)
    asked, beside = rng.sample(PROPERTIES[kind], 2)
    # Answered or not, the sentence tells two things of two subjects in the same proportions.
    about = [(subject, asked), (stranger, beside)]
    if label:
        about = [(subject, beside), (stranger, asked)]
    told = [any_fact(rng, kind, *pair, *subject.split(), *stranger.split()) for pair in about]
    first, second = (fact.told(rng).rstrip(".") for fact in rng.sample(told, 2))
    link = rng.choice((", and", ", but", ", while"))
    return [
        {
            "question": any_fact(rng, kind, subject, asked).asked(rng),
            "sentence": f"{first}{link} {uncapital(second)}.",
            "label": label,
        }
    ]


def boolq(rng: Random) -> list[Row]:
    """A yes-or-no question and a passage that may deny something; true 1 (62 %)."""
    label = int(rng.random() < 0.62)
    facts = twin_facts(rng, 2)
    fact, rival = rng.choice(((facts[0], facts[2]), (facts[2], facts[0])))
    denials: list[Fact] = []
    claimed = fact
    if rng.random() < 0.5:
        source = rng.choice((fact, rival))
        wrong = any_fact(rng, fact.kind, source.subject, fact.property, fact.value, rival.value)
        denials = [Fact(fact.kind, source.subject, fact.property, wrong.value, denied=True)]
    if not label:
        wrong_values = [rival.value, *(denial.value for denial in denials)]
        claimed = Fact(fact.kind, fact.subject, fact.property, rng.choice(wrong_values))
    _, lines = tell_all(rng, facts + denials)
    return [{"question": claimed.doubted(), "passage": " ".join(lines), "label": label}]


_TOPICS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("{s} visited {v}", ("Which towns did {s} visit?", "Where did {s} go?"), TOWNS),
    ("{s} met {v}", ("Who met {s}?", "Which friends did {s} meet?"), NAMES),
    ("{s} studied {v}", ("What did {s} study?", "Which subjects did {s} learn?"), SUBJECTS),
    ("{s} worked for {v}", ("Which companies did {s} work for?",), COMPANIES),
    ("{s} travelled through {v}", ("Which regions did {s} see?",), REGIONS),
    (
        "{s} bought {v}",
        ("What did {s} buy?", "Which things did {s} get?"),
        tuple(indefinite(noun) for kind in GOODS for noun in KINDS[kind]),
    ),
    (
        "{s} likes {v}",
        ("Which animals does {s} like?",),
        tuple(plural(noun) for kind in ("mammal", "bird") for noun in KINDS[kind]),
    ),
)
"""What may be told of a person as a list: statement, questions, items."""


def multirc(rng: Random) -> list[Row]:
    """A paragraph, two questions, four answers to each; one to three of them right."""
    people = rng.sample(NAMES, 2)
    lines = []
    asked: list[tuple[str, list[str], list[str]]] = []
    for statement, questions, pool in rng.sample(_TOPICS, 2):
        items = rng.sample([item for item in pool if item not in people], 5)
        split = rng.choice((2, 3))
        for person, part in zip(people, (items[:split], items[split:]), strict=True):
            lines.append(sentence(statement.format(s=person, v=listed(part))))
            asked.append((rng.choice(questions).format(s=person), part, items))
    paragraph = " ".join(rng.sample(lines, len(lines)))
    rows: list[Row] = []
    for number, (question, right, items) in enumerate(rng.sample(asked, 2)):
        for at, answer in enumerate(rng.sample(items, 4)):
            rows.append(
                {
                    "paragraph": paragraph,
                    "question": question,
                    "answer": answer,
                    "idx": {"paragraph": 0, "question": number, "answer": at},
                    "label": int(answer in right),
                }
            )
    return rows


def record(rng: Random) -> list[Row]:
    """A news passage with highlights, and a sentence with a name left out."""
    facts, lines = tell_all(rng, twin_facts(rng, 2))
    at = rng.randrange(len(facts))
    fact = facts[at]
    body = rng.choice((2, 3))
    highlights = "".join(f"\n@highlight\n{line.rstrip('.')}" for line in lines[body:])
    passage = " ".join(lines[:body]) + highlights
    names = {item.value for item in facts if item.value[0].isupper()}
    entities = sorted(names | {item.subject for item in facts})
    gaps = [fact.subject]
    if fact.value in names:
        gaps.append(fact.value)
    answer = rng.choice(gaps)
    query = fact.told(rng, unlike=lines[at]).replace(answer, "@placeholder")
    found = sorted(
        (start, start + len(entity), entity)
        for entity in entities
        for start in range(len(passage))
        if passage.startswith(entity, start)
    )
    return [
        {
            "passage": passage,
            "query": query,
            "entities": entities,
            "entity_spans": {
                "text": [entity for _, _, entity in found],
                "start": [start for start, _, _ in found],
                "end": [end for _, end, _ in found],
            },
            "answers": [answer],
        }
    ]
