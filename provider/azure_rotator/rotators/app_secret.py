"""``api-key``: a client secret of an Entra application.

addPassword is not idempotent and shows its value once (design/azure, trap 2). So a secret is stamped with store, item
and operation, and after a lost reply the stamp is looked for, what carries it is removed, and a new one is minted. What
is removed is always one exact keyId; what this store did not mint or adopt is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from azure_rotator.domain.errors import Forbidden, NotFound, Rejected
from azure_rotator.domain.kinds import application_identity, overlap_of
from azure_rotator.domain.model import Mint, Origin, Version
from azure_rotator.domain.names import Stamp
from azure_rotator.domain.ownership import orphans, own_stamps
from azure_rotator.domain.ports import (
    SERVICE_PRINCIPAL,
    Adoption,
    Application,
    Directory,
    Grants,
    Identity,
    Job,
    Login,
    Minted,
    Observer,
    PasswordCredential,
    Plan,
    Recovery,
    Removal,
    ServicePrincipal,
    Subject,
    UnitOfWork,
)
from azure_rotator.domain.schedule import credential_life
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.rotators.access import listed, refuse_non_owner, refuse_without_grant

# AADSTS number of a login by an application that the tenant does not know (any more).
_UNKNOWN_APPLICATION = 700016

Holder = Application | ServicePrincipal
"""What a client secret is on; both log in as the same application."""


class AppSecretRotator:
    """The ``Rotator`` for client secrets."""

    def __init__(self, *, directory: Directory, login: Login, uow: UnitOfWork, observer: Observer) -> None:
        self._directory = directory
        self._login = login
        self._uow = uow
        self._observer = observer

    # --- before

    def examine(self, subject: Subject) -> Adoption | None:
        app_id, key_id = subject.item.app_id, subject.item.api_id
        grants, application = self._readable(app_id, subject.acting)
        principal = None
        if key_id is not None and listed(application.passwords, key_id) is None:
            principal = self._principal_with(subject.acting, app_id, key_id)
        refuse_non_owner(self._directory, subject.acting, grants, application, principal)
        self._refuse_too_short_a_life(subject, application)
        if key_id is None:
            return None
        found = self._listed(principal or application, key_id)
        if subject.given is not None:
            self._is_value_of(subject, found, subject.given)
        return Adoption(key_id=key_id, value=subject.given, expires_at=found.end_at)

    def _may_rotate(self, app_id: str, acting: Identity) -> Application:
        grants, application = self._readable(app_id, acting)
        refuse_non_owner(self._directory, acting, grants, application)
        return application

    def _readable(self, app_id: str, acting: Identity) -> tuple[Grants, Application]:
        grants = self._login.grants(acting)
        refuse_without_grant(acting, grants, app_id)
        return grants, self._directory.get_application(acting, app_id)

    def _principal_with(self, acting: Identity, app_id: str, key_id: str) -> ServicePrincipal | None:
        """The application's service principal, if this client secret is one of its own (F35)."""
        try:
            principal = self._directory.get_service_principal(acting, app_id)
        except NotFound:
            return None
        return principal if listed(principal.passwords, key_id) is not None else None

    def _refuse_too_short_a_life(self, subject: Subject, application: Application) -> None:
        """What the tenant's policy forbids is known before anything is minted, where the policy may be read."""
        item = subject.item
        credential_life(
            auto_rotate=item.auto_rotate,
            interval_days=item.rotation_interval,
            overlap_for=overlap_of(item),
            limit_days=self._longest_life_days(subject.acting, application),
        )

    def _longest_life_days(self, acting: Identity, application: Application) -> int | None:
        policy = self._directory.secret_policy(acting, application.object_id)
        if policy is None:
            return None
        if not policy.may_add:
            named = f" ({policy.policy_id})" if policy.policy_id else ""
            raise Forbidden(
                "CredentialTypeNotAllowed",
                f"an app management policy of the tenant{named} forbids new client secrets on application "
                f"{application.app_id}",
                hint="have an administrator exempt the application, or use a certificate or a federated credential",
            )
        return policy.max_lifetime_days

    @staticmethod
    def _listed(holder: Holder, key_id: str) -> PasswordCredential:
        found = listed(holder.passwords, key_id)
        if found is None:
            raise NotFound(
                "CredentialNotFound",
                f"application {holder.app_id} has no client secret with keyId {key_id}",
                hint="api-id is the secret's keyId (Secret ID in the portal); leave it out to have one minted",
            )
        return found

    def _is_value_of(self, subject: Subject, found: PasswordCredential, given: SecretText) -> None:
        if found.hint and not given.satisfies(partial(begins_with, found.hint)):
            raise Rejected(
                "IdentifierMixedUp",
                f"api_key is not the value of keyId {found.key_id}: its beginning differs from Entra's hint",
                hint="give the value that belongs to this api-id",
            )
        self._login.prove(application_identity(subject.target, subject.item.app_id, given))

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        """Entra shows a client secret once."""
        return None

    # --- a rotation

    def prepare(self, job: Job) -> Plan:
        application = self._directory.get_application(job.acting, job.item.app_id)
        self._remove_orphans(job, application, own_operation=None)
        longest = self._longest_life_days(job.acting, application)
        principal = self._principal(job, application)
        if principal is None:
            return Plan(object_id=application.object_id, longest_life_days=longest)
        self._remove_orphans(job, principal, own_operation=None)
        return Plan(object_id=principal.object_id, slot=SERVICE_PRINCIPAL, longest_life_days=longest)

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        stamp = Stamp(job.store_id, job.rotation.item_id, mint_id)
        there = plan.slot == SERVICE_PRINCIPAL
        add = self._directory.add_principal_password if there else self._directory.add_password
        try:
            made = add(job.acting, plan.object_id, str(stamp), end_at)
        except Forbidden as refused:
            if refused.code != "CredentialLimitReached":
                raise
            raise _full(job, refused) from None
        return Minted(key_id=made.key_id, value=made.value, expires_at=made.end_at)

    def recover(self, job: Job, mint: Mint) -> Recovery:
        """Its value is lost with the reply: what carries the stamp goes."""
        application = self._application(job)
        holder: Holder | None = application
        if application is not None and mint.slot == SERVICE_PRINCIPAL:
            holder = self._read_principal(job)
        gone = holder is None or not self._remove_orphans(job, holder, own_operation=job.rotation.rotation_id)
        return Recovery(absent=gone)

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        self._login.prove(application_identity(job.target, job.item.app_id, value))

    def remove(self, job: Job, key_id: str) -> Removal:
        application = self._application(job)
        if application is None:
            return Removal.ABSENT
        here = listed(application.passwords, key_id) is not None
        principal = None if here else self._principal(job, application)
        if principal is None:
            job.guard()
            if self._directory.remove_password(job.acting, application.object_id, key_id):
                return Removal.REMOVED
            if here:
                return Removal.LISTED
            # An item may have had another secret before, of the other place.
            principal = self._principal_with(job.acting, application.app_id, key_id)
            if principal is None:
                return Removal.ABSENT
        job.guard()
        if self._directory.remove_principal_password(job.acting, principal.object_id, key_id):
            return Removal.REMOVED
        return Removal.ABSENT if listed(principal.passwords, key_id) is None else Removal.LISTED

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        app_id, acting = subject.item.app_id, subject.acting
        try:
            grants, application = self._readable(app_id, acting)
            elsewhere = [key_id for key_id in key_ids if listed(application.passwords, key_id) is None]
            found = (self._principal_with(acting, app_id, key_id) for key_id in elsewhere)
            principal = next((one for one in found if one is not None), None)
            if principal is not None:
                refuse_non_owner(self._directory, acting, grants, application, principal)
            if principal is None or len(elsewhere) < len(key_ids):
                refuse_non_owner(self._directory, acting, grants, application)
        except NotFound as gone:
            if gone.code != "ApplicationNotFound":
                raise
        except Forbidden as refused:
            if refused.details.get("aadsts") != _UNKNOWN_APPLICATION or subject.acting.client_id != subject.item.app_id:
                raise

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        application = self._application(job)
        if application is None:
            return ()
        found = list(self._remove_orphans(job, application, own_operation=None))
        principal = self._principal(job, application)
        return found if principal is None else [*found, *self._remove_orphans(job, principal, own_operation=None)]

    def _principal(self, job: Job, application: Application) -> ServicePrincipal | None:
        """The service principal, where the item's present secret is one of its own: there it is rotated (F35).

        What this store minted is known from the journal, since reads lag behind writes; what was adopted is looked for.
        """
        current = job.current
        if current is None:
            return None
        if current.origin is Origin.MINTED:
            return self._read_principal(job) if minted_on_principal(self._uow, current) else None
        if listed(application.passwords, current.key_id) is not None:
            return None
        return self._principal_with(job.acting, application.app_id, current.key_id)

    def _read_principal(self, job: Job) -> ServicePrincipal | None:
        """None: it is gone, and its secrets with it."""
        try:
            return self._directory.get_service_principal(job.acting, job.item.app_id)
        except NotFound:
            return None

    def _application(self, job: Job) -> Application | None:
        """The application, or None when it is gone and its secrets with it (F34). One that rotates itself is told so at
        its login."""
        try:
            return self._directory.get_application(job.acting, job.item.app_id)
        except NotFound:
            return None
        except Forbidden as refused:
            if refused.details.get("aadsts") == _UNKNOWN_APPLICATION and job.acting.client_id == job.item.app_id:
                return None
            raise

    def _remove_orphans(self, job: Job, holder: Holder, *, own_operation: str | None) -> Sequence[PasswordCredential]:
        found = orphans_of(
            self._uow,
            holder,
            store_id=job.store_id,
            own_operation=own_operation,
            own_item=job.rotation.item_id if job.whole_item else None,
        )
        for orphan in found:
            job.guard()
            take_away(self._directory, job.acting, holder, orphan.key_id)
            self._observer.note(
                "orphan removed", app_id=holder.app_id, key_id=orphan.key_id, display_name=orphan.display_name
            )
        return found


