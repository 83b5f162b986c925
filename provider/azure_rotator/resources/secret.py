"""``RotatedSecret``: one credential under rotation."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi.dynamic

from azure_rotator.domain.model import AuthMode, GraceTiming, RotatorType, StorageKeyMode
from azure_rotator.resources.inputs import COMPUTED, SECRET_OUTPUTS
from azure_rotator.resources.marking import marked, owner_of
from azure_rotator.resources.providers import RotatedSecretProvider
from azure_rotator.resources.target import AzureTarget


class RotatedSecret(pulumi.dynamic.Resource, module="azure-rotator", name="RotatedSecret"):
    """One credential: minted or adopted first, rotated on its interval; what was minted is revoked at the end.

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
    username: pulumi.Output[str | None]
    storage_account_key_name: pulumi.Output[str | None]
    storage_key_mode: pulumi.Output[str | None]
    explicitly_set_sa: pulumi.Output[bool | None]
    resource_group_name: pulumi.Output[str | None]
    resource_name: pulumi.Output[str | None]
    auto_rotate: pulumi.Output[bool]
    rotation_interval: pulumi.Output[int | None]
    rotation_hour: pulumi.Output[int | None]
    time_zone: pulumi.Output[str]
    rotation_offset: pulumi.Output[int | None]
    rotation_event_in: pulumi.Output[list[int]]
    revoke_after: pulumi.Output[str | None]
    grace_rotation: pulumi.Output[bool | None]
    grace_rotation_interval: pulumi.Output[int | None]
    grace_rotation_hour: pulumi.Output[int | None]
    grace_rotation_timing: pulumi.Output[str | None]
    rotate_on_create: pulumi.Output[bool]
    rotate_on_read: pulumi.Output[bool]
    credential_lifetime: pulumi.Output[int | None]
    password_length: pulumi.Output[int | None]
    use_capital_letters: pulumi.Output[bool | None]
    use_lower_letters: pulumi.Output[bool | None]
    use_numbers: pulumi.Output[bool | None]
    use_special_characters: pulumi.Output[bool | None]
    credential_version: pulumi.Output[int | None]
    rotation_trigger: pulumi.Output[str | None]
    description: pulumi.Output[str]
    tags: pulumi.Output[Sequence[str]]
    delete_protection: pulumi.Output[bool]
    max_versions: pulumi.Output[int | None]
    keep_prev_version: pulumi.Output[bool | None]
    skip_dry_run: pulumi.Output[bool]
    force_delete: pulumi.Output[bool | None]
    adopt: pulumi.Output[bool | None]
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
        pulumi_name: str,
        /,
        *,
        name: pulumi.Input[str],
        rotator_type: pulumi.Input[str | RotatorType],
        target: AzureTarget | pulumi.Input[str] | None = None,
        target_name: pulumi.Input[str] | None = None,
        authentication_credentials: pulumi.Input[str | AuthMode] | None = None,
        app_id: pulumi.Input[str] | None = None,
        api_id: pulumi.Input[str] | None = None,
        api_key: pulumi.Input[str] | None = None,
        username: pulumi.Input[str] | None = None,
        password: pulumi.Input[str] | None = None,
        storage_account_key_name: pulumi.Input[str] | None = None,
        storage_key_mode: pulumi.Input[str | StorageKeyMode] | None = None,
        explicitly_set_sa: pulumi.Input[bool] | None = None,
        resource_group_name: pulumi.Input[str] | None = None,
        resource_name: pulumi.Input[str] | None = None,
        auto_rotate: pulumi.Input[bool] | None = None,
        rotation_interval: pulumi.Input[int] | None = None,
        rotation_hour: pulumi.Input[int] | None = None,
        time_zone: pulumi.Input[str] | None = None,
        rotation_offset: pulumi.Input[int] | None = None,
        rotation_event_in: pulumi.Input[Sequence[pulumi.Input[int]]] | None = None,
        revoke_after: pulumi.Input[str] | None = None,
        grace_rotation: pulumi.Input[bool] | None = None,
        grace_rotation_interval: pulumi.Input[int] | None = None,
        grace_rotation_hour: pulumi.Input[int] | None = None,
        grace_rotation_timing: pulumi.Input[str | GraceTiming] | None = None,
        rotate_on_create: pulumi.Input[bool] | None = None,
        rotate_on_read: pulumi.Input[bool] | None = None,
        credential_lifetime: pulumi.Input[int] | None = None,
        password_length: pulumi.Input[int] | None = None,
        use_capital_letters: pulumi.Input[bool] | None = None,
        use_lower_letters: pulumi.Input[bool] | None = None,
        use_numbers: pulumi.Input[bool] | None = None,
        use_special_characters: pulumi.Input[bool] | None = None,
        credential_version: pulumi.Input[int] | None = None,
        rotation_trigger: pulumi.Input[str] | None = None,
        description: pulumi.Input[str] | None = None,
        tags: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        delete_protection: pulumi.Input[bool] | None = None,
        max_versions: pulumi.Input[int] | None = None,
        keep_prev_version: pulumi.Input[bool] | None = None,
        skip_dry_run: pulumi.Input[bool] | None = None,
        force_delete: pulumi.Input[bool] | None = None,
        adopt: pulumi.Input[bool] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a Rotated Secret.

        Args:
            pulumi_name: Pulumi's name of the resource: it identifies it in the stack and is shown in previews.
            name: Path of the item in the store, e.g. ``/prod/billing``; consumers read it by this path. A change
                renames the item in place.
            rotator_type: What to rotate: ``api-key``, a client secret of an application; ``target``, the Target's own
                client secret; ``password``, a user's password; ``azure-storage-account``, a key of a storage account.
            target: The Target to work with, an ``AzureTarget`` or its path. Give this or ``target_name``.
            target_name: The path of the Target.
            authentication_credentials: Who rotates: ``use-target-creds``, the Target (always, for ``target`` and
                ``azure-storage-account``); ``use-user-creds`` (the default for ``api-key`` and ``password``), the
                application or user itself with the present credential.
            app_id: Application (client) id whose client secret rotates.
            api_id: keyId of an existing client secret to adopt. Left out: one is minted, and only that is managed.
            api_key: The value of that client secret; with ``use-user-creds`` and no ``api_id`` only the first login. A
                literal is stored in the state, encrypted, and sealed in the store; a reference ``env:NAME`` or
                ``file:PATH`` keeps it out of the state. Left out later: unchanged.
            username: User principal name of the user whose password rotates.
            password: The user's present password, as ``api_key``; required with ``use-user-creds``.
            storage_account_key_name: ``key1``, ``key2``, ``kerb1`` or ``kerb2``: the key that rotates; in ``alternate``
                mode the one published first.
            storage_key_mode: ``named`` (the default): regenerate that key, which revokes its old value at once.
                ``alternate``: regenerate the unpublished key of the pair and publish that one.
            explicitly_set_sa: The account is named here, by ``resource_group_name`` and ``resource_name``, not by the
                Target.
            resource_group_name: Resource group of that account.
            resource_name: Name of that account.
            auto_rotate: Rotate on the interval.
            rotation_interval: Days between rotations, 1-365.
            rotation_hour: Hour of the day in ``time_zone``, 0-23, at which rotations are due; 0 is midnight. Left out:
                exactly the interval after the last one.
            time_zone: IANA name of the zone that hours are told in, e.g. ``Europe/Berlin``; ``UTC`` unless set.
            rotation_offset: Phase of the rotations, 0 to below ``rotation_interval``, with an hour: due are the days
                whose number since 1970-01-01 leaves it when divided by the interval. Two items of interval 30, one with
                offset 0 and one with 15, stay apart whichever is rotated by hand.
            rotation_event_in: Days before an automatic rotation at which an event reminds of it.
            revoke_after: How long a replaced client secret stays valid: ``0``, or a whole number with ``s``, ``m``,
                ``h`` or ``d``. 24h unless set (interval 1: 12h).
            grace_rotation: Keep a replaced client secret valid for a grace, instead of ``revoke_after``.
            grace_rotation_interval: Days of grace, below ``rotation_interval``; left out: until the next rotation.
            grace_rotation_hour: Hour of the day, 0-23, at which the grace ends.
            grace_rotation_timing: ``after`` (the default) or ``before`` the due date; ``before`` needs the interval,
                below half of ``rotation_interval``. A change mints one fresh secret.
            rotate_on_create: Rotate an adopted credential as soon as it is taken.
            rotate_on_read: Rotate before each get-value.
            credential_lifetime: Days that a minted client secret lives.
            password_length: Length of generated passwords, 8-50.
            use_capital_letters: Whether they have capital letters.
            use_lower_letters: Whether they have lower letters.
            use_numbers: Whether they have digits.
            use_special_characters: Whether they have other characters.
            credential_version: Change it to send ``api_key`` or ``password`` again.
            rotation_trigger: Any text; change it to rotate now.
            description: Free text.
            tags: Tags.
            delete_protection: Refuse every deletion, and every replacement, until it is switched off by an ``up`` of
                its own.
            max_versions: Versions that are kept, 1-300; the account's number unless set, and never more than that.
            keep_prev_version: Keep versions before the current one; as the account says unless set.
            skip_dry_run: Do not check against Azure before creating or updating.
            force_delete: Delete it although Azure refuses to remove its secrets, and say which are left there. Set it
                by an ``up`` of its own: a delete knows what the last one said.
            adopt: Take over the item of that name that the command line made, without its credential: it stays what
                it is. Pulumi cannot import dynamic resources.
            opts: Pulumi's options.

        Raises:
            ValueError: Both ``target`` and ``target_name`` are given.
        """
        if target is not None and target_name is not None:
            raise ValueError(f"{pulumi_name}: give target or target_name, not both")
        target_id: pulumi.Input[str] | None = None
        if isinstance(target, AzureTarget):
            target_name, target_id = target.name, target.id
        elif target is not None:
            target_name = target
        super().__init__(
            RotatedSecretProvider(),
            pulumi_name,
            {
                "name": name,
                "target_name": target_name,
                "rotator_type": rotator_type,
                "authentication_credentials": authentication_credentials,
                "app_id": app_id,
                "api_id": api_id,
                "api_key": marked("api_key", api_key),
                "username": username,
                "password": marked("password", password),
                "storage_account_key_name": storage_account_key_name,
                "storage_key_mode": storage_key_mode,
                "explicitly_set_sa": explicitly_set_sa,
                "resource_group_name": resource_group_name,
                "resource_name": resource_name,
                "auto_rotate": auto_rotate,
                "rotation_interval": rotation_interval,
                "rotation_hour": rotation_hour,
                "time_zone": time_zone,
                "rotation_offset": rotation_offset,
                "rotation_event_in": rotation_event_in,
                "revoke_after": revoke_after,
                "grace_rotation": grace_rotation,
                "grace_rotation_interval": grace_rotation_interval,
                "grace_rotation_hour": grace_rotation_hour,
                "grace_rotation_timing": grace_rotation_timing,
                "rotate_on_create": rotate_on_create,
                "rotate_on_read": rotate_on_read,
                "credential_lifetime": credential_lifetime,
                "password_length": password_length,
                "use_capital_letters": use_capital_letters,
                "use_lower_letters": use_lower_letters,
                "use_numbers": use_numbers,
                "use_special_characters": use_special_characters,
                "credential_version": credential_version,
                "rotation_trigger": rotation_trigger,
                "description": description,
                "tags": tags,
                "delete_protection": delete_protection,
                "max_versions": max_versions,
                "keep_prev_version": keep_prev_version,
                "force_delete": force_delete,
                "adopt": adopt,
                "skip_dry_run": skip_dry_run,
                "owner": owner_of(pulumi_name),
                "target_id": target_id,
                **dict.fromkeys(COMPUTED["secret"]),
            },
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=list(SECRET_OUTPUTS))),
        )
        if authentication_credentials is None and rotator_type in (RotatorType.API_KEY, RotatorType.PASSWORD):
            pulumi.log.warn(
                "authentication_credentials is left out, so the credential rotates itself (use-user-creds); "
                "say so, or say use-target-creds to have the Target do it",
                resource=self,
            )
