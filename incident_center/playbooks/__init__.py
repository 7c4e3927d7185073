"""Playbooks: read and check them, fill their placeholders, count SMS segments, say times.

Pure: no Flask, no SQLAlchemy, no clock. Anyone may import it.
"""

from incident_center.playbooks.catalogue import Catalogue, CatalogueErrors, check_catalogue, load_catalogue
from incident_center.playbooks.changes import Change, script_changes
from incident_center.playbooks.checks import samples_for
from incident_center.playbooks.explain import explain, words_problems
from incident_center.playbooks.loader import Library, PlaybookErrors, check_folder, load_library
from incident_center.playbooks.models import (
    COMPONENT_STATUSES,
    IMPACTS,
    PHASES,
    CorrectionScript,
    HoldingScript,
    PhaseScript,
    Phrase,
    Playbook,
    Question,
    Words,
)
from incident_center.playbooks.parts import (
    Parts,
    PlaceholderError,
    Slot,
    fill,
    from_json,
    mark,
    parse,
    render,
    slots,
    to_json,
    unmark,
)
from incident_center.playbooks.placeholders import EARLY, LATE, PLACEHOLDERS, Placeholder, long_samples
from incident_center.playbooks.rules import (
    TextProblem,
    TextRules,
    correction_rules,
    estimate_in,
    holding_rules,
    phase_rules,
    sms_limit,
    sms_preview,
    word_problems,
)
from incident_center.playbooks.salutation import salutation
from incident_center.playbooks.sms import SmsCount, count_sms, normalise_sms
from incident_center.playbooks.times import (
    AmbiguousTime,
    NonexistentTime,
    UnknownZone,
    find_zone,
    resolve_local,
    say_time,
)
from incident_center.playbooks.yamlfile import ContentErrors, Problem

__all__ = [
    "COMPONENT_STATUSES",
    "EARLY",
    "IMPACTS",
    "LATE",
    "PHASES",
    "PLACEHOLDERS",
    "AmbiguousTime",
    "Catalogue",
    "CatalogueErrors",
    "Change",
    "ContentErrors",
    "CorrectionScript",
    "HoldingScript",
    "Library",
    "NonexistentTime",
    "Parts",
    "PhaseScript",
    "Phrase",
    "Placeholder",
    "PlaceholderError",
    "Playbook",
    "PlaybookErrors",
    "Problem",
    "Question",
    "Slot",
    "SmsCount",
    "TextProblem",
    "TextRules",
    "UnknownZone",
    "Words",
    "check_catalogue",
    "check_folder",
    "correction_rules",
    "count_sms",
    "estimate_in",
    "explain",
    "fill",
    "find_zone",
    "from_json",
    "holding_rules",
    "load_catalogue",
    "load_library",
    "long_samples",
    "mark",
    "normalise_sms",
    "parse",
    "phase_rules",
    "render",
    "resolve_local",
    "salutation",
    "samples_for",
    "say_time",
    "script_changes",
    "slots",
    "sms_limit",
    "sms_preview",
    "to_json",
    "unmark",
    "word_problems",
    "words_problems",
]
