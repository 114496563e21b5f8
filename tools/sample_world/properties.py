"""What can be known about people, towns and companies, with the words to tell and ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tools.sample_world.world import (
    COLORS,
    COMPANIES,
    JOBS,
    KINDS,
    NAMES,
    PRODUCTS,
    REGIONS,
    RIVERS,
    SUBJECTS,
    TOWNS,
    YEARS,
)


@dataclass(frozen=True)
class Property:
    """One thing that can be known of a subject.

    Templates are over ``{s}``, the subject, ``{v}``, the value, and ``{a}``, the value with its
    article.

    Attributes:
        name: as in a triple.
        statements: sentences that tell it.
        questions: sentences that ask for the value.
        claim: subject, auxiliary and rest of a clause, for yes-or-no questions and denials.
        phrase: the value described through the subject, for questions of two steps.
        values: what the value can be.
        of: kind of subject that the value is itself, if any.
    """

    name: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    claim: tuple[str, str, str]
    phrase: str
    values: tuple[str, ...]
    of: str | None = None


def _property(block: str, values: tuple[str, ...], of: str | None = None) -> Property:
    """Read a property from five lines: name, statements, questions, claim, phrase."""
    name, *lines = (line.strip() for line in block.strip().splitlines())
    statements, questions, claim = (tuple(p.strip() for p in line.split("|")) for line in lines[:3])
    subject, auxiliary, rest = claim
    return Property(name, statements, questions, (subject, auxiliary, rest), lines[3], values, of)


PETS = tuple(f"{color} {pet}" for color in COLORS[4:8] for pet in KINDS["mammal"][:8])

PROPERTIES: Mapping[str, tuple[Property, ...]] = MappingProxyType(
    {
        "person": (
            _property(
                """birthPlace
                {s} was born in {v}. | {s} comes from {v}. | {s} grew up in {v}.
                Where was {s} born? | In which town was {s} born? | Where did {s} grow up?
                {s} | was | born in {v}
                the town where {s} was born""",
                TOWNS,
                "town",
            ),
            _property(
                """birthYear
                {s} was born in {v}. | The birth year of {s} is {v}.
                When was {s} born? | In what year was {s} born?
                {s} | was | born in {v}
                the birth year of {s}""",
                YEARS,
            ),
            _property(
                """residence
                {s} lives in {v}. | The home of {s} is in {v}. | {s} has a house in {v}.
                Where does {s} live? | In which town does {s} live? | Where is the home of {s}?
                {s} | does | live in {v}
                the town where {s} lives""",
                TOWNS,
                "town",
            ),
            _property(
                """occupation
                {s} works as {a}. | {s} is {a}. | {s} earns money as {a}.
                What is the job of {s}? | What does {s} do for a living? | What does {s} work as?
                {s} | does | work as {a}
                the job of {s}""",
                JOBS,
            ),
            _property(
                """employer
                {s} works for {v}. | {s} has a job at {v}. | {s} is employed by {v}.
                Which company does {s} work for? | Which company employs {s}?
                {s} | does | work for {v}
                the company that {s} works for""",
                COMPANIES,
                "company",
            ),
            _property(
                """instrument
                {s} plays the {v}. | The instrument of {s} is the {v}. | {s} learned the {v}.
                What instrument does {s} play? | Which instrument did {s} learn?
                {s} | does | play the {v}
                the instrument of {s}""",
                KINDS["instrument"],
            ),
            _property(
                """pet
                {s} owns {a}. | {s} has {a} as a pet. | The pet of {s} is {a}.
                What pet does {s} have? | Which animal does {s} own?
                {s} | does | own {a}
                the pet of {s}""",
                PETS,
            ),
            _property(
                """subject
                {s} studied {v}. | {s} has a degree in {v}. | {s} took classes in {v}.
                What did {s} study? | Which subject did {s} study? | In what has {s} a degree?
                {s} | did | study {v}
                the subject that {s} studied""",
                SUBJECTS,
            ),
            _property(
                """spouse
                {s} is married to {v}. | The partner of {s} is {v}.
                Who is {s} married to? | Who is the partner of {s}?
                {s} | is | married to {v}
                the partner of {s}""",
                NAMES,
                "person",
            ),
        ),
        "town": (
            _property(
                """region
                {s} is a town in {v}. | {s} lies in {v}. | {s} belongs to {v}.
                In which region is {s}? | Which region does {s} belong to?
                {s} | does | lie in {v}
                the region of {s}""",
                REGIONS,
            ),
            _property(
                """river
                {s} stands on the river {v}. | The river {v} flows through {s}.
                Which river flows through {s}? | On which river does {s} stand?
                {s} | does | stand on the river {v}
                the river of {s}""",
                RIVERS,
            ),
            _property(
                """founded
                {s} was founded in {v}. | People first settled in {s} in {v}.
                When was {s} founded? | In what year was {s} founded?
                {s} | was | founded in {v}
                the year when {s} was founded""",
                YEARS,
            ),
            _property(
                """mayor
                The mayor of {s} is {v}. | {s} is led by {v}. | {v} is the mayor of {s}.
                Who is the mayor of {s}? | Who leads {s}?
                {v} | is | the mayor of {s}
                the mayor of {s}""",
                NAMES,
                "person",
            ),
            _property(
                """product
                {s} is known for its {v}. | {s} is famous for {v}. | People in {s} make {v}.
                What is {s} known for? | What is {s} famous for? | What do people in {s} make?
                {s} | is | known for {v}
                the product of {s}""",
                PRODUCTS,
            ),
        ),
        "company": (
            _property(
                """headquarter
                {s} has its main office in {v}. | {s} is based in {v}.
                Where is {s} based? | In which town is {s} based?
                {s} | is | based in {v}
                the town where {s} is based""",
                TOWNS,
                "town",
            ),
            _property(
                """founder
                {s} was founded by {v}. | {v} started {s}. | The founder of {s} is {v}.
                Who founded {s}? | Who started {s}? | Who is the founder of {s}?
                {s} | was | founded by {v}
                the founder of {s}""",
                NAMES,
                "person",
            ),
            _property(
                """foundingYear
                {s} was founded in {v}. | {s} opened in {v}.
                When was {s} founded? | In what year did {s} open?
                {s} | was | founded in {v}
                the year when {s} was founded""",
                YEARS,
            ),
            _property(
                """product
                {s} makes {v}. | {s} sells {v}. | The product of {s} is {v}.
                What does {s} make? | What does {s} sell? | What is the product of {s}?
                {s} | does | make {v}
                the product of {s}""",
                PRODUCTS,
            ),
        ),
    }
)
"""What can be known of each kind of subject."""
