from __future__ import annotations

from gridiron.cli.table import Table, fields, render_lines

TABLE = Table((("a", "active", "1"), ("long name", "idle", "100")), ("NAME", "STATE", "N"), frozenset({2}))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert list(render_lines(TABLE, {})) == [
        "NAME       STATE     N",
        "a          active    1",
        "long name  idle    100",
    ]


def test_a_word_has_its_colour_and_the_columns_stay() -> None:
    assert list(render_lines(TABLE, {"active": "green"})) == [
        "NAME       STATE     N",
        "a          \x1b[32mactive\x1b[0m    1",
        "long name  idle    100",
    ]


def test_a_cell_of_several_lines_stays_in_its_column() -> None:
    table = Table((("services", "greeter\ncounter", "x"), ("size", "1 B", "y")))
    assert list(render_lines(table, {})) == [
        "services  greeter  x",
        "          counter",
        "size      1 B      y",
    ]


def test_fields_leave_out_what_is_empty() -> None:
    assert fields(("a", "1"), ("b", ""), ("c", "3")) == Table((("a", "1"), ("c", "3")))


def test_an_empty_table_has_no_lines() -> None:
    assert list(render_lines(Table(()), {})) == []
