"""The debug page: tables of text that cannot become markup."""

from shoal.agent.debug_page import MAX_ROWS, Table, debug_html


def test_cells_are_escaped() -> None:
    page = debug_html([Table("<peers>", ("a&b",), [("<script>alert(1)</script>",), (3,)])])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<h2>&lt;peers&gt;</h2>" in page
    assert "<td>3</td>" in page


def test_a_long_table_is_cut_and_says_so() -> None:
    page = debug_html([Table("blobs", ("digest",), [(n,) for n in range(MAX_ROWS + 7)])])
    assert page.count("<td>") == MAX_ROWS
    assert "and 7 more" in page