def _full(job: Job, refused: Forbidden) -> Forbidden:
    """What has no room, by the id that people know it by, and where to see what could go (F07)."""
    app_id = job.item.app_id
    what = refused.message.partition(": ")[2] or refused.message
    command = f"azure-rotator inventory --target {job.target.name} --app-id {app_id}"
    return Forbidden(
        refused.code,
        f"application {app_id}: {what}",
        hint=f"{refused.hint}; {command} lists them",
        details=refused.details,
    )


def begins_with(hint: str, value: str) -> bool:
    """Entra's hint is the beginning of a client secret."""
    return value.startswith(hint)


def minted_on_principal(uow: UnitOfWork, version: Version) -> bool:
    """Whether this minted client secret was made on the service principal, by the journal's word."""
    rotation = uow.get_rotation(version.rotation_id)
    mint = uow.find_mint(rotation.mint_id) if rotation is not None and rotation.mint_id is not None else None
    return mint is not None and mint.slot == SERVICE_PRINCIPAL


def take_away(directory: Directory, acting: Identity, holder: Holder, key_id: str) -> bool:
    """Remove a client secret from what it is on. Returns: as ``Directory.remove_password``."""
    there = isinstance(holder, ServicePrincipal)
    remove = directory.remove_principal_password if there else directory.remove_password
    return remove(acting, holder.object_id, key_id)


def orphans_of(
    uow: UnitOfWork,
    holder: Holder,
    *,
    store_id: str,
    own_operation: str | None = None,
    own_item: str | None = None,
) -> list[PasswordCredential]:
    """This store's orphans on an application or a service principal, judged by its rows and journal."""
    stamps = own_stamps(holder.passwords, store_id)
    if not stamps:
        return []
    return orphans(
        holder.passwords,
        store_id=store_id,
        journal=uow.operations({stamp.operation_id for stamp in stamps.values()}),
        held=uow.held_key_ids(stamps).keys(),
        own_operation=own_operation,
        own_item=own_item,
    )
