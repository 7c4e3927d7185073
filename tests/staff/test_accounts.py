"""Accounts and tokens: what is kept, what is refused, what ends."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from incident_center.db import Database
from incident_center.errors import NotThere, Refused
from incident_center.models import ApiToken, AuditEntry, Role, Staff
from incident_center.staff.accounts import add_staff, close_account, find_staff, new_staff_password
from incident_center.staff.tokens import add_token, find_token, revoke_token


def _codes(refused: pytest.ExceptionInfo[Refused]) -> set[tuple[str, str]]:
    return {(flaw.field, flaw.code) for flaw in refused.value.flaws}


def test_an_account_keeps_its_password_only_as_an_argon2id_hash(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        staff, password = add_staff(
            session, email=" Lea@Example.com ", name="Lea  B", roles=["lead"], now=now
        )
    assert staff.email == "lea@example.com"
    assert staff.name == "Lea B"
    assert staff.password.startswith("$argon2id$")
    assert password not in staff.password
    assert len(password) >= 20


def test_made_up_passwords_differ(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        _, first = add_staff(session, email="a@example.com", name="A", roles=["agent"], now=now)
        _, second = add_staff(session, email="b@example.com", name="B", roles=["agent"], now=now)
    assert first != second


def test_two_people_share_a_role_and_not_an_address(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        add_staff(session, email="a@example.com", name="A", roles=["lead", "agent"], now=now)
        add_staff(session, email="b@example.com", name="B", roles=["lead"], now=now)
    with database.reading() as session:
        assert sorted(session.scalars(select(Role.name))) == ["agent", "lead"]
    with pytest.raises(Refused) as refused, database.transaction() as session:
        add_staff(session, email="A@EXAMPLE.com", name="A", roles=["lead"], now=now)
    assert _codes(refused) == {("email", "taken")}


def test_every_flaw_of_a_new_account_is_told_at_once(database: Database, now: datetime) -> None:
    with pytest.raises(Refused) as refused, database.transaction() as session:
        add_staff(session, email="lea", name=" ", password="short", roles=["boss"], now=now)
    assert _codes(refused) == {
        ("email", "invalid"),
        ("name", "missing"),
        ("password", "short"),
        ("roles", "unknown"),
    }


def test_a_new_password_ends_open_sessions(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        before, _ = add_staff(session, email="lea@example.com", name="Lea", roles=["lead"], now=now)
        session_name, hashed = before.fs_uniquifier, before.password
        new_staff_password(session, email="lea@example.com", now=now)
    with database.reading() as session:
        after = find_staff(session, email="lea@example.com")
        assert after is not None
        assert after.fs_uniquifier != session_name
        assert after.password != hashed


def test_closing_an_account_that_is_not_there_says_so(database: Database, now: datetime) -> None:
    with pytest.raises(NotThere), database.transaction() as session:
        close_account(session, email="nobody@example.com", now=now)


def test_the_trail_names_who_was_added_by_number_and_not_by_address(
    database: Database, now: datetime
) -> None:
    with database.transaction() as session:
        staff, _ = add_staff(session, email="lea@example.com", name="Lea", roles=["lead"], now=now)
    with database.reading() as session:
        entry = session.scalars(select(AuditEntry)).one()
        assert (entry.action, entry.subject, entry.by) == ("staff.added", f"staff {staff.id}", "command line")
        assert session.get_one(Staff, staff.id).active


def test_a_token_is_found_by_what_was_shown_once(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        plain = add_token(session, name="ops-bot", role="lead", days=30, now=now)
    with database.reading() as session:
        found = find_token(session, plain, now)
        assert found is not None
        assert (found.name, found.role) == ("ops-bot", "lead")
        assert plain not in {found.token_hash, found.name}
        assert find_token(session, plain + "x", now) is None
        assert find_token(session, "", now) is None


def test_a_token_ends_on_its_day_and_when_it_is_revoked(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        short = add_token(session, name="short", role="viewer", days=1, now=now)
        endless = add_token(session, name="endless", role="viewer", days=None, now=now)
    day = timedelta(days=1)
    with database.transaction() as session:
        assert find_token(session, short, now + day - timedelta(seconds=1)) is not None
        assert find_token(session, short, now + day) is None
        token = find_token(session, endless, now + 1000 * day)
        assert token is not None
        revoke_token(session, token_id=token.id, now=now)
    with database.reading() as session:
        assert find_token(session, endless, now) is None


@pytest.mark.parametrize(("name", "role", "days"), [("", "lead", 1), ("x", "admin", 1), ("x", "lead", 0)])
def test_odd_tokens_are_refused(database: Database, now: datetime, name: str, role: str, days: int) -> None:
    with pytest.raises(Refused), database.transaction() as session:
        add_token(session, name=name, role=role, days=days, now=now)
    with database.reading() as session:
        assert session.scalars(select(ApiToken)).all() == []
