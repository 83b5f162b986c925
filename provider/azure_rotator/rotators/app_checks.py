"""What can be told about client secrets before they are rotated: ``Checker`` of ``api-key`` and ``target``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from azure_rotator.domain.errors import Forbidden, NotFound, RotatorError
from azure_rotator.domain.findings import Finding, asked, failed, ok, unknown, warning
from azure_rotator.domain.grants import OWNED_APPLICATIONS, may_change_applications, may_change_every_application
from azure_rotator.domain.kinds import overlap_of
from azure_rotator.domain.model import RotatedSecret, RotatorType, Target
from azure_rotator.domain.ports import (
    Application,
    Directory,
    Grants,
    Identity,
    Inspection,
    Login,
    ServicePrincipal,
)
from azure_rotator.domain.schedule import credential_life
from azure_rotator.rotators.access import listed, refuse_non_owner, refuse_without_grant

MOST_ENTRIES = 480
"""Credentials of an application above which it may soon be full: Entra names no bound, and refused one with 600 keys
(design/azure 2.1)."""
ENDING = timedelta(days=14)


class AppSecretChecker:
    """The ``Checker`` of client secrets.

    Args:
        kind: ``target`` looks at the Target's own application, ``api-key`` at any.
    """

    def __init__(self, kind: RotatorType, *, directory: Directory, login: Login) -> None:
        self._kind = kind
        self._directory = directory
        self._login = login

    def need(self, target: Target, acting: Identity, grants: Grants) -> Finding:
        subject = f'Target "{target.name}"'
        if self._kind is RotatorType.TARGET:
            return self._own(subject, target.client_id or "", acting, grants)
        check = "application secrets"
        if may_change_every_application(grants.roles):
            return ok(subject, check, "may change every application")
        if may_change_applications(grants.roles):
            return ok(subject, check, "may change the applications it is an owner of")
        missing = Forbidden(
            "AzurePermissionMissing",
            f"neither {OWNED_APPLICATIONS} nor Application.ReadWrite.All is granted",
            hint=f"grant {OWNED_APPLICATIONS} and make the application's service principal an owner of what it rotates",
        )
        return failed(subject, check, missing)

    def _own(self, subject: str, app_id: str, acting: Identity, grants: Grants) -> Finding:
        check = "own secret"
        try:
            refuse_without_grant(acting, grants, app_id)
            refuse_non_owner(self._directory, acting, grants, self._directory.get_application(acting, app_id))
        except RotatorError as refused:
            return failed(subject, check, refused)
        return ok(subject, check, "may change its own application")

    def caution(self, item: RotatedSecret, target: Target, acting: Identity) -> Sequence[Finding]:
        """What could break is refused by the dry run."""
        return ()

    def inspect(self, subject: Inspection) -> Sequence[Finding]:
        name, app_id = f'item "{subject.item.name}"', subject.item.app_id
        grants = asked(name, "login", lambda: self._login.grants(subject.acting))
        if isinstance(grants, Finding):
            return [grants]
        found = [ok(name, "login", f"as {subject.acting.label}")]
        try:
            refuse_without_grant(subject.acting, grants, app_id)
        except Forbidden as refused:
            return [*found, failed(name, "grant", refused)]
        found.append(ok(name, "grant"))
        application = asked(name, "application", lambda: self._directory.get_application(subject.acting, app_id))
        if isinstance(application, Finding):
            return [*found, application]
        principal = asked(
            name, "service principal", lambda: self._directory.get_service_principal(subject.acting, app_id)
        )
        return [
            *found,
            self._ownership(name, subject, grants, application, principal),
            self._principal(name, app_id, principal),
            self._credential(name, subject, application, principal),
            self._room(name, subject, application),
            self._policy(name, subject, application),
        ]

    def _ownership(
        self,
        name: str,
        subject: Inspection,
        grants: Grants,
        application: Application,
        principal: ServicePrincipal | Finding,
    ) -> Finding:
        key_id = subject.current.key_id if subject.current else ""
        there = isinstance(principal, ServicePrincipal) and listed(principal.passwords, key_id) is not None
        holder = principal if isinstance(principal, ServicePrincipal) and there else None
        try:
            refuse_non_owner(self._directory, subject.acting, grants, application, holder)
        except RotatorError as refused:
            return failed(name, "ownership", refused)
        return ok(name, "ownership")

    @staticmethod
    def _principal(name: str, app_id: str, principal: ServicePrincipal | Finding) -> Finding:
        check = "service principal"
        if isinstance(principal, Finding):
            if principal.code != "ApplicationNotFound":
                return principal
            missing = NotFound(
                "ApplicationNotFound",
                f"application {app_id} has no service principal in the tenant: nobody can log in with its secrets",
                hint=f"az ad sp create --id {app_id}",
            )
            return failed(name, check, missing)
        if not principal.enabled:
            disabled = Forbidden(
                "AzureAuthFailed",
                f"the service principal of application {app_id} is disabled: its secrets are not accepted",
                hint=f"az ad sp update --id {app_id} --set accountEnabled=true",
            )
            return failed(name, check, disabled)
        return ok(name, check)

    @staticmethod
    def _credential(
        name: str, subject: Inspection, application: Application, principal: ServicePrincipal | Finding
    ) -> Finding:
        check, current = "credential", subject.current
        if current is None:
            return ok(name, check, "none before the first rotation")
        rotate = f"azure-rotator rotate-secret --name {subject.item.name}"
        found, where = listed(application.passwords, current.key_id), ""
        if found is None and isinstance(principal, ServicePrincipal):
            found, where = listed(principal.passwords, current.key_id), "on the service principal, "
        if found is None:
            gone = NotFound(
                "CredentialNotFound",
                f"application {application.app_id} has no client secret with keyId {current.key_id} any more",
                hint=rotate,
            )
            return failed(name, check, gone)
        ends_at = found.end_at
        if ends_at is None:
            return ok(name, check, f"{where}keyId {current.key_id}")
        told = f"{where}keyId {current.key_id}, ends {ends_at:%Y-%m-%d}"
        if ends_at <= subject.now:
            return failed(name, check, Forbidden("AzureAuthFailed", f"{told}: it has expired", hint=rotate))
        due_at = subject.item.next_rotation_at
        if ends_at < subject.now + ENDING and (due_at is None or due_at > ends_at):
            return warning(name, check, f"{told}: before it is rotated", rotate)
        return ok(name, check, told)

    def _room(self, name: str, subject: Inspection, application: Application) -> Finding:
        check = "room"
        load = asked(name, check, lambda: self._directory.credential_load(subject.acting, application.object_id))
        if isinstance(load, Finding):
            return load
        entries = load.passwords + load.certificates
        told = f"{load.passwords} client secrets, {load.certificates} certificates"
        list_them = f"azure-rotator inventory --target {subject.target.name} --app-id {application.app_id}"
        if load.most_passwords is not None and load.passwords >= load.most_passwords:
            return warning(
                name,
                check,
                f"{told}: an application whose audience includes personal accounts may have no more",
                f"wait until the previous one is retired, rotate with --revoke-now, or remove one: {list_them}",
                code="CredentialLimitReached",
            )
        if entries >= MOST_ENTRIES:
            return warning(
                name,
                check,
                f"{told}: an application takes no more when its object is full, at about 600",
                f"prune it, beginning with what has expired: {list_them}",
                code="CredentialLimitReached",
            )
        return ok(name, check, told)

    def _policy(self, name: str, subject: Inspection, application: Application) -> Finding:
        check = "policy"
        policy = asked(name, check, lambda: self._directory.secret_policy(subject.acting, application.object_id))
        if isinstance(policy, Finding):
            return policy
        if policy is None:
            return unknown(
                name,
                check,
                "the tenant's policies for client secrets may not be read",
                f"grant Policy.Read.All to {subject.acting.label} to have them checked before a rotation meets them",
            )
        named = f" ({policy.policy_id})" if policy.policy_id else ""
        if not policy.may_add:
            forbidden = Forbidden(
                "CredentialTypeNotAllowed",
                f"an app management policy of the tenant{named} forbids new client secrets on this application",
                hint="have an administrator exempt the application",
            )
            return failed(name, check, forbidden)
        try:
            life = credential_life(
                auto_rotate=subject.item.auto_rotate,
                interval_days=subject.item.rotation_interval,
                overlap_for=overlap_of(subject.item),
                wanted_days=subject.item.credential_lifetime,
                limit_days=policy.max_lifetime_days,
            )
        except Forbidden as refused:
            return failed(name, check, refused)
        return ok(name, check, life.note or "")
