"""What a person types and sees, from the first Target to the last delete."""

from __future__ import annotations

from tests.cli.conftest import Place, Terminal


def test_from_an_empty_machine_to_a_target_and_back(terminal: Terminal):
    terminal.replay(
        """
$ target list
! error: there is no store at {store} (StoreUnavailable)
! hint: look at AZURE_ROTATOR_STORE; a new store is made when the first target is created
= 1
$ target create azure --name azure/prod --tenant-id {tenant}
! error: client_id is missing: connection_type credentials needs it (ParameterMissing)
! hint: set client_id (--client-id)
! error: client_secret is missing: connection_type credentials needs it (ParameterMissing)
! hint: set client_secret (--client-secret)
= 2
$ target list
! error: there is no store at {store} (StoreUnavailable)
! hint: look at AZURE_ROTATOR_STORE; a new store is made when the first target is created
= 1
$ target create azure --name azure/prod --tenant-id {tenant} --client-id {client} --client-secret -
< not-the-value-of-anything
target_id: ID
target_name: /azure/prod
target_type: azure
last_version: 1
target_items_assoc: -
delete_protection: false
description: -
creation_date: INSTANT
modification_date: INSTANT
owner: -
store_id: ID
azure_tenant_id: {tenant}
azure_client_id: {client}
azure_cloud: AzureCloud
azure_subscription_id: -
azure_resource_group_name: -
azure_resource_name: -
client_secret_id: -
connection_type: credentials
max_versions: -
keep_prev_version: -
! next: azure-rotator target test --name /azure/prod
$ target create azure --name /azure/prod --connection-type cloud-identity
! error: there is a Target "/azure/prod" already (NameConflict)
! hint: choose another name
= 5
$ target get -n azure/prod --json
{
"name": "/azure/prod",
"target_id": "ID",
"target_name": "/azure/prod",
"target_type": "azure",
"last_version": 1,
"target_items_assoc": [],
"delete_protection": false,
"description": "",
"creation_date": "INSTANT",
"modification_date": "INSTANT",
"owner": "",
"store_id": "ID",
"azure_tenant_id": "{tenant}",
"azure_client_id": "{client}",
"azure_cloud": "AzureCloud",
"azure_subscription_id": null,
"azure_resource_group_name": null,
"azure_resource_name": null,
"client_secret_id": null,
"connection_type": "credentials",
"max_versions": null,
"keep_prev_version": null
}
$ target update azure -n azure/prod --description "the main one" --delete_protection
target_id: ID
target_name: /azure/prod
target_type: azure
last_version: 1
target_items_assoc: -
delete_protection: true
description: the main one
creation_date: INSTANT
modification_date: INSTANT
owner: -
store_id: ID
azure_tenant_id: {tenant}
azure_client_id: {client}
azure_cloud: AzureCloud
azure_subscription_id: -
azure_resource_group_name: -
azure_resource_name: -
client_secret_id: -
connection_type: credentials
max_versions: -
keep_prev_version: -
$ target delete -n azure/prod
! error: Target "/azure/prod" is protected against deletion (DeleteProtected)
! hint: set delete_protection to false first
= 5
$ target update azure -n azure/prod --description "" --delete-protection false --new-name azure/main --quiet
target_id: ID
target_name: /azure/main
target_type: azure
last_version: 1
target_items_assoc: -
delete_protection: false
description: -
creation_date: INSTANT
modification_date: INSTANT
owner: -
store_id: ID
azure_tenant_id: {tenant}
azure_client_id: {client}
azure_cloud: AzureCloud
azure_subscription_id: -
azure_resource_group_name: -
azure_resource_name: -
client_secret_id: -
connection_type: credentials
max_versions: -
keep_prev_version: -
$ target list --quiet
NAME CONNECTION TENANT CLIENT ITEMS
/azure/main credentials {tenant} {client} -
$ target delete -n azure/main
deleted /azure/main
$ target list
no Targets
$ audit list --action update_target
TIME WHO ACTION PATH RESULT DETAILS
INSTANT ada update_target /azure/prod ok -
INSTANT ada update_target /azure/main ok -
""",
        store=str(terminal.store),
        tenant="11111111-1111-4111-8111-111111111111",
        client="22222222-2222-4222-8222-222222222222",
    )


