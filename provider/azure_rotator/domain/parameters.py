"""Every parameter of a Target, a Rotated Secret and an event forwarder, once: name, type, default, rule, help.

The command line's options, the Pulumi arguments, ``check()``, the update table and the reference page are derived from
these rows or tested against them. ``validate`` applies every rule that needs neither store nor Azure, and reports all
failures at once.

    >>> values, problems = validate("secret", {"name": "a/b", "rotation_interval": 0})
    >>> [p.code for p in problems]
    ['ParameterMissing', 'ParameterMissing', 'IntervalOutOfRange']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from azure_rotator.domain.calendar import LAST_HOUR, zone_named
from azure_rotator.domain.errors import Problem, Rejected
from azure_rotator.domain.forwarding import (
    EVENT_TYPES,
    MAX_EVERY_HOURS,
    MIN_EVERY_HOURS,
    SHORTEST_SIGNING_KEY,
    WEBHOOK_CREDENTIALS,
    is_address,
    is_certificate_with_key,
    is_header_text,
    is_receiver,
    rooted,
)
from azure_rotator.domain.kinds import STORAGE_SUFFIXES
from azure_rotator.domain.model import (
    Account,
    AuthMode,
    ConnectionType,
    GraceTiming,
    RotatorType,
    RunnerType,
    StorageKeyMode,
    WebhookAuth,
)
from azure_rotator.domain.names import canonical_path, is_guid
from azure_rotator.domain.passwords import (
    DEFAULT_LENGTH,
    ENTRA_MIN_CLASSES,
    ENTRA_MIN_LENGTH,
    MAX_LENGTH,
    Policy,
)
from azure_rotator.domain.schedule import (
    MAX_INTERVAL_DAYS,
    MIN_INTERVAL_DAYS,
    duration_seconds,
    overlap,
    revoke_after_limit_seconds,
)

Subject = Literal["target", "secret", "webhook", "email"]

REFERENCE_PREFIXES = ("env:", "file:", "keyvault:")
LITERAL_PREFIX = "literal:"
# No parameter has more digits, and int() refuses to read some thousands of them.
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_LONGEST_ECHO = 40


class Kind(StrEnum):
    """The form of a value."""

    PATH = "path"
    TEXT = "text"
    BOOL = "bool"
    INT = "int"
    ENUM = "enum"
    GUID = "guid"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    TEXT_LIST = "list"
    INT_LIST = "numbers"
    DURATION = "duration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One row.

    Args:
        default: What an omitted parameter means; None: nothing, or decided by the engine.
        immutable: † of the spec: identifies the credential, an update refuses it, Pulumi replaces.
        rotators: The rotators it applies to; empty: all.
        aliases: Further flags of the command line, without dashes.
        only: Where it exists, when not in both front ends.
    """

    name: str
    kind: Kind
    help: str
    default: object = None
    required: bool = False
    immutable: bool = False
    choices: tuple[str, ...] = ()
    choice_aliases: Mapping[str, str] | None = None
    rotators: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    only: Literal["cli", "pulumi"] | None = None

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


_API_KEY = frozenset({RotatorType.API_KEY.value})
_PASSWORD = frozenset({RotatorType.PASSWORD.value})
_STORAGE = frozenset({RotatorType.STORAGE_ACCOUNT.value})
_CLIENT_SECRETS = frozenset({RotatorType.API_KEY.value, RotatorType.TARGET.value})

CREDENTIAL_OF: Mapping[RotatorType, str] = {RotatorType.API_KEY: "api_key", RotatorType.PASSWORD: "password"}
"""The parameter that is the present credential, by kind; the others read theirs from Azure or from the Target."""

MAX_LIFETIME_DAYS = 3_650
MAX_VERSIONS = 300
MIN_USAGE_DAYS = 90
STORAGE_KEY_NAMES = ("key1", "key2", "kerb1", "kerb2")

_NAME = Parameter(
    name="name",
    kind=Kind.PATH,
    required=True,
    aliases=("n",),
    help="path of the {subject}, e.g. /prod/billing; the leading slash is optional",
)
_DESCRIPTION = Parameter(name="description", kind=Kind.TEXT, default="", help="free text")
_DELETE_PROTECTION = Parameter(
    name="delete_protection",
    kind=Kind.BOOL,
    help="refuse every deletion, forced ones too, until it is switched off; as the account says unless set",
)

_MAX_VERSIONS = Parameter(
    name="max_versions",
    kind=Kind.INT,
    help=f"versions that are kept, 1-{MAX_VERSIONS}; the account's number unless set, and never more than that",
)
_KEEP_PREV_VERSION = Parameter(
    name="keep_prev_version",
    kind=Kind.BOOL,
    help="keep versions before the current one; as the account says unless set. What is still valid in Azure is kept",
)

_ADOPT = Parameter(
    name="adopt",
    kind=Kind.BOOL,
    only="pulumi",
    help="take over the {subject} of that name that the command line made, without its credential",
)

