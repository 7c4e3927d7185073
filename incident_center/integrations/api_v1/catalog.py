"""What there is to choose from: components and playbooks."""

from __future__ import annotations

from typing import Any

from incident_center.incidents import questions
from incident_center.integrations.api_v1 import answers, tell
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.callers import VIEWER
from incident_center.integrations.api_v1.document import errors
from incident_center.playbooks import Playbook
from incident_center.states import ComponentStatus, Impact, Phase

_TAG: list[Any] = [{"name": "catalog"}]


@api.get(
    "/components",
    tags=_TAG,
    summary="Components and their status",
    responses={200: answers.ComponentsOut, **errors()},
)
@roles(VIEWER)
def list_components() -> Answered:
    with center().database.reading() as session:
        rows = questions.components(session)
        return answers.ComponentsOut(items=[tell.component(row) for row in rows]).model_dump(mode="json")


@api.get(
    "/playbooks",
    tags=_TAG,
    summary="Playbooks: what they ask, and what each phase wants confirmed",
    responses={200: answers.PlaybooksOut, **errors()},
)
@roles(VIEWER)
def list_playbooks() -> Answered:
    library = center().house.library
    answer = answers.PlaybooksOut(
        languages=list(library.languages),
        items=[_playbook(library.playbooks[key]) for key in sorted(library.playbooks)],
    )
    return answer.model_dump(mode="json")


def _playbook(playbook: Playbook) -> answers.PlaybookOut:
    return answers.PlaybookOut(
        key=playbook.key,
        title=playbook.title,
        use_when=playbook.use_when,
        impact=Impact(playbook.impact),
        components=list(playbook.components),
        ask={
            name: answers.QuestionOut(text=question.text, sample=question.sample)
            for name, question in playbook.ask.items()
        },
        phases=[
            answers.PhaseOut(
                phase=Phase(script.phase),
                next_update_minutes=script.next_update_minutes,
                component_status=ComponentStatus(script.component_status)
                if script.component_status
                else None,
                confirm={language: list(texts) for language, texts in script.confirm.items()},
                never_say={
                    language: list(playbook.not_to_say(script.phase, language))
                    for language in playbook.languages
                },
            )
            for script in playbook.phases
        ],
    )