def test_a_secret_is_minted_read_rotated_and_deleted(place: Place):
    place.terminal.replay(
        """
$ target test -n t
NEED RESULT WHAT
login ok as the application of Target "/t"
application secrets ok may change the applications it is an owner of
own secret ok may change its own application
passwords AzurePermissionMissing User-PasswordProfile.ReadWrite.All is not granted
storage keys TargetIncomplete the Target names no storage account to try the role on
$ rotated-secret create azure -n prod/billing --target-name t --rotator-type api-key \
  --authentication-credentials use-target-creds --app-id {app} --auto-rotate --rotation-interval 30 --tag a --tag b
item_name: /prod/billing
item_id: ID
item_type: ROTATED_SECRET
item_metadata: -
item_tags: a, b
item_state: active
is_enabled: true
auto_rotate: true
rotation_interval: 30
last_rotation_date: INSTANT
next_rotation_date: INSTANT
last_version: 1
delete_protection: false
creation_date: INSTANT
modification_date: INSTANT
access_date: -
item_targets_assoc: /t
owner: -
store_id: ID
rotator_type: api-key
rotator_creds_type: use-target-creds
rotator_status: RotationSucceeded
last_rotation_error: -
rotation_hour: -
time_zone: UTC
rotation_offset: -
next_rotation_events: -
next_attempt_at: -
next_auto_rotate_type: rotation
managed_by: platform
app_id: {app}
revoke_after: -
grace_rotation: -
grace_rotation_interval: -
grace_rotation_hour: -
grace_rotation_timing: -
credential_lifetime: -
key_id: KEY
expires_at: INSTANT
expires_note: -
max_versions: -
keep_prev_version: -
skip_dry_run: false
rotate_on_read: false
password_policy: -
! next: azure-rotator rotated-secret get-value --name /prod/billing
$ rotated-secret get-value -n prod/billing --jq-expression .stage
current
$ rotate-secret -n prod/billing
name: /prod/billing
version: 2
rotation_id: ID
status: RotationSucceeded
key_id: KEY
! note: the previous secret KEY stays valid until INSTANT
$ rotate-secret -n prod/billing --json
{
"name": "/prod/billing",
"version": 3,
"rotation_id": "ID",
"status": "RotationSucceeded",
"key_id": "KEY",
"notes": [
"secret KEY was retired early: at most two secrets of an item stay valid",
"the previous secret KEY stays valid until INSTANT"
]
}
! note: secret KEY was retired early: at most two secrets of an item stay valid
! note: the previous secret KEY stays valid until INSTANT
$ rotated-secret list
NAME TYPE VERSION STATUS NEXT ROTATION
/prod/billing api-key 3 RotationSucceeded INSTANT
$ rotated-secret list --path /prod --jq-expression .items[].item_name
/prod/billing
$ rotated-secret describe -n prod/billing --show-versions
item_name: /prod/billing
item_id: ID
item_type: ROTATED_SECRET
item_metadata: -
item_tags: a, b
item_state: active
is_enabled: true
auto_rotate: true
rotation_interval: 30
last_rotation_date: INSTANT
next_rotation_date: INSTANT
last_version: 3
delete_protection: false
creation_date: INSTANT
modification_date: INSTANT
access_date: INSTANT
item_targets_assoc: /t
owner: -
store_id: ID
rotator_type: api-key
rotator_creds_type: use-target-creds
rotator_status: RotationSucceeded
last_rotation_error: -
rotation_hour: -
time_zone: UTC
rotation_offset: -
next_rotation_events: -
next_attempt_at: INSTANT
next_auto_rotate_type: grace
managed_by: platform
app_id: {app}
revoke_after: -
grace_rotation: -
grace_rotation_interval: -
grace_rotation_hour: -
grace_rotation_timing: -
credential_lifetime: -
key_id: KEY
expires_at: INSTANT
expires_note: -
max_versions: -
keep_prev_version: -
skip_dry_run: false
rotate_on_read: false
password_policy: -

VERSION STAGE KEY ID CREATED EXPIRES RETIRES
1 revoked KEY INSTANT INSTANT INSTANT
2 previous KEY INSTANT INSTANT INSTANT
3 current KEY INSTANT INSTANT -
$ target get -n t --jq-expression .target_items_assoc
["/prod/billing"]
$ target delete -n t
! error: Target "/t" is used by /prod/billing (TargetInUse)
! hint: delete these items first
= 5
$ rotated-secret update azure -n prod/billing --rotation-interval 90 --jq-expression .rotation_interval
90
$ reconcile
PATH OPERATION ID WAS IS NEXT STEP
/prod/billing manual ID published published INSTANT
no orphans
$ reconcile --dry-run --target t
PATH OPERATION ID WAS IS NEXT STEP
/prod/billing manual ID published published INSTANT
no orphans
$ audit list -n prod/billing
TIME WHO ACTION PATH RESULT DETAILS
INSTANT ada begin_create_item /prod/billing ok -
INSTANT ada create_item /prod/billing ok version=1, key_id=KEY, trigger=create
INSTANT ada create_assoc_target_item /prod/billing ok target=/t
INSTANT ada get_rotated_secret_value /prod/billing ok version=1
INSTANT ada rotate_item /prod/billing ok version=2, key_id=KEY, trigger=manual
INSTANT ada rotate_item /prod/billing ok version=3, key_id=KEY, trigger=manual
INSTANT ada update_item /prod/billing ok -
$ rotated-secret delete -n prod/billing
item_id: ID
item_name: /prod/billing
version_deleted: -1
revoked: KEY, KEY
left_in_azure: -
orphans: -
$ rotated-secret delete -n prod/billing
! error: there is no item "/prod/billing" (ItemNotFound)
! hint: azure-rotator rotated-secret list shows them
= 4
$ target delete -n t
deleted /t
""",
        **place.names,
    )