TARGET_PARAMETERS: tuple[Parameter, ...] = (
    _NAME,
    Parameter(
        name="connection_type",
        kind=Kind.ENUM,
        default=ConnectionType.CREDENTIALS.value,
        choices=tuple(ConnectionType),
        help="work as a privileged application (credentials) or as the managed or workload identity of the process "
        "that rotates (cloud-identity)",
    ),
    Parameter(name="tenant_id", kind=Kind.GUID, help="Entra tenant id; required with credentials"),
    Parameter(
        name="client_id",
        kind=Kind.GUID,
        help="application (client) id of the privileged application; required with credentials",
    ),
    Parameter(
        name="client_secret",
        kind=Kind.SECRET,
        help="its client secret, or a reference env:NAME, file:PATH or keyvault:URL that is resolved at each use",
    ),
    Parameter(
        name="client_secret_id",
        kind=Kind.GUID,
        help="keyId of that secret; the target rotator needs it only when several secrets begin alike",
    ),
    Parameter(
        name="azure_cloud",
        kind=Kind.ENUM,
        default="AzureCloud",
        choices=tuple(STORAGE_SUFFIXES),
        help="the cloud: login, Graph, ARM, storage and vault addresses together",
    ),
    Parameter(name="subscription_id", kind=Kind.GUID, help="subscription of the storage account"),
    Parameter(name="resource_group_name", kind=Kind.TEXT, help="resource group of the storage account"),
    Parameter(name="resource_name", kind=Kind.TEXT, help="name of the storage account"),
    Parameter(
        name="client_secret_version",
        kind=Kind.INT,
        only="pulumi",
        help="change it to send client_secret again",
    ),
    Parameter(
        name="force_deletion",
        kind=Kind.BOOL,
        only="pulumi",
        help="at delete: forget the Target although items use it, which are left without one",
    ),
    _ADOPT,
    _DESCRIPTION,
    _DELETE_PROTECTION,
    _MAX_VERSIONS,
    _KEEP_PREV_VERSION,
)

SECRET_PARAMETERS: tuple[Parameter, ...] = (
    _NAME,
    Parameter(name="target_name", kind=Kind.PATH, required=True, immutable=True, help="the Target to work with"),
    Parameter(
        name="rotator_type",
        kind=Kind.ENUM,
        required=True,
        immutable=True,
        choices=tuple(RotatorType),
        help="what to rotate: a client secret of an application (api-key), the Target's own secret (target), a user's "
        "password (password), a key of a storage account (azure-storage-account)",
    ),
    Parameter(
        name="authentication_credentials",
        kind=Kind.ENUM,
        choices=tuple(AuthMode),
        choice_aliases={"use-self-creds": AuthMode.USER.value, "target-rotator-creds": AuthMode.TARGET.value},
        help="who rotates: the application or user itself with the present credential (use-user-creds; the default for "
        "api-key and password), or the Target (use-target-creds; always for target and azure-storage-account)",
    ),
    Parameter(
        name="app_id",
        kind=Kind.GUID,
        immutable=True,
        rotators=_API_KEY,
        aliases=("application-id",),
        help="application (client) id whose client secret rotates",
    ),
    Parameter(
        name="api_id",
        kind=Kind.GUID,
        rotators=_API_KEY,
        help="keyId of an existing client secret to adopt; left out: one is minted, and only that is managed",
    ),
    Parameter(
        name="api_key",
        kind=Kind.SECRET,
        rotators=_API_KEY,
        help="the value of that client secret; with use-user-creds and no api-id only the first login",
    ),
    Parameter(
        name="username",
        kind=Kind.TEXT,
        immutable=True,
        rotators=_PASSWORD,
        help="user principal name of the user whose password rotates",
    ),
    Parameter(
        name="password",
        kind=Kind.SECRET,
        rotators=_PASSWORD,
        help="the user's present password; required with use-user-creds",
    ),
    Parameter(
        name="storage_account_key_name",
        kind=Kind.ENUM,
        immutable=True,
        rotators=_STORAGE,
        choices=STORAGE_KEY_NAMES,
        help="the key that rotates; with storage-key-mode alternate the one published first (key1 unless given)",
    ),
    Parameter(
        name="storage_key_mode",
        kind=Kind.ENUM,
        rotators=_STORAGE,
        choices=tuple(StorageKeyMode),
        help="named (the default): regenerate that key, which revokes its old value at once; alternate: regenerate the "
        "unpublished key of the pair and publish that one, so that the key handed out before stays valid",
    ),
    Parameter(
        name="explicitly_set_sa",
        kind=Kind.BOOL,
        immutable=True,
        rotators=_STORAGE,
        help="name the account here (resource-group-name and resource-name) and not by the Target",
    ),
    Parameter(
        name="resource_group_name",
        kind=Kind.TEXT,
        immutable=True,
        rotators=_STORAGE,
        help="resource group of the account, with explicitly-set-sa",
    ),
    Parameter(
        name="resource_name",
        kind=Kind.TEXT,
        immutable=True,
        rotators=_STORAGE,
        help="name of the account, with explicitly-set-sa",
    ),
    Parameter(name="auto_rotate", kind=Kind.BOOL, default=False, help="rotate on the interval"),
    Parameter(
        name="rotation_interval",
        kind=Kind.INT,
        help=f"days between rotations, {MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS}",
    ),
    Parameter(
        name="rotation_hour",
        kind=Kind.INT,
        help=f"hour of the day in time-zone at which rotations are due, 0-{LAST_HOUR}; 0 is midnight. Left out: "
        "exactly the interval after the last one",
    ),
    Parameter(
        name="time_zone",
        kind=Kind.TEXT,
        default="UTC",
        aliases=("tz",),
        help="IANA name of the zone that rotation-hour and grace-rotation-hour are told in, e.g. Europe/Berlin",
    ),
    Parameter(
        name="rotation_offset",
        kind=Kind.INT,
        help="phase of the rotations, 0 to below the interval, with an hour: due are the days whose number since "
        "1970-01-01 leaves it when divided by the interval, so that paired items stay apart",
    ),
    Parameter(
        name="rotation_event_in",
        kind=Kind.INT_LIST,
        default=(),
        help="days before an automatic rotation at which an event reminds of it; may be repeated",
    ),
    Parameter(
        name="revoke_after",
        kind=Kind.DURATION,
        rotators=_CLIENT_SECRETS,
        help="how long a replaced client secret stays valid: 0, or a whole number with s, m, h or d; "
        "24h unless set (interval 1: 12h)",
    ),
    Parameter(
        name="grace_rotation",
        kind=Kind.BOOL,
        rotators=_CLIENT_SECRETS,
        help="keep the replaced client secret valid for a grace of days, instead of revoke-after",
    ),
    Parameter(
        name="grace_rotation_interval",
        kind=Kind.INT,
        rotators=_CLIENT_SECRETS,
        help="days of grace, from 1 to below the interval (with timing before: below half of it, and required); left "
        "out: until the next rotation",
    ),
    Parameter(
        name="grace_rotation_hour",
        kind=Kind.INT,
        rotators=_CLIENT_SECRETS,
        help="hour of the day, 0-23, at which the grace ends",
    ),
    Parameter(
        name="grace_rotation_timing",
        kind=Kind.ENUM,
        rotators=_CLIENT_SECRETS,
        choices=tuple(GraceTiming),
        help="after (the default): the grace follows a due date; before: it comes before it, so that the first "
        "rotation is earlier by the grace. A change mints one fresh secret",
    ),
    Parameter(
        name="rotate_on_create",
        kind=Kind.BOOL,
        default=False,
        help="rotate an adopted credential as soon as it is taken",
    ),
    Parameter(name="rotate_on_read", kind=Kind.BOOL, default=False, help="rotate before each get-value"),
    Parameter(
        name="credential_lifetime",
        kind=Kind.INT,
        rotators=_CLIENT_SECRETS,
        help="days that a minted client secret lives, at least the interval and the time the old one stays valid; "
        "unless given the larger of twice the interval and the interval with that time and 7 days",
    ),
    Parameter(
        name="password_length",
        kind=Kind.INT,
        rotators=_PASSWORD,
        help=f"length of generated passwords, {ENTRA_MIN_LENGTH}-{MAX_LENGTH}",
    ),
    Parameter(name="use_capital_letters", kind=Kind.BOOL, rotators=_PASSWORD, help="capital letters in passwords"),
    Parameter(name="use_lower_letters", kind=Kind.BOOL, rotators=_PASSWORD, help="lower letters in passwords"),
    Parameter(name="use_numbers", kind=Kind.BOOL, rotators=_PASSWORD, help="digits in passwords"),
    Parameter(name="use_special_characters", kind=Kind.BOOL, rotators=_PASSWORD, help="other characters in passwords"),
    _DESCRIPTION,
    Parameter(
        name="tags", kind=Kind.TEXT_LIST, default=(), aliases=("t", "tag"), help="tags; the option may be repeated"
    ),
    _DELETE_PROTECTION,
    _MAX_VERSIONS,
    _KEEP_PREV_VERSION,
    Parameter(
        name="skip_dry_run",
        kind=Kind.BOOL,
        default=False,
        help="do not check against Azure before creating or updating",
    ),
    Parameter(
        name="credential_version", kind=Kind.INT, only="pulumi", help="change it to send api_key or password again"
    ),
    Parameter(name="rotation_trigger", kind=Kind.TEXT, only="pulumi", help="change it to rotate now"),
    Parameter(
        name="force_delete",
        kind=Kind.BOOL,
        only="pulumi",
        help="at delete: drop the item although Azure refuses to remove its secrets, and name what is left there",
    ),
    _ADOPT,
)

