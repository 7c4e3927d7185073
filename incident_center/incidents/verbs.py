"""The incident room's verbs, in one place for its callers."""

from incident_center.incidents.components import set_component_status
from incident_center.incidents.declare import declare, withdraw
from incident_center.incidents.drafts import discard_draft, open_draft, save_draft
from incident_center.incidents.fixes import current_words, fix_typo
from incident_center.incidents.inputs import Declaration, DraftInput, Publication
from incident_center.incidents.preview import Preview, preview
from incident_center.incidents.publish import publication_flaws, publish_update
from incident_center.incidents.scripts import correction_script, phase_script, script_for
from incident_center.incidents.sending import note_call_list, send_again, stop_sending

__all__ = [
    "Declaration",
    "DraftInput",
    "Preview",
    "Publication",
    "correction_script",
    "current_words",
    "declare",
    "discard_draft",
    "fix_typo",
    "note_call_list",
    "open_draft",
    "phase_script",
    "preview",
    "publication_flaws",
    "publish_update",
    "save_draft",
    "script_for",
    "send_again",
    "set_component_status",
    "stop_sending",
    "withdraw",
]