def test_a_secret_is_adopted(place: Place):
    place.terminal.replay(
        """
$ create-rotated-secret -n s --target-name t --rotator-type api-key --app-id {app} --api-id {boot} --api-key - \
  --authentication_credentials use-target-creds
< {secret}
item_name: /s
item_id: ID
item_type: ROTATED_SECRET
item_metadata: -
item_tags: -
item_state: active
is_enabled: true
auto_rotate: false
rotation_interval: -
last_rotation_date: -
next_rotation_date: -
last_version: 1
delete_protection: false
creation_date: INSTANT
modification_date: INSTANT
access_date: -
item_targets_assoc: /t
owner: -
store_id: ID
rotator_type: api-key
rotator_creds_type: use-target-creds
rotator_status: -
last_rotation_error: -
rotation_hour: -
time_zone: UTC
rotation_offset: -
next_rotation_events: -
next_attempt_at: -
next_auto_rotate_type: -
managed_by: user
app_id: {app}
revoke_after: -
grace_rotation: -
grace_rotation_interval: -
grace_rotation_hour: -
grace_rotation_timing: -
credential_lifetime: -
key_id: {boot}
expires_at: INSTANT
expires_note: -
max_versions: -
keep_prev_version: -
skip_dry_run: false
rotate_on_read: false
password_policy: -
! note: create-rotated-secret is rotated-secret create azure under its old name
! next: azure-rotator rotated-secret get-value --name /s
$ get-rotated-secret-value --names s --jq-expression .value.key_id
{boot}
$ describe-item -n s --jq-expression .rotated_secret_details.managed_by
user
$ delete-item -n s
item_id: ID
item_name: /s
version_deleted: -1
revoked: -
left_in_azure: {boot}
orphans: -
! note: left in Azure as it is: {boot}
""",
        **place.names,
        secret=place.workload.secret,
    )
