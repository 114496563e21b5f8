from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.reports import Results, render_tables
from bench.reports.sheets.markdown import escape

MakeResults = Callable[..., Results]

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PLAIN = {"text", "text_special"}
NASTY = st.text(st.sampled_from("ab_*|`\\<>[]()~$&#!-: \n1.\t;"), max_size=30)


def shown(text: str) -> list[list[str]]:
    """The visible text of each cell of the table in a Markdown text, row by row."""
    rows: list[list[str]] = []
    for before, token in itertools.pairwise(PARSER.parse(text)):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and before.type in ("th_open", "td_open"):
            assert token.children is not None
            assert {child.type for child in token.children} <= PLAIN, text
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def one_line(text: str) -> str:
    return " ".join(text.split())


@given(NASTY)
@example("a_b __init__ _x_ pt|spot <b>&amp; [x](y) `code` ~~gone~~ $x$ \\")
def test_any_text_is_shown_as_it_stands(text: str) -> None:
    rows = shown(f"| head |\n|---|\n| x{escape(text)}x |\n")
    assert rows == [["head"], [f"x{one_line(text)}x"]]


def test_common_names_stay_readable() -> None:
    text = "yelp_polarity dtvg:grouping=all,top_k=3"
    assert escape(text) == text


def test_characters_that_cannot_be_seen_are_named() -> None:
    assert escape("a\x00b\x1b\u202e") == "aU+0000bU+001BU+202E"


@given(label=NASTY.filter(str.strip))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("| a | b |")
def test_labels_keep_the_shape_of_the_table(make_results: MakeResults, label: str) -> None:
    text = render_tables(make_results({"label": label, "score": 12.34}))
    head, body = text.split("\n\n", 1)
    PARSER.disable("emphasis")
    rows = shown(body)
    PARSER.enable("emphasis")
    assert head.startswith("**Table 1.** Model tiny")
    assert rows == [
        ["method", "mrpc", "average"],
        ["*metric (test rows)*", "*accuracy (204)*", ""],
        [one_line(label), "12.3", "12.3"],
        ["majority class", "**66.5**", "**66.5**"],
    ]
