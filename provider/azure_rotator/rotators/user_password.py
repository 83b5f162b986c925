"""``password``: an Entra user's password.

There is no read-back and no second valid value: the candidate is sealed in the journal before it is set. After a lost
reply the Target sets the same candidate again, which is harmless. A user who changes his own password signs in with the
candidate first: if that works, it was set, and changing it again would fail for the old one is gone (design/azure 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from azure_rotator.domain.errors import Forbidden, NotFound, Rejected
from azure_rotator.domain.grants import PASSWORDS, may_set_passwords
from azure_rotator.domain.model import AuthMode, Mint, RotatedSecret
from azure_rotator.domain.ports import (
    Adoption,
    Identity,
    Job,
    Login,
    Minted,
    PasswordCredential,
    Plan,
    Recovery,
    Removal,
    SignIn,
    Subject,
    Users,
)
from azure_rotator.domain.secrettext import SecretText

# AADSTS number of a sign-in with a wrong password. Any other refusal is about something else than the password.
_WRONG_PASSWORD = 50126


class UserPasswordRotator:
    """The ``Rotator`` for users' passwords.

    Args:
        generate: A new password as the item's policy wants it.
    """

    def __init__(self, *, users: Users, login: Login, generate: Callable[[RotatedSecret], SecretText]) -> None:
        self._users = users
        self._login = login
        self._generate = generate

    def examine(self, subject: Subject) -> Adoption | None:
        username = _username(subject.item)
        himself = subject.item.authentication is AuthMode.USER
        if not himself and not may_set_passwords(self._login.grants(subject.acting).roles):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{subject.acting.label} has no {PASSWORDS}",
                hint=f"grant the application permission {PASSWORDS} with admin consent (User.ReadWrite.All is not "
                "enough), or let the user change it: use-user-creds",
            )
        self._refuse_synchronised(subject.acting, username, himself=himself)
        if subject.given is not None:
            self._is_password_of(subject, username, subject.given, himself=himself)
        return Adoption(key_id=username, value=subject.given)

    def _refuse_synchronised(self, acting: Identity, username: str, *, himself: bool) -> None:
        try:
            user = self._users.get_user(acting, username)
        except Forbidden as refused:
            # The least permission may set a password and not read the user: what cannot be read is not known.
            if refused.code != "AzurePermissionMissing":
                raise
            return
        if user.synchronised:
            raise Forbidden(
                "AzureRefused",
                f"{username} is mastered in an on-premises directory: Entra does not take its password",
                hint="rotate it where the account is mastered, or use a cloud account",
            )

    def _is_password_of(self, subject: Subject, username: str, given: SecretText, *, himself: bool) -> None:
        try:
            signed_in = self._users.sign_in(subject.acting, username, given)
        except Forbidden as refused:
            if himself or refused.details.get("aadsts") == _WRONG_PASSWORD:
                raise
            return  # the tenant allows no such sign-in: that says nothing about the password
        if himself and signed_in is SignIn.DEMANDED_MORE:
            raise Forbidden(
                "AzureAuthFailed",
                f"the sign-in of {username} demands more than a password, so the user cannot change it unattended",
                hint="exclude the account from the MFA or Conditional Access demand, or set "
                "authentication_credentials to use-target-creds",
            )

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        """Entra shows no password."""
        return None

    def prepare(self, job: Job) -> Plan:
        return Plan(object_id=_username(job.item), evidence=job.earlier or self._generate(job.item))

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        if plan.evidence is None:
            raise ValueError("a password is planned with its candidate")
        self._set(job, plan.evidence)
        return Minted(key_id=_username(job.item), value=plan.evidence)

    def recover(self, job: Job, mint: Mint) -> Recovery:
        candidate = job.earlier
        if candidate is None:
            return Recovery(absent=True)
        found = Recovery(minted=Minted(key_id=_username(job.item), value=candidate))
        if job.item.authentication is AuthMode.TARGET:
            job.guard()
            try:
                self._set(job, candidate)
            except Rejected:
                return Recovery(absent=True)  # a candidate that Entra's rules refuse was never set
            return found
        try:
            self._users.sign_in(job.acting, _username(job.item), candidate)
        except Forbidden as refused:
            if refused.details.get("aadsts") != _WRONG_PASSWORD:
                raise
            return Recovery(absent=True)
        return found

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        try:
            self._users.sign_in(job.acting, _username(job.item), value)
        except Forbidden as refused:
            if refused.details.get("aadsts") == _WRONG_PASSWORD:
                raise

    def remove(self, job: Job, key_id: str) -> Removal:
        """Nothing to remove: setting the new password revoked the old one, and the last one stays (features 3.10)."""
        return Removal.REMOVED

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        """Nothing is removed."""

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        return ()

    def _set(self, job: Job, candidate: SecretText) -> None:
        username = _username(job.item)
        if job.item.authentication is AuthMode.TARGET:
            self._users.set_password(job.acting, username, candidate)
            return
        if job.present is None:
            raise NotFound(
                "NoValueYet",
                f'"{job.item.name}" has no password to sign in with',
                hint="give the present password, or set authentication_credentials to use-target-creds",
            )
        try:
            self._users.change_password(job.acting, username, job.present, candidate)
        except Forbidden as refused:
            if job.earlier is None or refused.details.get("aadsts") != _WRONG_PASSWORD:
                raise
            # The present password is refused, so an attempt whose reply was lost did set the candidate, although the
            # front end that was asked about it then did not know it yet.
            self._users.sign_in(job.acting, username, candidate)


def _username(item: RotatedSecret) -> str:
    if item.username is None:
        raise ValueError("a password item has a username")
    return item.username