_ACCOUNT = Account()

ACCOUNT_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="default_versioning",
        kind=Kind.BOOL,
        default=True,
        help="keep versions before the current one, unless an item or Target says otherwise",
    ),
    Parameter(
        name="max_versions",
        kind=Kind.INT,
        default=_ACCOUNT.max_versions,
        help=f"versions that are kept, 1-{MAX_VERSIONS}; no item or Target keeps more",
    ),
    Parameter(
        name="items_deletion_protection",
        kind=Kind.BOOL,
        default=False,
        help="protect new items and Targets against deletion unless they say otherwise",
    ),
    Parameter(
        name="max_rotation_interval_enable",
        kind=Kind.BOOL,
        default=False,
        help="refuse rotation intervals above max-rotation-interval",
    ),
    Parameter(
        name="max_rotation_interval",
        kind=Kind.INT,
        default=_ACCOUNT.max_rotation_interval,
        help=f"the longest rotation interval, {MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS} days",
    ),
    Parameter(
        name="password_length",
        kind=Kind.INT,
        default=_ACCOUNT.password_length,
        help=f"length of generated passwords, {ENTRA_MIN_LENGTH}-{MAX_LENGTH}, unless an item says otherwise",
    ),
    Parameter(name="use_capital_letters", kind=Kind.BOOL, default=True, help="capital letters in passwords"),
    Parameter(name="use_lower_letters", kind=Kind.BOOL, default=True, help="lower letters in passwords"),
    Parameter(name="use_numbers", kind=Kind.BOOL, default=True, help="digits in passwords"),
    Parameter(name="use_special_characters", kind=Kind.BOOL, default=True, help="other characters in passwords"),
    Parameter(name="invalid_characters", kind=Kind.TEXT, default="", help="characters that new names must not have"),
    Parameter(
        name="usage_event_enable", kind=Kind.BOOL, default=False, help="send an event for items that nobody reads"
    ),
    Parameter(
        name="usage_event_interval",
        kind=Kind.INT,
        default=_ACCOUNT.usage_event_interval,
        help=f"days without a read before that event, at least {MIN_USAGE_DAYS}",
    ),
)

_FORWARDER_PARAMETERS: tuple[Parameter, ...] = (
    _NAME,
    Parameter(
        name="runner_type",
        kind=Kind.ENUM,
        default=RunnerType.IMMEDIATE.value,
        choices=tuple(RunnerType),
        help="send each event at once (immediate), or what came together as one list (periodic)",
    ),
    Parameter(
        name="every",
        kind=Kind.INT,
        help=f"hours between two lists, {MIN_EVERY_HOURS}-{MAX_EVERY_HOURS}; required with periodic",
    ),
    Parameter(
        name="event_types",
        kind=Kind.TEXT_LIST,
        default=(),
        help=f"only events of this type; may be repeated. One of: {', '.join(EVENT_TYPES)}",
    ),
    Parameter(
        name="items_event_source_locations",
        kind=Kind.TEXT_LIST,
        default=(),
        help="only events of items whose path this glob fits, e.g. /prod/*; may be repeated",
    ),
    Parameter(
        name="targets_event_source_locations",
        kind=Kind.TEXT_LIST,
        default=(),
        help="only events of items whose Target's path this glob fits; may be repeated. With globs of both kinds one "
        "that fits is enough",
    ),
)

