"""Customers and leads whose browser runs no scripts; agents whose words go stale; and what axe says of the pages."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Demo
from tests.browser.test_the_whole_job import declare, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture
def scriptless(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False, locale="de-DE")
    yield context.new_page()
    context.close()


def mail_with(demo: Demo, to: str, pattern: str) -> str:
    """What `pattern` finds in the text of a message to `to`; waits until it has arrived."""
    until = datetime.now(UTC) + timedelta(seconds=60)
    while datetime.now(UTC) < until:
        cards = requests.get(demo.said["mailbox"], timeout=5).text.split("<li class=")[1:]
        for number in [m[1] for card in cards if to in card and (m := re.search(r"/mailbox/(\d+)", card))]:
            text = unescape(requests.get(f"{demo.said['mailbox']}/{number}", timeout=5).text)
            if found := re.search(pattern, text):
                return found[0]
        time.sleep(0.2)
    raise AssertionError(f"no message to {to} with {pattern} arrived")


def clipboard(page: Page) -> str:
    """What it holds, once it holds something: a click does not wait for it."""
    for _ in range(200):
        if text := str(page.evaluate("() => navigator.clipboard.readText()")):
            return text
        time.sleep(0.1)
    raise AssertionError("nothing was copied")


def publish_over_the_api(demo: Demo) -> None:
    now = datetime.now(UTC)
    headers = {"Authorization": f"Bearer {demo.said['api token']}"}
    body: dict[str, Any] = {
        "playbook": "payout-gateway-down",
        "components": [1],
        "impact": "major",
        "started_at": now.isoformat(),
        "answers": {"scope": {"en": "SEPA payouts", "de": "SEPA-Auszahlungen"}},
        "update": {
            "phase": "investigating",
            "next_update_by": (now + timedelta(minutes=30)).isoformat(),
            "confirmed": [],
        },
    }
    answer = requests.post(f"{demo.url}/api/v1/incidents", json=body, headers=headers, timeout=10)
    assert answer.status_code == 201, answer.text


def test_a_customer_subscribes_changes_and_leaves_without_scripts(scriptless: Page, demo: Demo) -> None:
    publish_over_the_api(demo)
    page, mine = scriptless, "frida@post.example"
    page.goto(f"{demo.url}/subscribe")
    page.locator("input[name='email'], input[name='address']").first.fill(mine)
    page.locator("form.form button[type='submit']").click()
    page.goto(mail_with(demo, mine, r"http://\S+/c/[\w.-]+"))
    page.locator("main form button").click()
    mail_with(demo, mine, "SEPA-Auszahlungen verzögern sich|verzögern sich SEPA-Auszahlungen")
    page.goto(mail_with(demo, mine, r"http://\S+/m/[\w.-]+"))
    expect(page.locator("main")).to_contain_text(mine)
    page.goto(mail_with(demo, mine, r"http://\S+/u/[\w.-]+"))
    page.locator("main form button").first.click()
    expect(page.locator("main")).to_contain_text(re.compile("abgemeldet|keine", re.IGNORECASE))


def test_a_lead_declares_and_publishes_without_scripts(scriptless: Page, demo: Demo) -> None:
    sign_in(scriptless, demo, "lead")
    page = scriptless
    page.goto(f"{demo.url}/console/declare")
    page.get_by_role("link", name=re.compile("gateway", re.IGNORECASE)).first.click()
    page.locator("[name='answers.scope.en']").fill("SEPA payouts")
    page.get_by_role("button", name="Declare and write the first update").click()
    expect(page.get_by_text("Not declared yet")).to_be_visible()
    assert page.locator("[name='answers.scope.en']").input_value() == "SEPA payouts"
    page.locator("[name='answers.scope.de']").fill("SEPA-Auszahlungen")
    page.get_by_role("button", name="Declare and write the first update").click()
    page.get_by_role("button", name="Publish now").click()
    expect(page.locator("#update-1")).to_be_visible()


def test_an_agents_words_go_stale_and_one_click_copies_them(page: Page, demo: Demo) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=demo.url)
    sign_in(page, demo, "agent")
    expect(page.get_by_role("heading", name="What to say now")).to_be_visible()
    publish_over_the_api(demo)
    expect(page.get_by_text("These words are out of date")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Take the new words").click()
    shown = page.locator(".snippet.ch-chat:visible, .snippet:visible").first
    shown.get_by_role("button", name="Copy", exact=True).click()
    assert clipboard(page).strip() == shown.locator("pre").inner_text().strip()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_in_light_and_dark(browser: Browser, demo: Demo, scheme: Any) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": 390, "height": 844}, bypass_csp=True
    )
    page = context.new_page()
    sign_in(page, demo, "lead")
    declare(page, demo)
    publish_over_the_api(demo)
    room = page.url
    complaints: dict[str, list[str]] = {}
    paths = [
        "/",
        "/?lang=de",
        "/i/2",
        "/history",
        "/subscribe",
        "/console/",
        "/console/updates/1/delivery",
        "/console/updates/1/delivery/stop",
        "/console/updates/1/delivery/again",
        "/agent/",
        "/agent/enrol",
        "/mailbox",
    ]
    for url in [room, *[f"{demo.url}{path}" for path in paths]]:
        page.goto(url)
        found = Axe().run(page)
        wide = page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
        complaints[url] = [v["id"] for v in found.response["violations"]] + (
            ["scrolls sideways"] if wide else []
        )
    context.close()
    assert {url: said for url, said in complaints.items() if said} == {}
