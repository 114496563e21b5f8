from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.reports import Results, load_results, render_tables
from bench.reports.sheets.latex import escape

MakeResults = Callable[..., Results]
CompileLatex = Callable[[str, Path], str]


def test_golden_tables_compile(golden: Path, tmp_path: Path, compile_latex: CompileLatex) -> None:
    log = compile_latex(render_tables(load_results(golden), "latex"), tmp_path)
    assert "Output written on table.pdf (2 pages" in log


def test_any_name_compiles(
    make_results: MakeResults, tmp_path: Path, compile_latex: CompileLatex
) -> None:
    names = [
        string.printable,
        "[opt]",
        "*",
        "-- ,, << >> '' ``",
        "\\end{document}",
        "Üß中文😀\u00d7\u00f7\x7f",
    ]
    results = make_results(
        *({"label": name, "cell.seed": seed} for seed, name in enumerate(names)),
        *({"cell.data.kind": "local", "cell.data.name": name} for name in names),
        *({"cell.task": name, "cell.preset": "other"} for name in names),
    )
    compile_latex(render_tables(results, "latex"), tmp_path)


def test_wide_table_is_scaled_to_the_page(
    make_results: MakeResults, tmp_path: Path, compile_latex: CompileLatex
) -> None:
    results = make_results(*({"cell.task": f"task number {i}"} for i in range(26)))
    log = compile_latex(render_tables(results, "latex"), tmp_path)
    assert "Overfull" not in log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5% #1 $x$ {y}", r"a\_b \& 5\% \#1 \$x\$ \{y\}"),
        ("\\~^`", r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textasciigrave{}"),
        ("1 ± 2", r"1 $\pm$ 2"),
        ("--out x---y", r"-{}-out x-{}-{}-y"),
        ("Größe 中", "Größe U+4E2D"),
        ("two\nlines\t\x00", "two lines U+0000"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_negative_numbers_have_a_minus_sign(make_results: MakeResults) -> None:
    scores = {"table_metric": "pearson", "test": {"pearson": -12.34, "f1": 0.0}}
    changes = {f"scores.{name}": value for name, value in scores.items()}
    assert r"pt & \textbf{$-$12.3} &" in render_tables(make_results(changes), "latex")
