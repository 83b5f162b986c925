"""What is killed: each operation, what it starts from, and how somebody takes over.

A row for every way through the engine that writes to Azure or to the store. The kill table walks through all of them;
a campaign may draw from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from azure_sandbox.testing import FaultHandle
from tests.crash.estate import AT_ONCE, ITEM, Estate, delete, delete_version, reconcile, rotate
from tests.crash.jobs import Call

Calls = Callable[[Estate], Sequence[Call]]
_ROTATE: Calls = lambda estate: [rotate()]  # noqa: E731 - the same
_NOTHING: Calls = lambda estate: ()  # noqa: E731 - a default beside its siblings


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Args:
        start: The calls that bring about what it starts from; they must go well.
        spoil: What else there is: an orphan, an interrupted predecessor.
        faults: What is wrong in Azure.
        passing: It passes once somebody has taken over; else it lasts.
        calls: The operation itself.
        repeated: What its repetition after a kill may come to; None is success.
        refused: What it comes to while a rotation of the item, begun by somebody else, is not published.
        limits: Seconds by name of ``Limits``.
        adopts: It hands over the secret ``given``.
        core: The table has it with every way to take over, and on PostgreSQL, too.
        apart: The rotator has no right on the workload.
        tolerant: It starts from a state that no kill of the engine leaves behind, so the rule about intents is off.
    """

    name: str
    start: Calls = _NOTHING
    spoil: Callable[[Estate], None] = lambda estate: None
    faults: Callable[[Estate], Sequence[FaultHandle]] = lambda estate: ()
    passing: bool = False
    calls: Calls
    repeated: frozenset[str | None] = frozenset({None})
    refused: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)
    adopts: bool = False
    core: bool = False
    apart: bool = False
    tolerant: bool = False


def refuse_new_secrets(estate: Estate) -> Sequence[FaultHandle]:
    """The proofs fail, and not the checker's own logins, which go another way."""
    control, path = estate.lab.control, "*/v2.0/token"
    return [control.add_fault("login.token", app=estate.app_id, path=path, preset="wrong-secret", times=None)]


def _deny_removals(estate: Estate) -> Sequence[FaultHandle]:
    """The right to change the application went, as far as removals are concerned."""
    return [estate.lab.control.add_fault("graph.removePassword", app=estate.app_id, preset="denied", times=None)]


def _park(estate: Estate) -> None:
    """A rotation whose secret was never accepted; it waits for somebody to rotate again."""
    (refused,) = refuse_new_secrets(estate)
    assert estate.run(rotate(), limits={"proof_deadline": 0.0}).codes == ["VerificationTimeout"]
    refused.remove()


def _lose_a_reply(estate: Estate) -> None:
    """A rotation that was given up after the reply of addPassword was lost, and is due again."""
    control = estate.lab.control
    fault = control.add_fault("graph.addPassword", app=estate.app_id, when="after", drop=True)
    assert estate.run(rotate(), limits={"foreground": 0.0}).codes == ["AzureUnavailable"]
    fault.remove()
    control.advance("2m")


def _room_for_no_third(estate: Estate) -> Sequence[FaultHandle]:
    """The first mint meets an object that is full."""
    return [estate.lab.control.add_fault("graph.addPassword", app=estate.app_id, preset="object-full", times=1)]


def plant_an_orphan(estate: Estate) -> None:
    """A secret with the stamp of a mint that is over, as a write leaves it that arrived too late.

    An item that only adopted has none: no write of its own can arrive.
    """
    for stamp in estate.stamps()[:1]:
        estate.lab.control.add_secret(estate.app_id, display_name=stamp)


