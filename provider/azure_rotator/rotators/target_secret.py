"""``target``: the client secret of the privileged application that a Target works with.

The same as any client secret, with two differences. Everything on the Target hangs on it, so a login is not proof
enough: the new secret must also do what the Target is for, since consent may have gone since the old one was used
(F39). And the item begins with the secret that the Target has, whose keyId is found by Entra's hint unless it is named.
"""

from __future__ import annotations

from functools import partial

from azure_rotator.domain.errors import Forbidden, NotFound, Rejected
from azure_rotator.domain.grants import OWNED_APPLICATIONS, may_change_applications
from azure_rotator.domain.kinds import application_identity
from azure_rotator.domain.ports import Adoption, Application, Job, PasswordCredential, Plan, Subject
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.rotators.app_secret import AppSecretRotator, begins_with


class TargetSecretRotator(AppSecretRotator):
    """The ``Rotator`` for a Target's own client secret."""

    def prepare(self, job: Job) -> Plan:
        """Refuse to mint what nobody would use: a reference given to the Target since then wins over what is stored,
        and whoever keeps it there would bring the old value back (F38)."""
        if job.target.secret_reference is not None:
            raise Rejected(
                "TargetSecretExternal",
                f'the client secret of Target "{job.target.name}" is the reference {job.target.secret_reference} now: '
                "it would override a rotated one",
                hint="give the Target the secret itself again, or delete this item and rotate it where it is kept",
            )
        return super().prepare(job)

    def examine(self, subject: Subject) -> Adoption | None:
        secret = subject.acting.secret
        if secret is None:
            raise Rejected(
                "TargetHasNoClientSecret",
                f"{subject.acting.label} has no client secret to rotate",
                hint="the target rotator needs a Target with connection_type credentials",
            )
        application = self._may_rotate(subject.item.app_id, subject.acting)
        self._refuse_too_short_a_life(subject, application)
        named = subject.target.client_secret_id
        found = self._named(application, named, secret) if named else self._fitting(application, secret)
        return Adoption(key_id=found.key_id.lower(), value=secret, expires_at=found.end_at)

    def _named(self, application: Application, key_id: str, secret: SecretText) -> PasswordCredential:
        """Raises: NotFound, Rejected: it is another secret's, which must not be removed when ours is replaced."""
        listed = self._listed(application, key_id)
        if listed.hint and not secret.satisfies(partial(begins_with, listed.hint)):
            raise Rejected(
                "IdentifierMixedUp",
                f"client_secret_id {key_id} is not the keyId of the Target's secret: its beginning differs from "
                "Entra's hint",
                hint="set client_secret_id on the Target to the keyId (Secret ID in the portal) of its secret",
            )
        return listed

    @staticmethod
    def _fitting(application: Application, secret: SecretText) -> PasswordCredential:
        fitting = [p for p in application.passwords if p.hint and secret.satisfies(partial(begins_with, p.hint))]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise NotFound(
                "CredentialNotFound",
                f"no client secret of application {application.app_id} begins as the Target's does",
                hint="set client_secret_id on the Target to the keyId (Secret ID in the portal) of its secret",
            )
        raise NotFound(
            "CredentialAmbiguous",
            f"{len(fitting)} client secrets of application {application.app_id} begin as the Target's does",
            hint="set client_secret_id on the Target to the keyId of its secret: "
            + " or ".join(sorted(p.key_id for p in fitting)),
        )

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        candidate = application_identity(job.target, job.item.app_id, value)
        self._login.prove(candidate)
        grants = self._login.grants(candidate)
        if not may_change_applications(grants.roles):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{candidate.label} logs in with its new secret, and has no {OWNED_APPLICATIONS} any more",
                hint=f"grant {OWNED_APPLICATIONS} (or Application.ReadWrite.All) to it with admin consent again",
            )
        self._directory.get_application(candidate, job.item.app_id)
