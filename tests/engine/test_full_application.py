"""An application whose object takes no more (F07): said with its id and what to prune, and nothing is lost."""

from __future__ import annotations

from tests.engine.world import TARGET, World, refused
from tests.rows import row


@row("F07")
def test_a_rotation_of_a_full_application_keeps_the_old_secret_and_says_what_to_do(world: World):
    world.create(revoke_after="0")
    value, before = world.value(), world.key_ids()
    world.control.set_behaviour(world.workload.app_id, max_secrets=len(before))
    error = refused(world.rotate)
    assert (error.code, error.exit_code) == ("CredentialLimitReached", 7)
    assert world.workload.app_id in str(error)
    assert "prune" in error.hint
    assert f"azure-rotator inventory --target {TARGET} --app-id {world.workload.app_id}" in error.hint
    assert (world.value(), world.key_ids()) == (value, before)
    assert world.logs_in(value)
    assert world.describe().item.error_code == "CredentialLimitReached"
    world.control.remove_secret(world.workload.app_id, world.secret_of_boot())
    assert world.rotate().status == "RotationSucceeded"


@row("F07")
def test_a_create_on_a_full_application_leaves_nothing(world: World):
    world.control.set_behaviour(world.workload.app_id, max_secrets=1)
    before, items = world.key_ids(), world.tables()["items"]
    error = refused(world.create)
    assert error.code == "CredentialLimitReached"
    assert world.workload.app_id in str(error)
    assert world.key_ids() == before
    assert world.tables()["items"] == items
