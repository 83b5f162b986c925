"""``AzureTarget``: where and as whom to rotate."""

from __future__ import annotations

import pulumi
import pulumi.dynamic

from azure_rotator.domain.model import ConnectionType
from azure_rotator.resources.inputs import COMPUTED, SECRET_OUTPUTS
from azure_rotator.resources.marking import marked, owner_of
from azure_rotator.resources.providers import AzureTargetProvider


class AzureTarget(pulumi.dynamic.Resource, module="azure-rotator", name="AzureTarget"):
    """A tenant and a privileged application that rotates others, or the managed identity of the process that does.

        target = AzureTarget(
            "contoso",
            name="/prod/contoso",
            tenant_id="…",
            client_id="…",
            client_secret="file:/run/secrets/rotator",
        )

    It makes no call to Azure. It is never replaced: whatever changes, changes in place.
    """

    name: pulumi.Output[str]
    connection_type: pulumi.Output[str]
    tenant_id: pulumi.Output[str | None]
    client_id: pulumi.Output[str | None]
    client_secret_id: pulumi.Output[str | None]
    client_secret_version: pulumi.Output[int | None]
    azure_cloud: pulumi.Output[str]
    subscription_id: pulumi.Output[str | None]
    resource_group_name: pulumi.Output[str | None]
    resource_name: pulumi.Output[str | None]
    description: pulumi.Output[str]
    delete_protection: pulumi.Output[bool]
    max_versions: pulumi.Output[int | None]
    keep_prev_version: pulumi.Output[bool | None]
    force_deletion: pulumi.Output[bool | None]
    adopt: pulumi.Output[bool | None]
    owner: pulumi.Output[str]
    target_id: pulumi.Output[str]
    store_id: pulumi.Output[str]
    credential_fingerprint: pulumi.Output[str]

    def __init__(
        self,
        pulumi_name: str,
        /,
        *,
        name: pulumi.Input[str],
        connection_type: pulumi.Input[str | ConnectionType] | None = None,
        tenant_id: pulumi.Input[str] | None = None,
        client_id: pulumi.Input[str] | None = None,
        client_secret: pulumi.Input[str] | None = None,
        client_secret_id: pulumi.Input[str] | None = None,
        client_secret_version: pulumi.Input[int] | None = None,
        azure_cloud: pulumi.Input[str] | None = None,
        subscription_id: pulumi.Input[str] | None = None,
        resource_group_name: pulumi.Input[str] | None = None,
        resource_name: pulumi.Input[str] | None = None,
        description: pulumi.Input[str] | None = None,
        delete_protection: pulumi.Input[bool] | None = None,
        max_versions: pulumi.Input[int] | None = None,
        keep_prev_version: pulumi.Input[bool] | None = None,
        force_deletion: pulumi.Input[bool] | None = None,
        adopt: pulumi.Input[bool] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a Target.

        Args:
            pulumi_name: Pulumi's name of the resource: it identifies it in the stack and is shown in previews.
            name: Path of the Target in the store, e.g. ``/prod/contoso``; items and the command line name it so.
            connection_type: ``credentials`` (the default): work as a privileged application; ``cloud-identity``: as the
                managed or workload identity of the process that rotates.
            tenant_id: Entra tenant id; required with ``credentials``.
            client_id: Application (client) id of the privileged application; required with ``credentials``.
            client_secret: Its client secret. A literal is stored in the state, encrypted, and sealed in the store; a
                reference ``env:NAME`` or ``file:PATH`` keeps it out of both, and is resolved at each use by the process
                that talks to Azure. (From the stack's configuration only with ``pulumi config set --secret``.) Left out
                later: unchanged.
            client_secret_id: keyId of that secret; an item with rotator_type ``target`` needs it only when several
                secrets of the application begin alike.
            client_secret_version: Change it to send ``client_secret`` again.
            azure_cloud: ``AzureCloud`` (the default), ``AzureUSGovernment`` or ``AzureChinaCloud``.
            subscription_id: Subscription of the storage account, for items that rotate its keys.
            resource_group_name: Its resource group.
            resource_name: Its name.
            description: Free text.
            delete_protection: Refuse every deletion until it is switched off by an ``up`` of its own.
            max_versions: Of its client secrets, those that are kept, 1-300; the account's number unless set.
            keep_prev_version: Keep secrets before the present one; as the account says unless set.
            force_deletion: Delete it although items outside this program use it; they are left without a Target. Set it
                by an ``up`` of its own: a delete knows what the last one said.
            adopt: Take over the Target of that name that the command line made, without its credential: it stays what
                it is. Pulumi cannot import dynamic resources.
            opts: Pulumi's options.
        """
        super().__init__(
            AzureTargetProvider(),
            pulumi_name,
            {
                "name": name,
                "connection_type": connection_type,
                "tenant_id": tenant_id,
                "client_id": client_id,
                "client_secret": marked("client_secret", client_secret),
                "client_secret_id": client_secret_id,
                "client_secret_version": client_secret_version,
                "azure_cloud": azure_cloud,
                "subscription_id": subscription_id,
                "resource_group_name": resource_group_name,
                "resource_name": resource_name,
                "description": description,
                "delete_protection": delete_protection,
                "max_versions": max_versions,
                "keep_prev_version": keep_prev_version,
                "force_deletion": force_deletion,
                "adopt": adopt,
                "owner": owner_of(pulumi_name),
                **dict.fromkeys(COMPUTED["target"]),
            },
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=list(SECRET_OUTPUTS))),
        )