OPERATIONS: tuple[Operation, ...] = (
    Operation(name="create", calls=lambda e: [e.create()], core=True),
    Operation(name="create by itself", calls=lambda e: [e.create_by_itself()], apart=True),
    Operation(
        name="create, undone",
        faults=refuse_new_secrets,
        calls=lambda e: [e.create()],
        repeated=frozenset({"VerificationTimeout"}),
        limits={"proof_deadline": 0.0},
    ),
    Operation(
        name="rotate",
        start=lambda e: [e.adopt(skip_dry_run=True)],
        calls=lambda e: [rotate()],
        adopts=True,
    ),
    Operation(
        name="rotate, retire at once",
        start=lambda e: [e.create(revoke_after=AT_ONCE)],
        calls=lambda e: [rotate()],
        core=True,
    ),
    Operation(
        name="rotate by itself",
        start=lambda e: [e.adopt(authentication_credentials="use-user-creds", revoke_after=AT_ONCE)],
        calls=lambda e: [rotate()],
        adopts=True,
        apart=True,
    ),
    Operation(
        name="rotate, a third secret",
        start=lambda e: [e.adopt(skip_dry_run=True), rotate()],
        calls=lambda e: [rotate()],
        adopts=True,
    ),
    Operation(
        name="rotate, revoke now",
        start=lambda e: [e.create(), rotate()],
        calls=lambda e: [rotate(revoke_now=True)],
    ),
    Operation(
        name="rotate, two secrets in all",
        start=lambda e: [e.adopt(skip_dry_run=True), rotate()],
        faults=_room_for_no_third,
        calls=lambda e: [rotate(revoke_now=True)],
        adopts=True,
    ),
    Operation(
        name="rotate, unproven",
        start=lambda e: [e.adopt(skip_dry_run=True)],
        faults=refuse_new_secrets,
        calls=lambda e: [rotate()],
        repeated=frozenset({"VerificationTimeout"}),
        limits={"proof_deadline": 0.0},
        adopts=True,
    ),
    Operation(
        name="rotate, the old one stays",
        start=lambda e: [e.create(revoke_after=AT_ONCE)],
        faults=_deny_removals,
        passing=True,
        calls=lambda e: [rotate()],
        repeated=frozenset({None, "AzurePermissionMissing"}),
    ),
    Operation(
        name="rotate, parked before",
        start=lambda e: [e.adopt(skip_dry_run=True)],
        spoil=_park,
        calls=lambda e: [rotate()],
        adopts=True,
    ),
    Operation(name="adopt and rotate", calls=lambda e: [e.adopt(revoke_after=AT_ONCE), rotate()], adopts=True),
    Operation(
        name="adopt another",
        start=lambda e: [e.create(revoke_after=AT_ONCE)],
        calls=lambda e: [
            Call(
                use="secrets.update",
                arguments={"api_id": e.given_key_id, "api_key": e.workload.secrets["given"]},
                options={"name": ITEM},
            )
        ],
        adopts=True,
    ),
    Operation(
        name="delete",
        start=lambda e: [e.create(), rotate()],
        calls=lambda e: [delete()],
        repeated=frozenset({None, "ItemNotFound"}),
    ),
    Operation(
        name="delete a version",
        start=lambda e: [e.create(), rotate()],
        calls=lambda e: [delete_version(1)],
        repeated=frozenset({None, "VersionNotFound"}),
    ),
    Operation(
        name="delete a version, called off",
        start=lambda e: [e.create(), rotate()],
        faults=_deny_removals,
        passing=True,
        calls=lambda e: [delete_version(1)],
        repeated=frozenset({None, "VersionNotFound", "AzurePermissionMissing"}),
    ),
    Operation(
        name="delete by itself",
        start=lambda e: [e.create_by_itself(), rotate()],
        calls=lambda e: [delete()],
        repeated=frozenset({None, "ItemNotFound"}),
        apart=True,
    ),
    Operation(
        name="delete, called off",
        start=lambda e: [e.create(), rotate()],
        faults=_deny_removals,
        passing=True,
        calls=lambda e: [delete()],
        repeated=frozenset({"AzurePermissionMissing"}),
    ),
    Operation(
        name="recover a lost reply",
        start=lambda e: [e.adopt(skip_dry_run=True)],
        spoil=_lose_a_reply,
        calls=lambda e: [reconcile()],
        adopts=True,
    ),
    Operation(name="rotate the Target's own", start=lambda e: [e.create_own(revoke_after=AT_ONCE)], calls=_ROTATE),
    Operation(name="rotate a storage key", start=lambda e: [e.create_storage()], calls=_ROTATE),
    Operation(
        name="rotate storage keys in turn",
        start=lambda e: [e.create_storage(storage_key_mode="alternate"), rotate()],
        calls=_ROTATE,
    ),
    Operation(name="set a password", start=lambda e: [e.create_password()], calls=_ROTATE),
    Operation(
        name="change one's own password",
        start=lambda e: [e.create_password(authentication_credentials="use-user-creds")],
        calls=_ROTATE,
    ),
    Operation(
        name="remove an orphan",
        start=lambda e: [e.create()],
        spoil=plant_an_orphan,
        calls=lambda e: [reconcile()],
        tolerant=True,
    ),
)

BY_NAME: Mapping[str, Operation] = {operation.name: operation for operation in OPERATIONS}

TAKEOVERS: Mapping[str, Callable[[Operation, Estate], Sequence[Call]]] = {
    "reconcile": lambda operation, estate: (reconcile(),),
    "repeat": lambda operation, estate: (*operation.calls(estate), reconcile()),
    "rotate": lambda operation, estate: (rotate(), reconcile()),
}
"""Who comes next. Each ends with a reconcile, after which everything must hold."""
