"""The dry run: what a create or an update checks against Azure before anything is changed. Reads only."""

from __future__ import annotations

from functools import partial

from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError
from azure_rotator.domain.model import AuthMode, RotatedSecret, Target
from azure_rotator.domain.names import is_guid
from azure_rotator.domain.ports import Application, Identity, PasswordCredential
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Context, explained
from azure_rotator.engine.targets import ALL_APPLICATIONS, OWNED_APPLICATIONS


class Preflight:
    """Checks against Azure; each raises before anything was changed."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def given(self, argument: object) -> SecretText | None:
        if argument is None:
            return None
        secret = self._c.given_secret(str(argument))
        if secret.satisfies(is_guid):
            raise Rejected(
                "IdentifierMixedUp",
                "api_key is a GUID: it looks like the secret's id, not its value",
                hint="api-key is the secret's value, api-id its keyId",
            )
        return secret

    def check(self, item: RotatedSecret, target: Target, given: SecretText | None) -> PasswordCredential | None:
        """Reads only: login, grants, ownership, the application, the adopted keyId and its value.

        Returns:
            The credential to adopt as Entra lists it, if there is one to adopt.

        Raises:
            Forbidden, NotFound, Rejected, Unavailable: Nothing was changed.
        """
        if item.authentication is AuthMode.TARGET or given is None:
            acting = self._c.acting_identity(item, target, self._c.uow.versions(item.item_id))
        else:
            acting = self._c.item_identity(item, target, given)
        try:
            application = self._may_rotate(item, acting)
        except RotatorError as refused:
            raise explained(refused, item) from None
        return None if item.api_id is None else self._adoptable(item, target, application, item.api_id, given)

    def check_adoption(self, item: RotatedSecret, target: Target, key_id: str, given: SecretText) -> PasswordCredential:
        """That ``given`` is the value of this keyId of the item's application.

        Raises:
            Forbidden, NotFound, Rejected, Unavailable: Nothing was changed.
        """
        acting = (
            self._c.target_identity(target)
            if item.authentication is AuthMode.TARGET
            else self._c.item_identity(item, target, given)
        )
        application = self._c.directory.get_application(acting, item.app_id)
        return self._adoptable(item, target, application, key_id, given)

    def _may_rotate(self, item: RotatedSecret, acting: Identity) -> Application:
        grants = self._c.login.grants(acting)
        if not grants.roles & (ALL_APPLICATIONS | {OWNED_APPLICATIONS}):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{acting.label} has neither {OWNED_APPLICATIONS} nor Application.ReadWrite.All",
                hint=f"grant {OWNED_APPLICATIONS} and make its service principal an owner of application {item.app_id}",
            )
        application = self._c.directory.get_application(acting, item.app_id)
        if grants.roles & ALL_APPLICATIONS:
            return application
        if grants.principal_id not in self._c.directory.owner_ids(acting, application.object_id):
            raise Forbidden(
                "AzurePermissionMissing",
                f"{acting.label} is not an owner of application {item.app_id}, which {OWNED_APPLICATIONS} needs",
                hint=f"make service principal {grants.principal_id} an owner of it, or grant Application.ReadWrite.All",
            )
        return application

    def _adoptable(
        self, item: RotatedSecret, target: Target, application: Application, key_id: str, given: SecretText | None
    ) -> PasswordCredential:
        listed = next((p for p in application.passwords if p.key_id.lower() == key_id), None)
        if listed is None:
            raise NotFound(
                "CredentialNotFound",
                f"application {item.app_id} has no client secret with keyId {key_id}",
                hint="api-id is the secret's keyId (Secret ID in the portal); leave it out to have one minted",
            )
        if given is None:
            return listed
        if listed.hint and not given.satisfies(partial(_begins_with, listed.hint)):
            raise Rejected(
                "IdentifierMixedUp",
                f"api_key is not the value of keyId {key_id}: its beginning differs from Entra's hint",
                hint="give the value that belongs to this api-id",
            )
        self._c.login.prove(self._c.item_identity(item, target, given))
        return listed


def _begins_with(hint: str, value: str) -> bool:
    return value.startswith(hint)
