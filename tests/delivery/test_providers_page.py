"""The provider tables in docs/ say what the code does."""

from tests.support import provider_table


def test_the_tables_are_as_the_code_makes_them() -> None:
    page = provider_table.PAGE.read_text(encoding="utf-8")
    assert page == provider_table.filled(page), "run python -m tests.support.provider_table"


def test_a_page_that_lost_a_table_is_noticed() -> None:
    changed = provider_table.filled(provider_table.PAGE.read_text(encoding="utf-8")).replace(
        "unknown", "sent"
    )
    assert provider_table.filled(changed) != changed