WEBHOOK_PARAMETERS: tuple[Parameter, ...] = (
    *_FORWARDER_PARAMETERS,
    Parameter(
        name="url",
        kind=Kind.TEXT,
        required=True,
        help="the receiver's address, https://…; it is sealed in the store, and shown without its query",
    ),
    Parameter(
        name="signing_key",
        kind=Kind.SECRET,
        required=True,
        help=f"the key that signs each body, at least {SHORTEST_SIGNING_KEY} characters: X-Azure-Rotator-Signature is "
        't=<unix>,v1=<hex of HMAC-SHA256 of "t.body">',
    ),
    Parameter(
        name="auth_type",
        kind=Kind.ENUM,
        choices=tuple(WebhookAuth),
        help="how the receiver knows us besides the signature; left out: not at all",
    ),
    Parameter(name="username", kind=Kind.TEXT, help="the user's name, with user-pass"),
    Parameter(name="password", kind=Kind.SECRET, help="the user's password, with user-pass"),
    Parameter(name="auth_token", kind=Kind.SECRET, help="the token, with bearer-token"),
    Parameter(
        name="client_certificate",
        kind=Kind.SECRET,
        help="the certificate and its private key in PEM, without a pass phrase, with certificate",
    ),
)

EMAIL_PARAMETERS: tuple[Parameter, ...] = (
    *_FORWARDER_PARAMETERS,
    Parameter(name="email_to", kind=Kind.TEXT_LIST, required=True, help="an address to send to; may be repeated"),
    Parameter(
        name="include_error",
        kind=Kind.BOOL,
        default=False,
        help="tell the text of an error in the mail, not only its code",
    ),
)

PARAMETERS: Mapping[Subject, tuple[Parameter, ...]] = {
    "target": TARGET_PARAMETERS,
    "secret": SECRET_PARAMETERS,
    "webhook": WEBHOOK_PARAMETERS,
    "email": EMAIL_PARAMETERS,
}


def applies(subject: Subject, name: str, kind: RotatorType) -> bool:
    """Whether the parameter of that name has a meaning for this kind of credential."""
    rotators = parameter(subject, name).rotators
    return not rotators or kind in rotators


def parameter(subject: Subject, name: str) -> Parameter:
    """The row of that name. Raises: KeyError."""
    for row in PARAMETERS[subject]:
        if row.name == name:
            return row
    raise KeyError(name)


def secret_parameters(subject: Subject) -> frozenset[str]:
    """Names of the parameters whose literal values are credentials."""
    return frozenset(row.name for row in PARAMETERS[subject] if row.kind is Kind.SECRET)


def is_reference(value: str) -> bool:
    """Whether a credential argument is a reference, resolved at use, and not the credential itself."""
    return value.startswith(REFERENCE_PREFIXES)


def literal_text(value: str) -> str:
    """The credential in a literal argument: ``literal:`` in front stops interpretation."""
    return value.removeprefix(LITERAL_PREFIX)


def validate(
    subject: Subject, given: Mapping[str, object], *, unknown: Collection[str] = (), defaults: bool = True
) -> tuple[dict[str, object], list[Problem]]:
    """Normalise what was given and apply every rule that needs no server.

    Args:
        given: Values by parameter name; None means omitted. Strings are accepted for every kind.
        unknown: Names whose values are not known yet (a Pulumi preview): no rule that needs them is applied.
        defaults: Fill in fixed defaults of what was omitted.

    Returns:
        The normalised values (omitted ones absent unless a default was filled in), and all failures.
    """
    values: dict[str, object] = {}
    problems: list[Problem] = []
    known = {row.name for row in PARAMETERS[subject]}
    problems += [
        Problem(property=name, code="ParameterIrrelevant", message=f"{name} is not a parameter of {_article(subject)}")
        for name in given
        if name not in known
    ]
    for row in PARAMETERS[subject]:
        raw = given.get(row.name)
        if row.name in unknown:
            continue
        if raw is None:
            if defaults and row.default is not None:
                values[row.name] = row.default
            if row.required:
                problems.append(_missing(row.name, f"{_article(subject)} needs it"))
            continue
        try:
            values[row.name] = _normalise(row, raw)
        except Rejected as refused:
            problems.append(Problem(property=row.name, code=refused.code, message=refused.message, hint=refused.hint))
    if subject == "secret" and defaults:
        _fill_in_by_kind(values, set(unknown) | {p.property for p in problems})
    # A property that failed its own rule counts as given and not known: one mistake, one message.
    cannot_tell = set(unknown) | {p.property for p in problems}
    problems += _RULES[subject](values, cannot_tell, given)
    order = {row.name: index for index, row in enumerate(PARAMETERS[subject])}
    problems.sort(key=lambda p: order.get(p.property, len(order)))
    return values, problems


