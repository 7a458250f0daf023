"""`stella notify`: who is told of what, and whether it arrived."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from stellaops.center.interface import DeliveriesWanted, Notify
from stellaops.center.wire import Wire
from stellaops.cli.export.printing import second
from stellaops.cli.frame import App, StellaCommand, StellaGroup, UsageError, pass_app
from stellaops.client.problems import told
from stellaops.notify.delivery import Status
from stellaops.notify.errors import DeliveryFailed
from stellaops.notify.event import Severity

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SEVERITY = click.Choice([each.value for each in Severity])
_FROM = click.option(
    "--from",
    "file",
    type=_FILE,
    metavar="FILE",
    help="The whole document, YAML or JSON, in place of options.",
)


@click.group(cls=StellaGroup)
def notify() -> None:
    r"""Who is told of what: channels, rules, deliveries.

    \b
      stella notify channel create ops --kind slack --set urlRef=ops-slack --set room=#export-center-ops
      stella notify test ops
      stella notify rule create failures --channel ops --event 'run.*' --event verify.failed --throttle 30m

    Workers send. On a data directory without one, `stella notify send` does so once, such as from cron.
    """


@notify.group(cls=StellaGroup)
def channel() -> None:
    """Where messages go; what opens a channel is a secret in a file, which it only names."""


_SET = click.option(
    "--set", "values", multiple=True, metavar="NAME=VALUE",
    help="A setting of the kind; again for more, and for each part of a list.",
)  # fmt: skip


@channel.command("create")
@click.argument("channel_id", metavar="ID")
@click.option("--kind", help="`email`, `slack`, `teams` or `webhook`.")
@_SET
@click.option("--name", default="", help="For people.")
@click.option("--disabled", is_flag=True, help="Send nothing there for now.")
@_FROM
@pass_app
def channel_create(
    app: App, *, channel_id: str, kind: str | None, values: tuple[str, ...], name: str, disabled: bool,
    file: Path | None,
) -> None:  # fmt: skip
    r"""Make a channel.

    \b
      stella notify channel create mail --kind email --set to=ops@example.org --set to=lead@example.org
      stella notify channel create hook --kind webhook --set url=https://example.org/hook --set secretRef=hook
    """
    document = _channel(channel_id, kind, values, name, disabled=disabled, file=file)
    _show(app, app.center.notify.create_channel(document))


@channel.command("update")
@click.argument("channel_id", metavar="ID")
@click.option("--kind", help="Another kind; the settings are then those that are given here alone.")
@_SET
@click.option("--name", help="For people.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether anything is sent there.")
@_FROM
@pass_app
def channel_update(
    app: App, *, channel_id: str, kind: str | None, values: tuple[str, ...], name: str | None, enabled: bool | None,
    file: Path | None,
) -> None:  # fmt: skip
    """Change what is given of a channel; the rest stays."""
    if file is not None:
        document = _document(file)
    else:
        document = app.center.notify.channel(channel_id)
        kept = document["settings"] if kind in (None, document["kind"]) else {}
        document |= {"settings": {**kept, **_settings(values)}}
        document |= _given(kind=kind, name=name, enabled=enabled)
    _show(app, app.center.notify.change_channel(channel_id, document))


@channel.command("list")
@pass_app
def channel_list(app: App) -> None:
    """List the channels."""
    found = app.center.notify.channels()
    rows = [
        (each["id"], each["kind"], each["enabled"], each["name"], _pairs(each["settings"])) for each in found
    ]
    app.out.rows(found, ("channel", "kind", "enabled", "name", "settings"), rows)


def _test(app: App, channel_id: str, text: str, *, preview: bool) -> None:
    with app.out.progress(f"trying {channel_id}"):
        found = app.center.notify.test_channel(channel_id, text=text, preview=preview)
    shown, delivery = found["preview"], found["delivery"]
    headers = [(f"header {name}", value) for name, value in shown["headers"].items()]
    outcome = [] if delivery is None else [("status", delivery["status"]), ("answer", delivery["answer"])]
    names = ("channelKind", "target", "title", "format", "traceId")
    app.out.value(
        found, [*outcome, *((name, shown[name]) for name in names), *headers, ("body", shown["body"])]
    )
    if delivery is not None and delivery["status"] == Status.FAILED:
        raise told(delivery["errorCode"] or DeliveryFailed.code, delivery["error"], None)


@channel.command("test")
@click.argument("channel_id", metavar="ID")
@click.option("--text", default="", help="What to say in place of our own words.")
@click.option("--preview", is_flag=True, help="Show what would be sent, and send nothing.")
@pass_app
def channel_test(app: App, channel_id: str, text: str, *, preview: bool) -> None:
    """Send a test through a channel, and show what was sent; ends by what came of it."""
    _test(app, channel_id, text, preview=preview)


@notify.command("test", cls=StellaCommand)
@click.argument("channel_id", metavar="CHANNEL")
@click.option("--text", default="", help="What to say in place of our own words.")
@click.option("--preview", is_flag=True, help="Show what would be sent, and send nothing.")
@pass_app
def test_command(app: App, channel_id: str, text: str, *, preview: bool) -> None:
    """Send a test through a channel: `stella notify channel test`."""
    _test(app, channel_id, text, preview=preview)


@notify.group(cls=StellaGroup)
def rule() -> None:
    """Who is told of what, how often, and when not."""


def _rule_options(command: Any) -> Any:
    options = (
        click.option("--channel", "channel", metavar="ID", help="Where it is told."),
        click.option("--event", "events", multiple=True, metavar="TYPE",
                     help="As run.failed, `run.*`, `*`; again for more. See `stella notify events`."),
        click.option("--severity-at-least", type=_SEVERITY, help="What matters less is not told."),
        click.option("--topic", "topics", multiple=True, metavar="TOPIC",
                     help="Only about these, as profile/trivy:db or `domain/*`; again for more."),
        click.option("--throttle", metavar="TIME", help="One message in so long about one topic, as 30m; 0 for each."),
        click.option("--quiet-hours", "hours", multiple=True, metavar="FROM-TO[@ZONE]",
                     help="Messages wait for the end of these hours, as 22:00-07:00@Europe/Berlin; again for more."),
        click.option("--quiet-below", type=_SEVERITY, help="What matters so much is told in quiet hours too."),
        click.option("--every-tenant/--own-tenant", default=None,
                     help="Events of all tenants and of the installation; for operators."),
        click.option("--name", help="For people."),
        click.option("--enable/--disable", "enabled", default=None, help="Whether the rule is in force."),
        _FROM,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@rule.command("create")
@click.argument("rule_id", metavar="ID")
@_rule_options
@pass_app
def rule_create(app: App, /, *, rule_id: str, file: Path | None, **options: Any) -> None:
    r"""Make a rule.

    \b
      stella notify rule create nights --channel ops --event '*' --severity-at-least warning \
        --quiet-hours 22:00-07:00@Europe/Berlin --throttle 1h
    """
    if file is not None:
        document = {**_document(file), "id": rule_id}
    else:
        if not options["channel"] or not options["events"]:
            raise UsageError("--channel and --event are needed, or --from")
        document = {"id": rule_id, **_rule_of(options)}
    _show(app, app.center.notify.create_rule(document))


@rule.command("update")
@click.argument("rule_id", metavar="ID")
@_rule_options
@pass_app
def rule_update(app: App, /, *, rule_id: str, file: Path | None, **options: Any) -> None:
    """Change what is given of a rule; the rest stays. Lists are replaced as a whole."""
    if file is not None:
        document = _document(file)
    else:
        kept = {name: value for name, value in app.center.notify.rule(rule_id).items() if value is not None}
        document = {**kept, **_rule_of(options)}
        if options["throttle"] == "0":
            document.pop("throttle", None)
    _show(app, app.center.notify.change_rule(rule_id, document))


def _list_rules(app: App) -> None:
    found = app.center.notify.rules()
    rows = [
        (each["id"], each["enabled"], each["channel"], each["events"], each["severityAtLeast"], each["throttle"],
         [_hours(window) for window in each["quietHours"]])
        for each in found
    ]  # fmt: skip
    app.out.rows(found, ("rule", "enabled", "channel", "events", "at least", "throttle", "quiet"), rows)


@rule.command("list")
@pass_app
def rule_list(app: App) -> None:
    """List the rules."""
    _list_rules(app)


@notify.command("rules", cls=StellaCommand)
@pass_app
def rules_command(app: App) -> None:
    """List the rules: `stella notify rule list`."""
    _list_rules(app)


def _show_and_delete(
    group: click.Group,
    shown: Callable[[Notify, str], Wire],
    forgotten: Callable[[Notify, str], Wire],
    means: str,
) -> None:
    """Give a group the commands that take one id: `means` says what forgetting it does."""

    @group.command("show", help=f"Show a {group.name}.")
    @click.argument("wanted", metavar="ID")
    @pass_app
    def show(app: App, wanted: str) -> None:
        _show(app, shown(app.center.notify, wanted))

    @group.command("delete", help=f"Forget a {group.name}{means}.")
    @click.argument("wanted", metavar="ID")
    @pass_app
    def delete(app: App, wanted: str) -> None:
        _show(app, forgotten(app.center.notify, wanted))


_show_and_delete(
    channel,
    lambda asked, name: asked.channel(name),
    lambda asked, name: asked.delete_channel(name),
    " that no rule sends to",
)
_show_and_delete(
    rule,
    lambda asked, name: asked.rule(name),
    lambda asked, name: asked.delete_rule(name),
    "; what it has made already is sent",
)


@notify.command("events", cls=StellaCommand)
@pass_app
def events_command(app: App) -> None:
    """List what rules can name."""
    found = app.center.notify.events()
    app.out.rows(found, ("event", "meaning"), [(each["type"], each["meaning"]) for each in found])


@notify.command("deliveries", cls=StellaCommand)
@click.option("--status", type=click.Choice([each.value for each in Status]), help="Only these.")
@click.option("--channel", metavar="ID", help="Only through this channel.")
@click.option("--rule", metavar="ID", help="Only by this rule.")
@click.option("--event", metavar="TYPE", help="Only about events of this type.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most."
)
@click.option("--show", "delivery_id", metavar="DELIVERY", help="All about one of them.")
@click.option("--retry", "again", metavar="DELIVERY", help="Have this one, which failed, tried again.")
@pass_app
def deliveries_command(
    app: App, *, status: str | None, channel: str | None, rule: str | None, event: str | None, limit: int,
    delivery_id: str | None, again: str | None,
) -> None:  # fmt: skip
    """List what was told and what came of it, newest first."""
    asked = app.center.notify
    if delivery_id or again:
        _show(app, asked.retry(again) if again else asked.delivery(delivery_id or ""))
        return
    _rows(app, asked.deliveries(DeliveriesWanted(status, channel, rule, event, limit)))


@notify.command("send", cls=StellaCommand)
@pass_app
def send_command(app: App) -> None:
    """Look at what is late and send what is due, once: for a data directory without workers."""
    with app.out.progress("sending"):
        found = app.center.notify.send_due()
    _rows(app, found)


def _rows(app: App, found: Sequence[Wire]) -> None:
    rows = [
        (each["deliveryId"], second(each["createdAt"]), each["event"]["type"], each["channel"], each["status"],
         each["attempts"], each["error"] or each["answer"] or each["note"], each["title"])
        for each in found
    ]  # fmt: skip
    app.out.rows(found, ("delivery", "at", "event", "channel", "status", "attempts", "detail", "title"), rows)


def _show(app: App, found: Wire) -> None:
    pairs = [(name, _flat(value)) for name, value in found.items()]
    app.out.value(found, pairs)


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, list):
        return [_hours(each) if isinstance(each, dict) and "from" in each else each for each in value]
    return value


def _pairs(values: Mapping[str, Any]) -> str:
    shown = (
        (name, ", ".join(map(str, value)) if isinstance(value, list) else value)
        for name, value in values.items()
    )
    return " ".join(f"{name}={value}" for name, value in shown)


def _hours(window: Mapping[str, Any]) -> str:
    days = f" ({', '.join(window['days'])})" if window["days"] else ""
    return f"{window['from']}-{window['to']}@{window['zone']}{days}"


def _channel(
    channel_id: str, kind: str | None, values: Sequence[str], name: str, *, disabled: bool, file: Path | None
) -> Wire:
    if file is not None:
        return {**_document(file), "id": channel_id}
    if kind is None:
        raise UsageError("--kind is needed, or --from")
    return {
        "id": channel_id,
        "kind": kind,
        "settings": _settings(values),
        "name": name,
        "enabled": not disabled,
    }


_LISTS = frozenset({"to"})
"""Settings that are lists, also of one part."""


def _settings(values: Sequence[str]) -> Wire:
    found: Wire = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"--set {text!r}: NAME=VALUE is needed")
        if name in _LISTS:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise UsageError(f"--set {name}: it is given twice")
        else:
            found[name] = value
    return found


def _rule_of(options: Mapping[str, Any]) -> Wire:
    """What was given of a rule."""
    quiet = [_window(text) for text in options["hours"]]
    throttle = None if options["throttle"] == "0" else options["throttle"]
    return _given(
        channel=options["channel"], events=list(options["events"]) or None,
        severityAtLeast=options["severity_at_least"], topics=list(options["topics"]) or None, throttle=throttle,
        quietHours=quiet or None, quietBelow=options["quiet_below"], everyTenant=options["every_tenant"],
        name=options["name"], enabled=options["enabled"],
    )  # fmt: skip


def _window(text: str) -> Wire:
    hours, _, zone = text.partition("@")
    begin, sign, end = hours.partition("-")
    if not sign:
        raise UsageError(f"--quiet-hours {text!r}: hours as 22:00-07:00@Europe/Berlin are needed")
    return {"from": begin, "to": end, "zone": zone or "UTC"}


def _given(**values: Any) -> Wire:
    return {name: value for name, value in values.items() if value is not None}


def _document(file: Path) -> Wire:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file}: names with values are needed")
    return dict(_named(found))


def _named(found: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    # Times and dates of YAML are texts here.
    for name, value in json.loads(json.dumps(found, default=str)).items():
        yield str(name), value
