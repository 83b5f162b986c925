"""A credential that rotates, in 20 lines: where and as whom, and what. `make up` runs it on a local Azure."""

from pathlib import Path

import pulumi

from azure_rotator import AzureTarget, RotatedSecret

config = pulumi.Config()
sandbox = Path(__file__).resolve().parents[2] / ".local" / "sandbox"

contoso = AzureTarget(
    "contoso",
    name="/quickstart/contoso",
    tenant_id=config.get("tenantId", "11111111-1111-4111-8111-111111111111"),
    client_id=config.get("clientId", "22222222-2222-4222-8222-222222222201"),
    # A reference: the secret itself is neither in the program, nor in the state, nor in the store.
    client_secret=config.get("clientSecret", f"file:{sandbox}/secrets/rotator"),
)

billing = RotatedSecret(
    "billing",
    name="/quickstart/billing",
    target=contoso,
    rotator_type="api-key",
    authentication_credentials="use-target-creds",
    app_id=config.get("appId", "33333333-3333-4333-8333-333333333301"),
    auto_rotate=True,
    rotation_interval=30,
)

pulumi.export("path", billing.name)
pulumi.export("version", billing.version)
pulumi.export("key_id", billing.key_id)
pulumi.export("next_rotation", billing.next_rotation_date)
