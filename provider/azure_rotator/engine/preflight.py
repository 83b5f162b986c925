"""The dry run: what a create or an update checks against Azure before anything is changed. Reads only."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from azure_rotator.domain.errors import Rejected, RotatorError, Unavailable
from azure_rotator.domain.findings import Outcome
from azure_rotator.domain.instants import iso
from azure_rotator.domain.kinds import CLIENT_SECRETS, acts_as_itself, application_identity, lane
from azure_rotator.domain.model import ConnectionType, RotatedSecret, RotatorType, Target
from azure_rotator.domain.names import is_guid
from azure_rotator.domain.parameters import CREDENTIAL_OF
from azure_rotator.domain.ports import Adoption, Subject
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.arguments import Arguments
from azure_rotator.engine.context import Context, explained


class Preflight:
    """Checks against Azure; each raises before anything was changed."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def given(self, kind: RotatorType, values: Arguments) -> SecretText | None:
        """The credential among the arguments, resolved now.

        Raises:
            Rejected: ``ReferenceUnresolved``; ``IdentifierMixedUp`` for a client secret that is a GUID.
        """
        name = CREDENTIAL_OF.get(kind)
        argument = values.get(name) if name else None
        if argument is None:
            return None
        secret = self._c.given_secret(str(argument))
        if kind is RotatorType.API_KEY and secret.satisfies(is_guid):
            raise Rejected(
                "IdentifierMixedUp",
                "api_key is a GUID: it looks like the secret's id, not its value",
                hint="api-key is the secret's value, api-id its keyId",
            )
        return secret

    def check(self, item: RotatedSecret, target: Target, given: SecretText | None) -> Adoption | None:
        """Ask Azure by reads alone whether this item can be rotated.

        Returns: The credential it begins with, or None when its first one is to be minted.

        Raises:
            Forbidden, NotFound, Rejected, Unavailable: Nothing was changed.
        """
        if given is not None and acts_as_itself(item):
            acting = application_identity(target, item.app_id, given)
        else:
            acting = self._c.identity_for(item, target)
        subject = Subject(item=item, target=target, acting=acting, given=given)
        limit_at = self._c.clock.now() + self._c.limits.foreground
        while True:
            self._wait_out_pause(item, target, limit_at)
            try:
                return self._c.rotators[item.rotator_type].examine(subject)
            except RotatorError as refused:
                until = self._c.pause(refused, lane(item, target), target.tenant_id)
                if until is None or until > limit_at or refused.code != "AzureThrottled":
                    raise explained(refused, item, target) from None

    def _wait_out_pause(self, item: RotatedSecret, target: Target, limit_at: datetime) -> None:
        """Ask nothing while Azure wants a pause. Raises: Unavailable ``AzureThrottled``, it ends beyond the limit."""
        until = self._pause(item, target)
        if until is None:
            return
        told = f"Azure asked for a pause of requests like these until {iso(until)}"
        if until > limit_at:
            raise Unavailable("AzureThrottled", told, hint="try again then; nothing was changed", applied="no")
        self._c.observer.say(f"{told}; waiting")
        self._c.clock.wait_until(until)

    def _pause(self, item: RotatedSecret, target: Target) -> datetime | None:
        """Until when nothing is asked of the item's object; None: now is as good as later."""
        until = self._c.uow.paused_until(lane(item, target), target.tenant_id)
        return None if until is None or until <= self._c.clock.now() else until

    def warn(self, item: RotatedSecret, target: Target) -> None:
        """Tell the person what a rotation of the item will break, where that may be read; never in the way of it."""
        if item.rotator_type is not RotatorType.STORAGE_ACCOUNT:
            return  # what could break there is refused
        try:
            if self._pause(item, target) is not None:
                return

            found = self._c.checkers[item.rotator_type].caution(item, target, self._c.target_identity(target))
        except Unavailable as refused:
            self._c.pause(refused, lane(item, target), target.tenant_id)
            return
        except RotatorError:
            return  # what is wrong will be told by what needs it
        for one in found:
            if one.outcome is Outcome.WARNING:
                self._c.observer.warn(f"{one.subject}: {one.message}; {one.fix}")

    def unchecked(self, item: RotatedSecret, target: Target, given: SecretText | None) -> Adoption | None:
        """What an item begins with that nothing is asked about (``skip_dry_run``)."""
        match item.rotator_type:
            case RotatorType.API_KEY:
                return None if item.api_id is None else Adoption(key_id=item.api_id, value=given)
            case RotatorType.PASSWORD:
                return Adoption(key_id=item.username or "", value=given)
            case RotatorType.STORAGE_ACCOUNT:
                return Adoption(key_id=item.storage_key_name or "key1", value=None)
            case RotatorType.TARGET:
                # Its secret is known, and which keyId that is only if somebody said so.
                if target.client_secret_id is None:
                    return self.check(item, target, given)
                return Adoption(key_id=target.client_secret_id, value=self._c.target_identity(target).secret)

    def check_adoption(self, item: RotatedSecret, target: Target, key_id: str, given: SecretText) -> Adoption:
        """That ``given`` is the present value of this credential of the item. Raises as ``check``."""
        named = replace(item, api_id=key_id) if item.rotator_type is RotatorType.API_KEY else item
        return self.check(named, target, given) or Adoption(key_id=key_id, value=given)


def refuse_unfit(kind: RotatorType, target: Target) -> None:
    """Refuse a Target that cannot serve this kind, by what is stored about it.

    Raises:
        Rejected: ``TargetIncomplete``, ``TargetHasNoClientSecret``, ``TargetSecretExternal``.
    """
    if kind is RotatorType.TARGET:
        if target.connection_type is not ConnectionType.CREDENTIALS:
            raise Rejected(
                "TargetHasNoClientSecret",
                f'Target "{target.name}" has no client secret to rotate: it is a {target.connection_type.value}',
                hint="the target rotator needs a Target with connection_type credentials",
            )
        if target.secret_reference is not None:
            raise Rejected(
                "TargetSecretExternal",
                f'the client secret of Target "{target.name}" is the reference {target.secret_reference}: whoever '
                "keeps it there would bring the old value back after a rotation",
                hint="give the Target the secret itself (it is sealed in the store), then create this item",
            )
    needs_tenant = kind in CLIENT_SECRETS or kind is RotatorType.PASSWORD
    if needs_tenant and target.tenant_id is None:
        raise Rejected(
            "TargetIncomplete",
            f'Target "{target.name}" has no tenant_id, and a {"password" if kind is RotatorType.PASSWORD else "secret"}'
            " is proven by a login to its tenant",
            hint="set tenant_id on the Target",
        )
