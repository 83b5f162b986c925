"""A Target without a client secret: the process's cloud identity acts, here the principal of its environment."""

from __future__ import annotations

from typing import Any

import pytest

from azure_rotator.domain.grants import PASSWORDS
from tests.engine.world import TARGET, World, refused
from tests.plugins.azure import OWNED_BY
from tests.rows import row

KIND = "rotator_type"


@pytest.fixture
def cloud(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A Target that is the process's identity, which may do everything in this tenant."""
    world = empty_world
    acting = world.rotator
    world.control.update_application(acting.app_id, roles=[OWNED_BY, PASSWORDS])
    info = world.control.create_account(tenant=acting.info.tenant_id, operators=[acting.app_id])
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", acting.info.tenant_id)
    monkeypatch.setenv("AZURE_CLIENT_ID", acting.app_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", acting.secret)
    world.create_target(
        connection_type="cloud-identity",
        client_id=None,
        client_secret=None,
        subscription_id=info.subscription_id,
        resource_group_name=info.resource_group,
        resource_name=info.name,
    )
    return world


def item_of(world: World, kind: str) -> dict[str, Any]:
    if kind == "password":
        user = world.control.create_user(tenant=world.rotator.info.tenant_id)
        return {KIND: kind, "app_id": None, "username": user.upn, "password": user.password}
    if kind == "azure-storage-account":
        changes = {KIND: kind, "app_id": None, "authentication_credentials": None}
        return {**changes, "storage_account_key_name": "key1"}
    return {KIND: kind}


@row("B-13")
@pytest.mark.parametrize("kind", ["api-key", "password", "azure-storage-account"])
def test_every_other_kind_is_made_and_rotated(cloud: World, kind: str):
    cloud.create(**item_of(cloud, kind))
    before = cloud.value()
    done = cloud.rotate()
    assert (done.version, done.status) == (2, "RotationSucceeded")
    assert cloud.value() != before
    assert set(cloud.logins()) <= {cloud.rotator.app_id, cloud.workload.app_id}


@row("B-13")
def test_its_own_secret_it_has_none(cloud: World):
    before = cloud.tables()
    given = {KIND: "target", "app_id": None, "authentication_credentials": None}
    error = refused(cloud.create, **given)
    assert (error.code, error.exit_code) == ("TargetHasNoClientSecret", 2)
    assert TARGET in str(error)
    assert cloud.tables() == before


@row("B-13", "AK-05")
def test_target_test_says_so(cloud: World):
    found = {one.check: (one.outcome.value, one.code) for one in cloud.engine.targets.test(name=TARGET)}
    assert found == {
        "login": ("ok", ""),
        "application secrets": ("ok", ""),
        "own secret": ("warning", "TargetHasNoClientSecret"),
        "passwords": ("ok", ""),
        "storage keys": ("ok", ""),
    }
