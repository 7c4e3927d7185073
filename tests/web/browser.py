"""A browser without JavaScript: signs in, reads forms off pages, sends them back as a person would."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from incident_center.models import Role, Staff
from tests.builders import NOW

Values = dict[str, list[str]]


class _Page(HTMLParser):
    """Every control of every form, by the form's action; ids; and errors of nesting that matter to us."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.ids: list[str] = []
        self.loose: list[tuple[str, str, str]] = []  # form id, name, value
        self._form: Form | None = None
        self._area: str | None = None
        self._area_form: str | None = None
        self._text = ""
        self._select: str | None = None
        self._select_form: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        name = given.get("name", "")
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("id", ""))
            self.forms.append(self._form)
        elif tag == "input" and name:
            boxes = given.get("type") in {"checkbox", "radio"}
            if not boxes or "checked" in given:
                self._add(given.get("form"), name, given.get("value", "on" if boxes else ""))
        elif tag == "textarea":
            self._area, self._area_form, self._text = name, given.get("form"), ""
        elif tag == "select":
            self._select, self._select_form = name, given.get("form")
        elif tag == "option" and self._select and "selected" in given:
            self._add(self._select_form, self._select, given.get("value", ""))

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area is not None:
            self._add(self._area_form, self._area, self._text.removeprefix("\n"))
            self._area = None
        elif tag == "select":
            self._select = None
        elif tag == "form":
            self._form = None

    def _add(self, form_id: str | None, name: str, value: str) -> None:
        if form_id is not None:
            self.loose.append((form_id, name, value))
        elif self._form is not None:
            self._form.values.setdefault(name, []).append(value)


@dataclass
class Form:
    action: str
    id: str
    values: Values = field(default_factory=dict)


def forms_of(html: str) -> list[Form]:
    page = _read(html)
    for form_id, name, value in page.loose:
        for form in page.forms:
            if form.id == form_id:
                form.values.setdefault(name, []).append(value)
    return page.forms


def ids_of(html: str) -> list[str]:
    return _read(html).ids


def text_of(html: str) -> str:
    """What a person reads, blanks folded."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", " ", bare)
    for code, sign in (("&#39;", "'"), ("&#34;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(code, sign)
    return re.sub(r"\s+", " ", text)


def _read(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    return page


class Browser:
    """One person's browser."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, url: str, *, htmx: bool = False) -> TestResponse:
        return self.client.get(url, headers={"HX-Request": "true"} if htmx else {})

    def form(self, url: str, action: str) -> Values:
        """The values of the form on this page whose action ends so ("" for one without)."""
        page = self.get(url)
        assert page.status_code == 200, page.status_code
        return self.form_in(page.text, action)

    @staticmethod
    def form_in(html: str, action: str) -> Values:
        for form in forms_of(html):
            if form.action == action or (action and form.action.endswith(action)):
                return form.values
        raise AssertionError(f"no form {action!r} among {[form.action for form in forms_of(html)]}")

    def post(self, url: str, *values: Mapping[str, Any], htmx: bool = False) -> TestResponse:
        """`values` one after the other, later ones over earlier ones; the page's token is put in."""
        data: dict[str, Any] = {"csrf_token": self.token()}
        for some in values:
            data |= some
        return self.client.post(url, data=data, headers={"HX-Request": "true"} if htmx else {})

    def token(self) -> str:
        return self.form("/console/", "/sign-out")["csrf_token"][0]


def signed_in(app: Flask, *roles: str, email: str = "", language: str = "en") -> Browser:
    """A browser of a new person with these roles; sign-in itself has its own tests and costs 60 ms of hashing."""
    number = uuid.uuid4().hex
    with app.extensions["incident_center"].database.transaction() as session:
        known = {role.name: role for role in session.scalars(select(Role))}
        session.add(
            Staff(
                email=email or f"{roles[0]}-{number[:6]}@example.com",
                name=roles[0].capitalize(),
                password="-",
                active=True,
                fs_uniquifier=number,
                language=language,
                created_at=NOW,
                roles=[known.get(role) or Role(name=role) for role in roles],
            )
        )
    client = app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"], cookie["_fresh"] = number, True
    return Browser(client)