def validate_account(given: Mapping[str, object]) -> tuple[dict[str, Any], list[Problem]]:
    """The account's settings, normalised and complete, and all failed rules."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for row in ACCOUNT_PARAMETERS:
        raw = given.get(row.name)
        try:
            values[row.name] = row.default if raw is None else _normalise(row, raw)
        except Rejected as refused:
            problems.append(Problem(property=row.name, code=refused.code, message=refused.message, hint=refused.hint))
    failed = {problem.property for problem in problems}
    longest, quiet = values.get("max_rotation_interval"), values.get("usage_event_interval")
    if isinstance(longest, int) and not MIN_INTERVAL_DAYS <= longest <= MAX_INTERVAL_DAYS:
        problems.append(
            Problem(
                property="max_rotation_interval",
                code="IntervalOutOfRange",
                message=f"max_rotation_interval {longest} is not within {MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS} days",
                hint="max_rotation_interval_enable false takes the bound away",
            )
        )
    if isinstance(quiet, int) and not MIN_USAGE_DAYS <= quiet <= MAX_LIFETIME_DAYS:
        problems.append(
            Problem(
                property="usage_event_interval",
                code="ParameterInvalid",
                message=f"usage_event_interval {quiet} is not within {MIN_USAGE_DAYS}-{MAX_LIFETIME_DAYS} days",
                hint=f"at least {MIN_USAGE_DAYS} days",
            )
        )
    if not failed & {"password_length", *_CLASSES}:
        problems += _policy_rules(values)
    return values, problems


def _fill_in_by_kind(values: dict[str, object], cannot_tell: Collection[str]) -> None:
    """Defaults that depend on the kind of credential."""
    kind = values.get("rotator_type")
    if kind is not None and "authentication_credentials" not in cannot_tell:
        itself = kind in (RotatorType.API_KEY, RotatorType.PASSWORD)
        values.setdefault("authentication_credentials", (AuthMode.USER if itself else AuthMode.TARGET).value)
    if kind == RotatorType.STORAGE_ACCOUNT and "storage_key_mode" not in cannot_tell:
        values.setdefault("storage_key_mode", StorageKeyMode.NAMED.value)
        alternates = values["storage_key_mode"] == StorageKeyMode.ALTERNATE
        if alternates and "storage_account_key_name" not in cannot_tell:
            values.setdefault("storage_account_key_name", STORAGE_KEY_NAMES[0])


NOUNS: Mapping[Subject, str] = {
    "target": "Target",
    "secret": "Rotated Secret",
    "webhook": "webhook",
    "email": "e-mail forwarder",
}


def _article(subject: Subject) -> str:
    return f"{'an' if subject == 'email' else 'a'} {NOUNS[subject]}"


def _missing(name: str, why: str) -> Problem:
    return Problem(
        property=name,
        code="ParameterMissing",
        message=f"{name} is missing: {why}",
        hint=f"set {name} (--{name.replace('_', '-')})",
    )


def _normalise(row: Parameter, raw: object) -> object:  # noqa: C901 - one arm a kind
    match row.kind:
        case Kind.PATH:
            return canonical_path(_text(row, raw))
        case Kind.TEXT | Kind.SECRET:
            text = _text(row, raw)
            return zone_named(text).key if row.name == "time_zone" else text
        case Kind.BOOL:
            if isinstance(raw, bool):
                return raw
            if isinstance(raw, str) and raw.lower() in {"true", "false"}:
                return raw.lower() == "true"
            raise Rejected(
                "ParameterInvalid", f"{row.name} is neither true nor false", hint=f"set {row.name} to true or false"
            )
        case Kind.INT:
            return _integer(row, raw)
        case Kind.ENUM:
            text = _text(row, raw)
            text = (row.choice_aliases or {}).get(text, text)
            if text not in row.choices:
                code = _ENUM_CODES.get(row.name, "ParameterInvalid")
                raise Rejected(code, f"{row.name} {text!r} does not exist", hint=f"one of: {', '.join(row.choices)}")
            return text
        case Kind.GUID:
            text = _text(row, raw)
            if not is_guid(text):
                # Never echoed: people paste the secret's value where its id belongs.
                raise Rejected("IdentifierMixedUp", f"{row.name} is not a GUID", hint=_GUID_HINTS.get(row.name, ""))
            return text.lower()
        case Kind.TEXT_LIST:
            if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
                raise Rejected("ParameterInvalid", f"{row.name} is not a list of texts")
            return tuple(_entry(row, _text(row, entry)) for entry in raw)
        case Kind.INT_LIST:
            if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
                raise Rejected("ParameterInvalid", f"{row.name} is not a list of whole numbers")
            return tuple(sorted({_integer(row, entry) for entry in raw}, reverse=True))
        case Kind.DURATION:
            text = _text(row, raw)
            if duration_seconds(text) is None:
                raise Rejected(
                    "ParameterInvalid",
                    f"{row.name} {text!r} is not a duration",
                    hint="0, or a whole number with s, m, h or d, e.g. 24h",
                )
            return text


_GLOBS = frozenset({"items_event_source_locations", "targets_event_source_locations"})
_HOURS = frozenset({"rotation_hour", "grace_rotation_hour"})
_ENUM_CODES = {
    "rotator_type": "RotatorTypeInvalid",
    "authentication_credentials": "AuthModeInvalid",
    "storage_account_key_name": "StorageKeyNameInvalid",
}
_GUID_HINTS = {
    "client_secret_id": 'client-secret-id is the secret\'s keyId ("Secret ID" in the portal), not its value',
    "subscription_id": "subscription-id is the subscription's id, not its name",
    "api_id": 'api-id is the secret\'s keyId ("Secret ID" in the portal), not its value',
    "app_id": "app-id is the application (client) id",
    "client_id": "client-id is the application (client) id",
    "tenant_id": "tenant-id is the directory (tenant) id",
}


def _text(row: Parameter, raw: object) -> str:
    if not isinstance(raw, str):
        raise Rejected("ParameterInvalid", f"{row.name} is not a text")
    if row.kind is Kind.SECRET and not literal_text(raw):
        raise Rejected("ParameterMissing", f"{row.name} is empty", hint="give the credential, or env:NAME or file:PATH")
    return raw


def _entry(row: Parameter, text: str) -> str:
    """An entry of a list of texts."""
    if row.name in _GLOBS:
        return rooted(text)
    if row.name == "event_types" and text not in EVENT_TYPES:
        raise Rejected(
            "NotificationInvalid",
            f"event_types {_echo(text)} does not exist",
            hint=f"one of: {', '.join(EVENT_TYPES)}",
        )
    if row.name == "email_to" and not is_address(text):
        raise Rejected(
            "ParameterInvalid",
            f"email_to {_echo(text)} is not an e-mail address",
            hint="one plain address, e.g. ops@example.org; the option may be repeated",
        )
    return text


def _integer(row: Parameter, raw: object) -> int:
    """Whole floats are integers: Pulumi sends every number as a float (pulumi#13830)."""
    number: int | None = None
    if isinstance(raw, bool):
        pass  # a bool is an int to Python, not to a person
    elif isinstance(raw, int):
        number = raw
    elif isinstance(raw, float):
        number = int(raw) if raw.is_integer() else None
    elif isinstance(raw, str) and _DIGITS.fullmatch(raw):
        number = int(raw)
    if row.name == "rotation_interval":
        if number is None or not MIN_INTERVAL_DAYS <= number <= MAX_INTERVAL_DAYS:
            raise Rejected(
                "IntervalOutOfRange",
                f"rotation_interval {_echo(raw)} is not a whole number of days in "
                f"{MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS}",
                hint=f"set rotation_interval to {MIN_INTERVAL_DAYS}-{MAX_INTERVAL_DAYS}",
            )
        return number
    if row.name == "every" and (number is None or not MIN_EVERY_HOURS <= number <= MAX_EVERY_HOURS):
        raise Rejected(
            "IntervalOutOfRange",
            f"every {_echo(raw)} is not a whole number of hours in {MIN_EVERY_HOURS}-{MAX_EVERY_HOURS}",
            hint=f"set every to {MIN_EVERY_HOURS}-{MAX_EVERY_HOURS}",
        )
    if row.name in _HOURS:
        if number is None or not 0 <= number <= LAST_HOUR:
            raise Rejected(
                "HourOutOfRange",
                f"{row.name} {_echo(raw)} is no hour of the day",
                hint=f"0-{LAST_HOUR}; it is an hour, not a number of hours",
            )
        return number
    if row.name == "rotation_event_in" and (number is None or number < 1):
        raise Rejected(
            "NotificationInvalid",
            f"rotation_event_in {_echo(raw)} is not a positive number of days",
            hint="days before a rotation, from 1 to below the interval",
        )
    if number is None:
        raise Rejected("ParameterInvalid", f"{row.name} {_echo(raw)} is not a whole number")
    if row.name == "max_versions" and not 1 <= number <= MAX_VERSIONS:
        raise Rejected(
            "ParameterInvalid",
            f"max_versions {_echo(raw)} is not within 1-{MAX_VERSIONS}",
            hint=f"set max_versions to 1-{MAX_VERSIONS}; keep_prev_version false keeps none but the current one",
        )
    return number


def _echo(raw: object) -> str:
    shown = repr(raw)
    return shown if len(shown) <= _LONGEST_ECHO else shown[:_LONGEST_ECHO] + "…"


def _target_rules(
    values: Mapping[str, object], cannot_tell: Collection[str], given: Mapping[str, object]
) -> list[Problem]:
    problems: list[Problem] = []
    connection = values.get("connection_type")
    if connection == ConnectionType.CREDENTIALS:
        problems += [
            _missing(name, "connection_type credentials needs it")
            for name in ("tenant_id", "client_id", "client_secret")
            if name not in values and name not in cannot_tell
        ]
    if connection == ConnectionType.CLOUD_IDENTITY and given.get("client_secret") is not None:
        problems.append(
            Problem(
                property="client_secret",
                code="ParameterIrrelevant",
                message="client_secret has no meaning with connection_type cloud-identity",
                hint="leave it out, or use connection_type credentials",
            )
        )
    problems += _guid_as_secret("client_secret", values)
    return problems


def _guid_as_secret(name: str, values: Mapping[str, object]) -> list[Problem]:
    value = values.get(name)
    if isinstance(value, str) and is_guid(literal_text(value)):
        return [
            Problem(
                property=name,
                code="IdentifierMixedUp",
                message=f"{name} is a GUID: it looks like the secret's id, not its value",
                hint=f"{name} is the secret's value, shown once when it was made",
            )
        ]
    return []


def _secret_rules(
    values: Mapping[str, object], cannot_tell: Collection[str], given: Mapping[str, object]
) -> list[Problem]:
    problems: list[Problem] = []
    rotator = values.get("rotator_type")
    if rotator is not None:
        problems += [
            Problem(
                property=row.name,
                code="ParameterIrrelevant",
                message=f"{row.name} has no meaning for rotator_type {rotator}",
                hint=f"leave {row.flag} out",
            )
            for row in SECRET_PARAMETERS
            if row.rotators and rotator not in row.rotators and given.get(row.name) is not None
        ]
    if rotator == RotatorType.API_KEY:
        problems += _api_key_rules(values, cannot_tell)
    if rotator == RotatorType.PASSWORD:
        problems += _password_rules(values, cannot_tell)
    if rotator == RotatorType.STORAGE_ACCOUNT:
        problems += _storage_rules(values, cannot_tell)
    if rotator in (RotatorType.TARGET, RotatorType.STORAGE_ACCOUNT):
        problems += _target_acts(values)
    interval = values.get("rotation_interval")
    if values.get("auto_rotate") is True and interval is None and "rotation_interval" not in cannot_tell:
        problems.append(_missing("rotation_interval", "auto_rotate needs an interval"))
    problems += _schedule_rules(values, cannot_tell)
    revoke_after = values.get("revoke_after")
    if isinstance(revoke_after, str):
        # Without an interval the longest one bounds it: a date beyond the calendar could never be published.
        days = interval if isinstance(interval, int) else MAX_INTERVAL_DAYS
        limit = revoke_after_limit_seconds(days)
        if (duration_seconds(revoke_after) or 0) > limit:
            longest = f"{limit // 3600}h"
            problems.append(
                Problem(
                    property="revoke_after",
                    code="ParameterInvalid",
                    message=f"revoke_after {revoke_after} is too long for an interval of {days} days",
                    hint=f"at most {longest}: the interval less a day (interval 1: 12h)",
                )
            )
    if rotator is None or rotator in _CLIENT_SECRETS:
        problems += _grace_rules(values, cannot_tell)
    problems += _lifetime_rules(values)
    return problems


def _schedule_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    """The phase and the reminders lie within an interval (features 2.3)."""
    problems: list[Problem] = []
    interval, offset = values.get("rotation_interval"), values.get("rotation_offset")
    if isinstance(offset, int):
        if values.get("rotation_hour") is None and "rotation_hour" not in cannot_tell:
            problems.append(_missing("rotation_hour", "rotation_offset counts days that have an hour"))
        if interval is None and "rotation_interval" not in cannot_tell:
            problems.append(_missing("rotation_interval", "rotation_offset is a part of it"))
        if offset < 0 or (isinstance(interval, int) and offset >= interval):
            problems.append(
                Problem(
                    property="rotation_offset",
                    code="ParameterInvalid",
                    message=f"rotation_offset {_echo(offset)} is not from 0 to below the interval",
                    hint=f"0-{interval - 1}" if isinstance(interval, int) else "0 to below the interval",
                )
            )
    reminders = values.get("rotation_event_in")
    late = [n for n in reminders if isinstance(interval, int) and n >= interval] if isinstance(reminders, tuple) else []
    if late:
        problems.append(
            Problem(
                property="rotation_event_in",
                code="NotificationInvalid",
                message=f"rotation_event_in {_echo(late[0])} is not below the interval of {interval} days",
                hint="a reminder lies between two rotations",
            )
        )
    return problems


def _grace_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    """Both are valid for less than an interval; before a due date for less than half of one (features 3.6)."""
    interval, grace = values.get("rotation_interval"), values.get("grace_rotation_interval")
    before = values.get("grace_rotation_timing") == GraceTiming.BEFORE
    on = values.get("grace_rotation") is True
    wrong: str | None = None
    if isinstance(grace, int) and grace < 1:
        wrong = f"grace_rotation_interval {_echo(grace)} is not at least a day"
    elif isinstance(grace, int) and isinstance(interval, int) and grace >= interval:
        wrong = f"grace_rotation_interval {grace} is not below the interval of {interval} days"
    elif before and isinstance(grace, int) and isinstance(interval, int) and 2 * grace >= interval:
        wrong = f"grace_rotation_interval {grace} is not below half of the interval of {interval} days"
    elif before and on and grace is None and "grace_rotation_interval" not in cannot_tell:
        wrong = "grace_rotation_timing before needs a grace_rotation_interval"
    problems: list[Problem] = []
    if wrong is not None:
        problems.append(
            Problem(
                property="grace_rotation_interval",
                code="GraceIntervalInvalid",
                message=wrong,
                hint="from 1 to below the interval; with timing before below half of it",
            )
        )
    if on and values.get("revoke_after") is not None:
        problems.append(
            Problem(
                property="revoke_after",
                code="ParameterIrrelevant",
                message="revoke_after has no meaning with grace_rotation: the grace says how long both are valid",
                hint="leave one of them out",
            )
        )
    return problems


def _lifetime_rules(values: Mapping[str, object]) -> list[Problem]:
    """A secret must outlive its rotation and the time both are valid (features 3.7)."""
    lifetime, interval, revoke_after = (
        values.get(name) for name in ("credential_lifetime", "rotation_interval", "revoke_after")
    )
    if not isinstance(lifetime, int):
        return []
    if not 1 <= lifetime <= MAX_LIFETIME_DAYS:
        return [
            Problem(
                property="credential_lifetime",
                code="LifetimeTooShort" if lifetime < 1 else "ParameterInvalid",
                message=f"credential_lifetime {_echo(lifetime)} is not within 1-{MAX_LIFETIME_DAYS} days",
                hint=f"at least a day, at most {MAX_LIFETIME_DAYS} days",
            )
        ]
    needed = timedelta(days=interval if isinstance(interval, int) and values.get("auto_rotate") is True else 0)
    graceful = values.get("grace_rotation") is True
    grace = values.get("grace_rotation_interval")
    if graceful:
        both = grace if isinstance(grace, int) else interval
        needed += timedelta(days=both if isinstance(both, int) else 0)
    elif isinstance(revoke_after, str | None) and (revoke_after is None or duration_seconds(revoke_after) is not None):
        needed += overlap(revoke_after, interval if isinstance(interval, int) else None)
    if timedelta(days=lifetime) >= needed:
        return []
    return [
        Problem(
            property="credential_lifetime",
            code="LifetimeTooShort",
            message=f"credential_lifetime {lifetime} ends before its successor has taken over",
            hint=f"at least {-(-needed // timedelta(days=1))} days: the interval and the time both are valid",
        )
    ]


def _target_acts(values: Mapping[str, object]) -> list[Problem]:
    if values.get("authentication_credentials") != AuthMode.USER:
        return []
    return [
        Problem(
            property="authentication_credentials",
            code="AuthModeInvalid",
            message=f"authentication_credentials use-user-creds has no meaning for rotator_type "
            f"{values.get('rotator_type')}: the Target always acts",
            hint="leave it out, or say use-target-creds",
        )
    ]


def _password_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []
    if values.get("username") is None and "username" not in cannot_tell:
        problems.append(_missing("username", "rotator_type password needs the user principal name"))
    himself = values.get("authentication_credentials") == AuthMode.USER
    if himself and values.get("password") is None and "password" not in cannot_tell:
        problems.append(_missing("password", "with use-user-creds the user signs in with the present password"))
    return [*problems, *_policy_rules(values)]


_CLASSES = ("use_capital_letters", "use_lower_letters", "use_numbers", "use_special_characters")


def _policy_rules(values: Mapping[str, object]) -> list[Problem]:
    """That Entra would take passwords like that."""
    length = values.get("password_length")
    capitals, lowers, numbers, specials = (values.get(name) is not False for name in _CLASSES)
    policy = Policy(
        length=length if isinstance(length, int) else DEFAULT_LENGTH,
        capital_letters=capitals,
        lower_letters=lowers,
        numbers=numbers,
        special_characters=specials,
    )
    try:
        policy.check()
    except Rejected as refused:
        off = next((name for name in _CLASSES if values.get(name) is False), "password_length")
        culprit = off if len(policy.classes()) < ENTRA_MIN_CLASSES else "password_length"
        return [Problem(property=culprit, code=refused.code, message=refused.message, hint=refused.hint)]
    return []


def _storage_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []
    named = values.get("storage_key_mode") == StorageKeyMode.NAMED
    if named and values.get("storage_account_key_name") is None and "storage_account_key_name" not in cannot_tell:
        problems.append(_missing("storage_account_key_name", "storage_key_mode named regenerates that key"))
    if "explicitly_set_sa" in cannot_tell:
        return problems
    explicit = values.get("explicitly_set_sa") is True
    for name in ("resource_group_name", "resource_name"):
        if name in cannot_tell:
            continue
        if explicit and values.get(name) is None:
            problems.append(_missing(name, "explicitly_set_sa names the account here"))
        if not explicit and values.get(name) is not None:
            problems.append(
                Problem(
                    property=name,
                    code="ParameterIrrelevant",
                    message=f"{name} has no meaning without explicitly_set_sa: the Target names the account",
                    hint=f"set explicitly_set_sa to true, or leave {name} out",
                )
            )
    return problems


def _api_key_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []
    app_id, api_id, api_key = values.get("app_id"), values.get("api_id"), values.get("api_key")
    mode = values.get("authentication_credentials")
    if app_id is None and "app_id" not in cannot_tell:
        problems.append(_missing("app_id", "rotator_type api-key needs the application (client) id"))
    if api_id is not None and api_id == app_id:
        problems.append(
            Problem(
                property="api_id",
                code="IdentifierMixedUp",
                message="api_id is the same as app_id",
                hint="api-id is the secret's keyId, app-id the application (client) id",
            )
        )
    problems += _guid_as_secret("api_key", values)
    if api_key is None and "api_key" not in cannot_tell and mode == AuthMode.USER:
        problems.append(_missing("api_key", "with use-user-creds the application logs in with its own present secret"))
    if api_key is not None and api_id is None and "api_id" not in cannot_tell and mode == AuthMode.TARGET:
        problems.append(_missing("api_id", "api_key needs the keyId it belongs to"))
    return problems


# --- event forwarders


def _email_rules(
    values: Mapping[str, object], cannot_tell: Collection[str], given: Mapping[str, object]
) -> list[Problem]:
    problems = _runner_rules(values, cannot_tell)
    if values.get("email_to") == ():
        problems.append(_missing("email_to", "somebody must get the mails"))
    return problems


def _webhook_rules(
    values: Mapping[str, object], cannot_tell: Collection[str], given: Mapping[str, object]
) -> list[Problem]:
    problems = _runner_rules(values, cannot_tell)
    url = values.get("url")
    if isinstance(url, str) and not is_receiver(url):
        problems.append(
            Problem(
                property="url",
                code="ParameterInvalid",
                message="url is no address of a receiver",  # never echoed: it may hold a key
                hint="https://HOST/…, without user, password and fragment; use auth-type for a login",
            )
        )
    wanted = {WEBHOOK_CREDENTIALS[way] for way in WebhookAuth if values.get("auth_type") == way}
    wanted |= {"username"} if "password" in wanted else set()
    if "auth_type" not in cannot_tell:
        for name in ("username", *WEBHOOK_CREDENTIALS.values()):
            if name in wanted and name not in values and name not in cannot_tell:
                problems.append(_missing(name, f"auth_type {values['auth_type']} needs it"))
            if name not in wanted and given.get(name) is not None:
                problems.append(
                    Problem(
                        property=name,
                        code="ParameterIrrelevant",
                        message=f"{name} has no meaning with auth_type {values.get('auth_type', 'left out')}",
                        hint=f"leave {name} out, or set the auth_type that it belongs to",
                    )
                )
    for name, fits in SECRET_FORMS.items():
        value = values.get(name)
        if isinstance(value, str) and not is_reference(value):
            problems += refuse_form(name, fits=fits(literal_text(value)))
    return problems


def _runner_rules(values: Mapping[str, object], cannot_tell: Collection[str]) -> list[Problem]:
    periodic = values.get("runner_type") == RunnerType.PERIODIC
    if "runner_type" in cannot_tell or "every" in cannot_tell or periodic == ("every" in values):
        return []
    if periodic:
        return [_missing("every", "runner_type periodic needs it")]
    return [
        Problem(
            property="every",
            code="ParameterIrrelevant",
            message="every has no meaning with runner_type immediate",
            hint="leave every out, or set runner_type periodic",
        )
    ]


SECRET_FORMS: Mapping[str, Callable[[str], bool]] = {
    "signing_key": lambda value: len(value) >= SHORTEST_SIGNING_KEY,
    "auth_token": is_header_text,
    "client_certificate": is_certificate_with_key,
}
"""The form that a forwarder's credential must have, by parameter."""
_SECRET_HINTS = {
    "signing_key": f"at least {SHORTEST_SIGNING_KEY} characters, else who sees one body can find it out",
    "auth_token": "printable ASCII in one line, as a header takes it",
    "client_certificate": "a PEM with -----BEGIN CERTIFICATE----- and a PRIVATE KEY that has no pass phrase",
}


def refuse_form(name: str, *, fits: bool) -> list[Problem]:
    """The failed rule of a forwarder's credential that has not the form it must have."""
    if fits:
        return []
    return [
        Problem(
            property=name,
            code="ParameterInvalid",
            message=f"{name} has not the form it must have",
            hint=_SECRET_HINTS[name],
        )
    ]


_RULES: Mapping[Subject, Callable[..., list[Problem]]] = {
    "target": _target_rules,
    "secret": _secret_rules,
    "webhook": _webhook_rules,
    "email": _email_rules,
}
