"""The demo's mailbox: every e-mail, SMS and note to the crisis team as its reader would see it, as it arrives."""

from flask import Blueprint, Flask, Response, abort, make_response, render_template, request

from incident_center.config import Settings
from incident_center.delivery.mailbox import Mail, MailboxStore, mailbox_path
from incident_center.playbooks import SmsCount, count_sms
from incident_center.web.context import center

blueprint = Blueprint("mailbox", __name__, url_prefix="/mailbox")
SHOWN = 200
KINDS = ("email", "sms", "staff")
# A rendered mail may style itself and open links in a new tab; it runs nothing and loads nothing.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)


def install(app: Flask, settings: Settings) -> None:
    """Only the demo has one: it shows customers' messages to whoever can reach the port."""
    if settings.demo:
        app.register_blueprint(blueprint)


def store() -> MailboxStore:
    return MailboxStore(mailbox_path(center().settings.data_dir))


@blueprint.get("")
def index() -> str:
    return render_template("mailbox/index.html", **_listing())


@blueprint.get("/messages")
def messages() -> Response:
    """The list again when something has arrived since `newest`; 204 leaves the page alone."""
    listing = _listing()
    if request.args.get("newest", type=int) == listing["newest"]:
        return Response(status=204)
    return make_response(render_template("mailbox/_messages.html", **listing))


@blueprint.get("/<int:message_id>")
def message(message_id: int) -> str:
    found = _found(message_id)
    return render_template(
        "mailbox/message.html", message=found, source=found.raw.decode("utf-8", "replace"), sms=_count(found)
    )


@blueprint.get("/<int:message_id>/html")
def html(message_id: int) -> Response:
    found = _found(message_id)
    if not found.html:
        abort(404)
    # Links of a mail open beside it, as they do in a mail program.
    body = found.html.replace("<head>", '<head><base target="_blank">', 1)
    response = Response(body, mimetype="text/html")
    response.headers["Content-Security-Policy"] = MAIL_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def _found(message_id: int) -> Mail:
    found = store().get(message_id)
    if found is None:
        abort(404)
    return found


def _listing() -> dict[str, object]:
    kind = request.args.get("kind", "")
    everything = store().list(limit=SHOWN)
    counts = {name: sum(1 for one in everything if one.channel == name) for name in KINDS}
    shown = [one for one in everything if kind not in KINDS or one.channel == kind]
    return {
        "messages": [(one, _count(one)) for one in shown],
        "counts": counts,
        "kind": kind if kind in KINDS else "",
        "newest": everything[0].id if everything else 0,
    }


def _count(message: Mail) -> SmsCount | None:
    return count_sms(message.text) if message.channel == "sms" else None
