"""What can be told about a user's password before it is rotated: ``Checker`` of ``password``."""

from __future__ import annotations

from collections.abc import Sequence

from azure_rotator.domain.errors import Forbidden
from azure_rotator.domain.findings import Finding, asked, failed, ok, unknown, warning
from azure_rotator.domain.grants import PASSWORDS, may_set_passwords
from azure_rotator.domain.model import AuthMode, RotatedSecret, Target
from azure_rotator.domain.ports import Grants, Identity, Inspection, Login, SignIn, User, Users

HIGHEST_ROLE = "Privileged Authentication Administrator"


class UserPasswordChecker:
    """The ``Checker`` of users' passwords."""

    def __init__(self, *, users: Users, login: Login) -> None:
        self._users = users
        self._login = login

    def need(self, target: Target, acting: Identity, grants: Grants) -> Finding:
        return _grant(f'Target "{target.name}"', "passwords", grants)

    def caution(self, item: RotatedSecret, target: Target, acting: Identity) -> Sequence[Finding]:
        """What could break is refused by the dry run."""
        return ()

    def inspect(self, subject: Inspection) -> Sequence[Finding]:
        name, username = f'item "{subject.item.name}"', subject.item.username or ""
        grants = asked(name, "login", lambda: self._login.grants(subject.acting))
        if isinstance(grants, Finding):
            return [grants]
        found = [ok(name, "login", f"as {subject.acting.label}")]
        himself = subject.item.authentication is AuthMode.USER
        found.append(self._sign_in(name, subject, username) if himself else _grant(name, "grant", grants))
        found.append(self._domain(name, subject.acting, username))
        user = asked(name, "user", lambda: self._users.get_user(subject.acting, username))
        if isinstance(user, Finding):
            return [*found, user]
        found.append(_mastered(name, subject.acting, username, user))
        if not himself:
            found.append(_roles(name, subject.acting, username, user))
        return found

    def _sign_in(self, name: str, subject: Inspection, username: str) -> Finding:
        """A user who changes his own password signs in first. One sign-in; Entra counts the same wrong password only
        once towards a lock-out."""
        check, password = "sign-in", subject.present
        if password is None:
            return unknown(name, check, "there is no password to sign in with before the first rotation")
        admitted = asked(name, check, lambda: self._users.sign_in(subject.acting, username, password))
        if isinstance(admitted, Finding):
            return admitted
        if admitted is SignIn.DEMANDED_MORE:
            demanded = Forbidden(
                "AzureAuthFailed",
                f"the sign-in of {username} demands more than a password, so the user cannot change it unattended",
                hint="exclude the account from the MFA or Conditional Access demand, or set "
                "authentication_credentials to use-target-creds",
            )
            return failed(name, check, demanded)
        return ok(name, check, "the stored password is accepted")

    def _domain(self, name: str, acting: Identity, username: str) -> Finding:
        check = "domain"
        federated = asked(name, check, lambda: self._users.is_federated(acting, username))
        if isinstance(federated, Finding):
            return federated
        if federated:
            elsewhere = Forbidden(
                "AzureRefused",
                f"the domain of {username} is federated: he signs in somewhere else, and no password in Entra is his",
                hint="rotate it where the account signs in, or use an account of the tenant's onmicrosoft.com domain",
            )
            return failed(name, check, elsewhere)
        return ok(name, check)


def _grant(subject: str, check: str, grants: Grants) -> Finding:
    if may_set_passwords(grants.roles):
        return ok(subject, check, "may set passwords")
    missing = Forbidden(
        "AzurePermissionMissing",
        f"{PASSWORDS} is not granted",
        hint=f"grant the application permission {PASSWORDS} with admin consent (User.ReadWrite.All is not enough)",
    )
    return failed(subject, check, missing)


def _mastered(name: str, acting: Identity, username: str, user: User) -> Finding:
    check = "mastered in Entra"
    if user.synchronised is None:
        return unknown(
            name, check, f"{username} may not be read", f"grant User.Read.All to {acting.label} to have it checked"
        )
    if user.synchronised:
        elsewhere = Forbidden(
            "AzureRefused",
            f"{username} is mastered in an on-premises directory: Entra does not take its password",
            hint="rotate it where the account is mastered, or use a cloud account",
        )
        return failed(name, check, elsewhere)
    return ok(name, check)


def _roles(name: str, acting: Identity, username: str, user: User) -> Finding:
    check = "administrator"
    if user.roles is None:
        return unknown(
            name,
            check,
            f"the directory roles of {username} may not be read",
            f"grant User.Read.All and Directory.Read.All to {acting.label} to have them checked",
        )
    if not user.roles:
        return ok(name, check, "holds no directory role")
    return warning(
        name,
        check,
        f"{username} holds {', '.join(user.roles)}: setting its password takes a directory role above that",
        f'give the service principal of {acting.label} the directory role "{HIGHEST_ROLE}", or let the user change it: '
        "use-user-creds",
        code="AzurePermissionMissing",
    )
