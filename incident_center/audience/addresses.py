"""What may be written to: e-mail addresses and mobile numbers, read strictly, one a field. Pure, no look-ups.

An address that is read here can stand in a header: it carries no line break, no control and no invisible
character. Local parts are kept as typed (RFC 5321 §2.4: only the receiving host may interpret them); the
`key` is folded, so that the same mailbox is found again however it is typed.
"""

import re
import unicodedata
from dataclasses import dataclass

import phonenumbers
from babel.core import get_global
from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.phonenumberutil import ndd_prefix_for_region

from incident_center.errors import Flaw, Refused
from incident_center.states import Channel

EMAIL_MAX = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
KEY_MAX = 320  # the column; folding and IDNA may lengthen
TYPED_MAX = 400  # nobody types more; longer input is not even looked at

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # address books paste them around
_SEPARATED = re.compile(r"[,;|\s]+")
_NUMBERS_APART = re.compile(r"[,;|\n]|\s/\s|\s(?:or|and|oder|und|&)\s", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_SMS_TYPES = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_COSTLY_TYPES = {PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN}
_NO_COUNTRY = "001"  # satellite and other networks that belong to no country, several euros a message


@dataclass(frozen=True)
class Email:
    """`address` is written to; `key` finds it again."""

    address: str
    key: str


def parse_email(text: str) -> Email:
    """One e-mail address, also internationalised (RFC 6531) or quoted.

    Refuses with field "email": email.empty, email.several, email.invalid.
    """
    typed = _trimmed(text)
    if not typed:
        raise _no("email", "empty", "is missing; type an e-mail address")
    if len(typed) > TYPED_MAX or not _is_clean(typed):
        raise _no("email", "invalid", "is not an e-mail address")
    try:
        valid = validate_email(
            typed, check_deliverability=False, allow_smtputf8=True, allow_quoted_local=True, strict=True
        )
    except EmailNotValidError as error:
        if sum("@" in piece for piece in _SEPARATED.split(typed)) > 1:
            raise _no("email", "several", "holds several addresses; one address has room here") from error
        raise _no("email", "invalid", f"is not an e-mail address: {error}") from error
    return _email(typed, valid)


def parse_phone(text: str, region: str | None = "DE") -> str:
    """One mobile number as E.164. `region` (ISO 3166) reads numbers that are typed without a country.

    Refuses with field "phone": phone.empty, phone.several, phone.no_country, phone.invalid, phone.premium (a
    message to it costs extra), phone.not_mobile (it cannot receive SMS).
    """
    typed = _trimmed(text).removeprefix("tel:")
    if not typed:
        raise _no("phone", "empty", "is missing; type a mobile number")
    if _holds_several(typed):
        raise _no("phone", "several", "holds several numbers; one number has room here")
    number = _number(typed, region)
    if number.extension or not phonenumbers.is_valid_number(number):
        raise _no("phone", "invalid", "is not a phone number; compare the digits")
    kind = phonenumbers.number_type(number)
    if kind in _COSTLY_TYPES:
        raise _no("phone", "premium", "is a number that costs extra; use a mobile number")
    if kind not in _SMS_TYPES or phonenumbers.region_code_for_number(number) == _NO_COUNTRY:
        raise _no("phone", "not_mobile", "cannot receive text messages; use a mobile number")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def parse_address(channel: Channel, text: str, region: str | None = "DE") -> Email | str:
    """An Email for the e-mail channel, an E.164 number for SMS."""
    return parse_email(text) if channel is Channel.EMAIL else parse_phone(text, region)


def region_of(zone: str) -> str | None:
    """The country (ISO 3166) that a time zone such as Europe/Berlin lies in; None for UTC and the like."""
    region = get_global("zone_territories").get(zone)
    return region if region and len(region) == 2 and region.isalpha() else None


def masked(channel: Channel, address: str) -> str:
    """Enough to recognise one's own address, too little to learn another's: "a…@example.com", "+49…567"."""
    if channel is Channel.SMS:
        return f"{address[:3]}…{address[-3:]}"
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _trimmed(text: str) -> str:
    return _INVISIBLE.sub("", text).strip() if len(text) <= TYPED_MAX else text.strip()


def _is_clean(text: str) -> bool:
    return not any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for letter in text)


def _email(typed: str, valid: ValidatedEmail) -> Email:
    quoted = typed.startswith('"')
    local = typed.rpartition("@")[0] if quoted else valid.local_part
    if set(local) & set("<>"):  # where the envelope's brackets end, servers do not agree
        raise _no("email", "invalid", "holds an angle bracket; mail servers take none")
    address = f"{local}@{valid.domain}"
    ascii_domain = valid.ascii_domain or valid.domain
    key = unicodedata.normalize("NFC", f"{local}@{ascii_domain}".lower())
    if len(address) > EMAIL_MAX or len(key) > KEY_MAX:
        raise _no("email", "invalid", "is longer than an e-mail address can be")
    return Email(address=address, key=key)


def _holds_several(typed: str) -> bool:
    pieces = [piece for piece in _NUMBERS_APART.split(typed) if sum(map(str.isdigit, piece)) >= 8]
    return len(pieces) > 1 or typed.count("+") > 1


def _number(typed: str, region: str | None) -> PhoneNumber:
    if len(typed) > TYPED_MAX or not _is_clean(typed) or _LETTER.search(typed):
        raise _no("phone", "invalid", "is not a phone number; type digits only")
    if region is None and not typed.startswith(("+", "00")):
        raise _no("phone", "no_country", "has no country; begin with + and the country's number")
    if typed.startswith("00"):  # how most of the world dials abroad; the library knows it only with a region
        typed = "+" + typed[2:]
    elif region and not typed.startswith("+"):
        _need_trunk_zero(typed, region)
    try:
        return phonenumbers.parse(typed, region)
    except phonenumbers.NumberParseException as error:
        raise _no("phone", "invalid", "is not a phone number; compare the digits") from error


def _need_trunk_zero(typed: str, region: str) -> None:
    """Where national numbers begin with 0, one without it is a foreign number whose country was left out."""
    if ndd_prefix_for_region(region, strip_non_digits=True) != "0":
        return
    digits = [str(unicodedata.digit(letter)) for letter in typed if letter.isdigit()]
    if digits and digits[0] != "0":
        raise _no("phone", "no_country", "has no country; begin with + and the country's number")


def _no(field: str, code: str, message: str) -> Refused:
    return Refused(Flaw(field, f"{field}.{code}", message))
