"""``RotatedSecret``: one credential under rotation."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi.dynamic

from azure_rotator.domain.model import AuthMode, RotatorType
from azure_rotator.resources.inputs import COMPUTED, SECRET_OUTPUTS
from azure_rotator.resources.marking import marked, owner_of
from azure_rotator.resources.providers import RotatedSecretProvider
from azure_rotator.resources.target import AzureTarget


class RotatedSecret(pulumi.dynamic.Resource, module="azure-rotator", name="RotatedSecret"):
    """A client secret of an application: minted or adopted first, rotated on its interval, revoked at the end.

        billing = RotatedSecret(
            "billing",
            name="/prod/billing",
            target=target,
            rotator_type="api-key",
            authentication_credentials="use-target-creds",
            app_id="…",
            auto_rotate=True,
            rotation_interval=30,
        )

    Its value is no output and not in the state: ``get_value(billing)`` reads it, and so does the command line. A
    rotation between two deploys is no difference; ``refresh`` shows it in the outputs. ``target_name``,
    ``rotator_type`` and ``app_id`` identify the credential: a change of them replaces the item.
    """

    name: pulumi.Output[str]
    target_name: pulumi.Output[str]
    rotator_type: pulumi.Output[str]
    authentication_credentials: pulumi.Output[str]
    app_id: pulumi.Output[str | None]
    api_id: pulumi.Output[str | None]
    auto_rotate: pulumi.Output[bool]
    rotation_interval: pulumi.Output[int | None]
    revoke_after: pulumi.Output[str | None]
    credential_version: pulumi.Output[int | None]
    rotation_trigger: pulumi.Output[str | None]
    description: pulumi.Output[str]
    tags: pulumi.Output[Sequence[str]]
    delete_protection: pulumi.Output[bool]
    skip_dry_run: pulumi.Output[bool]
    owner: pulumi.Output[str]
    item_id: pulumi.Output[str]
    store_id: pulumi.Output[str]
    credential_fingerprint: pulumi.Output[str]
    version: pulumi.Output[int]
    key_id: pulumi.Output[str | None]
    last_rotation_date: pulumi.Output[str | None]
    next_rotation_date: pulumi.Output[str | None]
    expires_at: pulumi.Output[str | None]
    status: pulumi.Output[str | None]

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        rotator_type: pulumi.Input[str | RotatorType],
        target: AzureTarget | pulumi.Input[str] | None = None,
        target_name: pulumi.Input[str] | None = None,
        authentication_credentials: pulumi.Input[str | AuthMode] | None = None,
        app_id: pulumi.Input[str] | None = None,
        api_id: pulumi.Input[str] | None = None,
        api_key: pulumi.Input[str] | None = None,
        auto_rotate: pulumi.Input[bool] | None = None,
        rotation_interval: pulumi.Input[int] | None = None,
        revoke_after: pulumi.Input[str] | None = None,
        credential_version: pulumi.Input[int] | None = None,
        rotation_trigger: pulumi.Input[str] | None = None,
        description: pulumi.Input[str] | None = None,
        tags: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        delete_protection: pulumi.Input[bool] | None = None,
        skip_dry_run: pulumi.Input[bool] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a Rotated Secret.

        Args:
            resource_name: Pulumi's name of the resource: it identifies it in the stack and is shown in previews.
            name: Path of the item in the store, e.g. ``/prod/billing``; consumers read it by this path. A change
                renames the item in place.
            rotator_type: What to rotate; this release serves ``api-key``.
            target: The Target to work with, an ``AzureTarget`` or its path. Give this or ``target_name``.
            target_name: The path of the Target.
            authentication_credentials: Who rotates: ``use-target-creds``, the Target; ``use-user-creds`` (the default),
                the application itself with its present secret.
            app_id: Application (client) id whose client secret rotates.
            api_id: keyId of an existing client secret to adopt. Left out: one is minted, and only that is managed.
            api_key: The value of that client secret; with ``use-user-creds`` and no ``api_id`` only the first login. A
                literal is stored in the state, encrypted, and sealed in the store; a reference ``env:NAME`` or
                ``file:PATH`` keeps it out of the state. Left out later: unchanged.
            auto_rotate: Rotate on the interval.
            rotation_interval: Days between rotations, 1-365.
            revoke_after: How long a replaced client secret stays valid: ``0``, or a whole number with ``s``, ``m``,
                ``h`` or ``d``. 24h unless set (interval 1: 12h).
            credential_version: Change it to send ``api_key`` again.
            rotation_trigger: Any text; change it to rotate now.
            description: Free text.
            tags: Tags.
            delete_protection: Refuse every deletion, and every replacement, until it is switched off by an ``up`` of
                its own.
            skip_dry_run: Do not check against Azure before creating or updating.
            opts: Pulumi's options.

        Raises:
            ValueError: Both ``target`` and ``target_name`` are given.
        """
        if target is not None and target_name is not None:
            raise ValueError(f"{resource_name}: give target or target_name, not both")
        target_id: pulumi.Input[str] | None = None
        if isinstance(target, AzureTarget):
            target_name, target_id = target.name, target.id
        elif target is not None:
            target_name = target
        super().__init__(
            RotatedSecretProvider(),
            resource_name,
            {
                "name": name,
                "target_name": target_name,
                "rotator_type": rotator_type,
                "authentication_credentials": authentication_credentials,
                "app_id": app_id,
                "api_id": api_id,
                "api_key": marked("api_key", api_key),
                "auto_rotate": auto_rotate,
                "rotation_interval": rotation_interval,
                "revoke_after": revoke_after,
                "credential_version": credential_version,
                "rotation_trigger": rotation_trigger,
                "description": description,
                "tags": tags,
                "delete_protection": delete_protection,
                "skip_dry_run": skip_dry_run,
                "owner": owner_of(resource_name),
                "target_id": target_id,
                **dict.fromkeys(COMPUTED["secret"]),
            },
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=list(SECRET_OUTPUTS))),
        )
        if authentication_credentials is None:
            pulumi.log.warn(
                "authentication_credentials is left out, so the application rotates its own secret (use-user-creds); "
                "say so, or say use-target-creds to have the Target do it",
                resource=self,
            )
