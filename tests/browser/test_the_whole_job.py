"""The product's whole job in a browser, on what `incident-center demo` starts.

With INCIDENT_CENTER_SCREENSHOTS=folder it leaves pictures of each step there.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
BERLIN = ZoneInfo("Europe/Berlin")


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("INCIDENT_CENTER_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def sign_in(page: Page, demo: Demo, role: str) -> None:
    page.goto(f"{demo.url}/console/" if role == "lead" else f"{demo.url}/agent/")
    page.get_by_label("E-mail address").fill(demo.said[f"{role} e-mail"])
    page.get_by_label("Password").fill(demo.said[f"{role} password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)  # whoever goes on at once is not signed in yet


def declare(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/console/declare")
    picture(page, "declare-choose")
    page.get_by_role("link", name=re.compile("gateway", re.IGNORECASE)).first.click()
    page.locator("[name='answers.scope.en']").fill("SEPA Instant payouts to Germany")
    page.locator("[name='answers.scope.de']").fill("SEPA-Echtzeit-Auszahlungen nach Deutschland")
    picture(page, "declare-form")
    page.get_by_role("button", name="Declare and write the first update").click()
    expect(page.get_by_role("heading", name="Write the next update")).to_be_visible()


def next_whole_minute() -> datetime:
    """Between one and two minutes from now: short enough to wait for, long enough to publish before."""
    soon = datetime.now(UTC) + timedelta(seconds=65)
    return soon.replace(second=0, microsecond=0) + timedelta(minutes=0 if soon.second == 0 else 1)


def arrived(page: Page, kind: str) -> int:
    text = page.locator(f".kinds a[href*='kind={kind}'] .count").inner_text()
    return int(text)


def wait_for(page: Page, kind: str, number: int, seconds: float) -> None:
    """Waits until so many messages of a kind have arrived; the mailbox page shows them by itself."""
    expect(page.locator(f".kinds a[href*='kind={kind}'] .count")).to_have_text(
        str(number), timeout=seconds * 1000
    )


def test_declare_publish_promise_hold_and_resolve(page: Page, demo: Demo) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None
    )
    mailbox = page.context.new_page()
    mailbox.goto(demo.said["mailbox"])
    assert arrived(mailbox, "email") == 0

    sign_in(page, demo, "lead")
    declare(page, demo)
    subject = page.locator("[name='words.en.subject']")
    subject.fill("SEPA Instant payouts are late")
    expect(page.locator("#preview")).to_contain_text("SEPA Instant payouts are late")
    due = next_whole_minute()
    page.locator("input[name='next_update'][value='at']").check()
    page.locator("#next_at").fill(due.astimezone(BERLIN).strftime("%H:%M"))
    picture(page, "room-composing")
    page.get_by_role("button", name="Publish now").click()
    expect(page.locator("#update-1")).to_be_visible()

    # Seven of the twelve read e-mail, five SMS; all follow SEPA Instant payouts.
    wait_for(mailbox, "email", 7, 20)
    wait_for(mailbox, "sms", 5, 20)
    assert seconds_to_the_last_message(mailbox, demo) < 10
    picture(mailbox, "mailbox")
    picture(page, "room-published")
    check_languages_and_zones(mailbox, demo)
    check_public_page(page, demo)

    # Nobody writes: first the crisis team is reminded, then the holding update goes out by itself.
    remaining = (due - datetime.now(UTC)).total_seconds()
    expect(mailbox.locator(".card.staff").first).to_be_visible(timeout=(remaining + 20) * 1000)
    wait_for(mailbox, "email", 14, max(remaining, 0) + 20)
    wait_for(mailbox, "sms", 10, 20)
    page.goto(f"{demo.url}/console/incidents/1")
    expect(page.locator("#update-2")).to_contain_text(re.compile("holding", re.IGNORECASE))
    picture(page, "room-held")

    resolve(page, demo)
    wait_for(mailbox, "email", 21, 20)
    wait_for(mailbox, "sms", 15, 20)
    page.goto(f"{demo.url}/i/1?lang=de")
    expect(page.locator("main")).to_contain_text("SEPA-Echtzeit-Auszahlungen nach Deutschland")
    picture(page, "public-incident-de")
    assert errors == []


def seconds_to_the_last_message(mailbox: Page, demo: Demo) -> float:
    """From the moment of publication to the newest message in the mailbox, by their own times."""
    headers = {"Authorization": f"Bearer {demo.said['api token']}"}
    incident = requests.get(f"{demo.url}/api/v1/incidents/1", headers=headers, timeout=5).json()
    published = datetime.fromisoformat(incident["updates"][0]["published_at"])
    times = [card.get_attribute("datetime") or "" for card in mailbox.locator(".card time").all()]
    assert len(times) == 12
    last = max(datetime.fromisoformat(moment) for moment in times)
    return (last - published).total_seconds()


def check_languages_and_zones(mailbox: Page, demo: Demo) -> None:
    mailbox.goto(f"{demo.said['mailbox']}?kind=email")
    german = mailbox.locator(".card", has_text="anna.berger@kunde.example")
    expect(german).to_contain_text("Auszahlungen")
    expect(german).to_contain_text("Guten Tag")
    english = mailbox.locator(".card", has_text="o'brien+payout@example.com")
    expect(english).to_contain_text("SEPA Instant payouts are late")
    mailbox.locator(".card", has_text="mei.tanaka@example.com").get_by_role("link").first.click()
    mailbox.get_by_text("Text part").click()
    expect(mailbox.locator("details pre").first).to_contain_text("JST")
    picture(mailbox, "mailbox-email")
    mailbox.goto(demo.said["mailbox"])
    expect(mailbox.locator(".card.sms", has_text="+4915112345601").locator(".bubble")).to_contain_text(
        "Lindenpay:"
    )


def check_public_page(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/?lang=en")
    expect(page.locator("main")).to_contain_text("SEPA Instant payouts are late")
    picture(page, "public-en")
    page.goto(f"{demo.url}/?lang=de")
    picture(page, "public-de")
    page.goto(f"{demo.url}/?lang=en")


def resolve(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/console/incidents/1")
    page.get_by_label("Phase of the update").get_by_role("link", name="Resolved").click()
    page.get_by_role("button", name="Publish and resolve").click()
    expect(page.get_by_text("Not published yet. Nothing that you typed is lost.")).to_be_visible()
    for box in page.locator("input[name='confirmed']").all():
        box.check()
    picture(page, "room-resolving")
    page.get_by_role("button", name="Publish and resolve").click()
    expect(page.locator("#update-3")).to_be_visible()
    picture(page, "room-resolved")
