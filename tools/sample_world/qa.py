"""Answers from a passage: squad, nq, hotpotqa, searchqa, newsqa; each has a rival answer."""

from __future__ import annotations

import re
from random import Random

from tools.sample_world.dossier import (
    Fact,
    any_fact,
    tell_all,
    twin_facts,
    two_subjects,
)
from tools.sample_world.grammar import capital, sentence, uncapital
from tools.sample_world.properties import PROPERTIES
from tools.sample_world.sampling import Row
from tools.sample_world.world import NAMES, NUMBERS, REGIONS, TOWNS, WEEKDAYS, word_list


def squad(rng: Random) -> list[Row]:
    """A passage on two subjects and a question on one of them."""
    facts, lines = tell_all(rng, twin_facts(rng, rng.choice((2, 2, 3))))
    at = rng.randrange(len(facts))
    fact = facts[at]
    start = len(" ".join([*lines[:at], ""])) + lines[at].rindex(fact.value)
    return [
        {
            "title": fact.subject.replace(" ", "_"),
            "context": " ".join(lines),
            "question": fact.asked(rng),
            "answers": {"text": [fact.value], "answer_start": [start]},
        }
    ]


def _mrqa(context: str, question: str, answer: str) -> Row:
    """A row of the MRQA tasks, with all places of the answer, first to last letter."""
    found = [match.span() for match in re.finditer(rf"\b{re.escape(answer)}\b", context)]
    starts, ends = [start for start, _ in found], [end - 1 for _, end in found]
    return {
        "context": context,
        "question": question,
        "answers": [answer],
        "labels": [{"start": starts, "end": ends}],
    }


def nq(rng: Random) -> list[Row]:
    """A question as typed into a search box, and a passage."""
    facts, lines = tell_all(rng, twin_facts(rng, 2))
    fact = rng.choice(facts)
    return [_mrqa(" ".join(lines), uncapital(fact.asked(rng)).rstrip("?"), fact.value)]


def hotpotqa(rng: Random) -> list[Row]:
    """A question in two steps: through a person's town, company or partner to its property."""
    kind = rng.choice(("person", "person", "company"))
    link = rng.choice([prop for prop in PROPERTIES[kind] if prop.of])
    one, two = two_subjects(rng, kind)
    first = any_fact(rng, kind, one, link, *two.split())
    second = any_fact(rng, kind, two, link, *one.split(), first.value)
    middle = str(link.of)
    goal = rng.choice(PROPERTIES[middle])
    taken = (*one.split(), *two.split(), first.value, second.value)
    answer = any_fact(rng, middle, first.value, goal, *taken)
    rival = any_fact(rng, middle, second.value, goal, *taken, answer.value)
    lines = [fact.told(rng) for fact in rng.sample((first, second, answer, rival), 4)]
    question = answer.asked(rng, link.phrase.format(s=one))
    return [_mrqa(" ".join(lines), question, answer.value)]


def searchqa(rng: Random) -> list[Row]:
    """A quiz clue that describes somebody, and search snippets; the answer is the name."""
    facts = twin_facts(rng, 2)
    mine: list[Fact] = rng.choice((facts[:2], facts[2:]))
    stand_in = f"this {mine[0].kind}"
    clue = " , and ".join(uncapital(fact.told(rng, stand_in)).rstrip(".") for fact in mine)
    snippets = [fact.told(rng) for fact in rng.sample(facts, len(facts))]
    return [_mrqa(" ... ".join(snippets), capital(clue), mine[0].subject)]


_INCIDENTS = {
    "fire": ("destroyed", "burned down"),
    "storm": ("damaged", "hit"),
    "flood": ("closed", "reached"),
    "blast": ("shook", "damaged"),
    "robbery": ("shocked", "closed"),
    "power cut": ("stopped", "closed"),
}
_CAUSES = (
    "a candle",
    "a gas leak",
    "heavy rain",
    "strong wind",
    "a broken pipe",
    "an old cable",
    "two thieves",
    "a hot oven",
)
_SITES = word_list("library school museum hotel bridge station market harbor theater hospital")


def newsqa(rng: Random) -> list[Row]:
    """A short news report and a question on it; places, days, numbers and names come in pairs."""
    town, far = rng.sample(TOWNS, 2)
    event = rng.choice(tuple(_INCIDENTS))
    site = rng.choice(_SITES)
    cause = rng.choice(_CAUSES)
    day, later = rng.sample(WEEKDAYS, 2)
    hurt, saved = rng.sample(NUMBERS[1:], 2)
    leader, witness = rng.sample(NAMES, 2)
    # Sentence of the report (any one of the wordings), then questions on it with their answers.
    parts: list[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = [
        (
            (f"a {event} {rng.choice(_INCIDENTS[event])} the {site} on {day}",),
            (
                (f"When did the {event} happen?", day),
                (f"On what day was the {event}?", day),
                (f"What place did the {event} hit?", site),
                (f"In which town did the {event} happen?", town),
            ),
        ),
        (
            (f"{hurt} people were hurt", f"doctors treated {hurt} people"),
            (("How many people were hurt?", hurt), ("How many people did doctors treat?", hurt)),
        ),
        (
            (f"{saved} people were rescued", f"firemen saved {saved} people"),
            (("How many people were saved?", saved), ("How many people were rescued?", saved)),
        ),
        (
            (f"police said the cause was {cause}", f"it began with {cause}, police said"),
            (("What was the cause?", cause), (f"What caused the {event}?", cause)),
        ),
        (
            (f"the {site} will open again on {later}", f"work will start again on {later}"),
            (("When will it open again?", later), ("When will work start again?", later)),
        ),
        (
            (f"{witness}, who lives in {far}, saw it", f"{witness} from {far} was a witness"),
            (
                ("Who was the witness?", witness),
                (f"Who saw the {event}?", witness),
                ("Where does the witness live?", far),
                (f"Where does {witness} live?", far),
            ),
        ),
        (
            (f"Mayor {leader} asked for help", f"{leader}, the mayor, visited the {site}"),
            (("Who is the mayor?", leader), (f"Who is the mayor of {town}?", leader)),
        ),
    ]
    used = [parts[0], *(part for part in parts[1:] if rng.random() < 0.7)]
    body = " ".join(sentence(rng.choice(wordings)) for wordings, _ in used)
    question, answer = rng.choice(rng.choice(used)[1])
    context = f"{town} ({rng.choice(REGIONS)} News) -- {body}"
    return [_mrqa(context, question, answer if answer in context else capital(answer))]
