"""The two dynamic providers. WIRE FORMAT: never rename this module or the two classes.

An instance is pickled by reference, ``azure_rotator.resources.providers`` and the class's name, into the state of every
stack; refresh and delete of old resources run today's code through that name. Instances have no attributes. (A class in
``__main__`` would be pickled by value, with the secrets its globals hold.)

``check`` and ``diff`` are pure and open no store; ``configure`` only keeps settings; ``create``, ``read``, ``update``
and ``delete`` ask the engine. Every method is guarded: see ``guard``. The calls come from four threads.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from azure_rotator.domain.errors import NotFound, Problem
from azure_rotator.domain.model import ConnectionType
from azure_rotator.domain.parameters import PARAMETERS, Kind, Subject
from azure_rotator.resources import session
from azure_rotator.resources.diffing import Difference, compare, refuse_replacement
from azure_rotator.resources.guard import guarded
from azure_rotator.resources.inputs import (
    CREDENTIALS,
    FINGERPRINT,
    Bag,
    arguments,
    check,
    fingerprint,
    live,
    plain,
    secret_outputs,
    target_outputs,
)

_T = TypeVar("_T")

KEPT = None
"""What a refresh says of the inputs when nothing moved. Given ones would replace those in the state, and without the
credential, which a refresh is not told."""

_lock = threading.Lock()
_made_here: set[str] = set()


class _Provider(ResourceProvider):
    """What both have in common: the calls that open nothing."""

    subject: ClassVar[Subject]

    @guarded
    def configure(self, req: ConfigureRequest) -> None:
        session.configure(lambda key: req.config.get(f"{session.NAMESPACE}:{key}"))

    @guarded
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        inputs, problems = check(self.subject, plain(_olds), plain(news))
        return CheckResult(inputs, [_failure(self.subject, problem) for problem in problems])

    @guarded
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        olds, news = plain(_olds), plain(_news)
        difference = compare(self.subject, olds, news)
        refuse_replacement(olds, news, difference)
        return DiffResult(
            changes=difference.is_change,
            replaces=list(difference.replaces),
            delete_before_replace=difference.delete_first,
        )


class AzureTargetProvider(_Provider):
    """Targets. Never replaced."""

    subject = "target"

    @guarded
    def create(self, props: dict[str, Any]) -> CreateResult:
        inputs = plain(props)
        view = session.engine().targets.create(arguments("target", inputs), owner=_owner(inputs))
        _remember(view.target.target_id)
        return CreateResult(view.target.target_id, target_outputs(inputs, view.facts(), _fingerprint("target", inputs)))

    @guarded
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        olds = plain(props)
        view = _unless_gone(lambda: session.engine().targets.get(target_id=id_, store_id=olds.get("store_id")))
        if view is None:
            return ReadResult("", {})
        inputs, moved = live("target", olds, view.arguments())
        return ReadResult(id_, target_outputs(inputs, view.facts(), _known(olds)), inputs if moved else KEPT)

    @guarded
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        olds, news = plain(_olds), plain(_news)
        difference = compare("target", olds, news)
        targets, store_id = session.engine().targets, olds.get("store_id")
        changes = _changes(difference, news)
        if changes:
            view = targets.update(changes, target_id=_id, store_id=store_id)
        else:
            view = targets.get(target_id=_id, store_id=store_id)
        return UpdateResult(target_outputs(news, view.facts(), _renewed("target", olds, news, changes)))

    @guarded
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if not _is_its_own_replacement(_id):
            olds = plain(_props)
            store_id, force = olds.get("store_id"), olds.get("force_deletion") is True
            _unless_gone(lambda: session.engine().targets.delete(target_id=_id, store_id=store_id, force=force))


class RotatedSecretProvider(_Provider):
    """Rotated Secrets."""

    subject = "secret"

    @guarded
    def create(self, props: dict[str, Any]) -> CreateResult:
        inputs = plain(props)
        view = session.engine().secrets.create(arguments("secret", inputs), owner=_owner(inputs))
        _remember(view.item.item_id)
        return CreateResult(view.item.item_id, secret_outputs(inputs, view.facts(), _fingerprint("secret", inputs)))

    @guarded
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        olds = plain(props)
        view = _unless_gone(lambda: session.engine().secrets.describe(item_id=id_, store_id=olds.get("store_id")))
        if view is None:
            return ReadResult("", {})
        inputs, moved = live("secret", olds, view.arguments())
        return ReadResult(id_, secret_outputs(inputs, view.facts(), _known(olds)), inputs if moved else KEPT)

    @guarded
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        olds, news = plain(_olds), plain(_news)
        difference = compare("secret", olds, news)
        secrets_, store_id = session.engine().secrets, olds.get("store_id")
        changes = _changes(difference, news)
        if changes:
            view = secrets_.update(changes, item_id=_id, store_id=store_id)
        else:
            view = secrets_.describe(item_id=_id, store_id=store_id)
        if difference.rotates:
            secrets_.rotate(item_id=_id, request_id=_request(olds, news))
            view = secrets_.describe(item_id=_id, store_id=store_id)
        return UpdateResult(secret_outputs(news, view.facts(), _renewed("secret", olds, news, changes)))

    @guarded
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if not _is_its_own_replacement(_id):
            olds = plain(_props)
            store_id, force = olds.get("store_id"), olds.get("force_delete") is True
            done = _unless_gone(lambda: session.engine().secrets.delete(item_id=_id, store_id=store_id, force=force))
            if done is not None and done.orphans:
                left = ", ".join(done.orphans)
                sys.stderr.write(f"azure-rotator: left in Azure, and nobody's now: {left}\nhint: remove them by hand\n")


def _failure(subject: Subject, problem: Problem) -> CheckFailure:
    """A failure on its property; but on none where the value may be a credential: Pulumi prints the value, even of a
    secret (``property api_key value {&{{…}}} has a problem``, pulumi 3.192). The message names the property."""
    kinds = {row.name: row.kind for row in PARAMETERS[subject]}
    printable = kinds.get(problem.property) not in {Kind.SECRET, Kind.GUID} or problem.code == "ParameterMissing"
    hint = f"; hint: {problem.hint}" if problem.hint else ""
    return CheckFailure(problem.property if printable else "", f"{problem.code}: {problem.message}{hint}")


def _owner(inputs: Bag) -> str:
    return str(inputs.get("owner") or "")


def _unless_gone(ask: Callable[[], _T]) -> _T | None:
    """The answer, or None for a thing that this store's journal knows and that has no row (features 3.16).

    An id that the journal does not know is ``StoreMismatch``: an empty or wrong store is not an empty world.
    """
    try:
        return ask()
    except NotFound as missing:
        if missing.details.get("gone"):
            return None
        raise


def _fingerprint(subject: Subject, inputs: Bag) -> str:
    return fingerprint(CREDENTIALS[subject].given(inputs), secrets.token_bytes(16))


def _known(olds: Bag) -> str:
    return str(olds.get(FINGERPRINT) or fingerprint(None, secrets.token_bytes(16)))


def _changes(difference: Difference, news: Bag) -> dict[str, object]:
    """What the engine is told: the new value, or None for an argument that the program no longer sets."""
    return {name: news.get(name) for name in difference.sent}


def _renewed(subject: Subject, olds: Bag, news: Bag, changes: Bag) -> str:
    """The fingerprint after an update: of what was sent, else still the old one."""
    if any(name in changes for name in CREDENTIALS[subject].arguments):
        return _fingerprint(subject, news)
    if news.get("connection_type") == ConnectionType.CLOUD_IDENTITY:
        return _known({})
    return _known(olds)


def _request(olds: Bag, news: Bag) -> str:
    """The name of the rotation that a trigger asks for: the same update, run again after a crash, attaches to it, and
    the same trigger at a later version is another one."""
    asked = f"{olds.get('version')}\n{news.get('rotation_trigger')}"
    return "trigger-" + hashlib.sha256(asked.encode()).hexdigest()[:32]


def _remember(id_: str) -> None:
    """See ``_is_its_own_replacement``."""
    with _lock:
        _made_here.add(id_)


def _is_its_own_replacement(id_: str) -> bool:
    """Whether the delete is the second half of a replacement whose create has just answered with the same thing.

    ``pulumi up --replace`` (and ``replace_on_changes``) creates first and asks nobody. A create of the same owner and
    name resumes what is there, as after a crash; deleting "the old one" would then delete the only one there is.
    """
    with _lock:
        made_here = id_ in _made_here
    if made_here:
        sys.stderr.write(
            f"azure-rotator: {id_} was replaced by itself and stays as it is\n"
            "hint: change rotation_trigger to rotate; set delete_before_replace to have it made anew\n"
        )
    return made_here
