"""``api-key``: a client secret of an Entra application.

addPassword is not idempotent and shows its value once (design/azure, trap 2). So a secret is stamped with store, item
and operation, and after a lost reply the stamp is looked for, what carries it is removed, and a new one is minted. What
is removed is always one exact keyId; what this store did not mint or adopt is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from azure_rotator.domain.errors import Forbidden, NotFound
from azure_rotator.domain.names import Stamp
from azure_rotator.domain.ownership import orphans, own_stamps
from azure_rotator.domain.ports import (
    Application,
    Directory,
    Identity,
    Job,
    Login,
    NewPassword,
    Observer,
    PasswordCredential,
    Removal,
    UnitOfWork,
)

# AADSTS number of a login by an application that the tenant does not know (any more).
_UNKNOWN_APPLICATION = 700016


class AppSecretRotator:
    """The ``Rotator`` for client secrets."""

    def __init__(self, *, directory: Directory, login: Login, uow: UnitOfWork, observer: Observer) -> None:
        self._directory = directory
        self._login = login
        self._uow = uow
        self._observer = observer

    def prepare(self, job: Job) -> str:
        application = self._directory.get_application(job.acting, job.app_id)
        self._remove_orphans(job, application, own_operation=None)
        return application.object_id

    def mint(self, job: Job, object_id: str, end_at: datetime, mint_id: str) -> NewPassword:
        stamp = Stamp(job.store_id, job.rotation.item_id, mint_id)
        return self._directory.add_password(job.acting, object_id, str(stamp), end_at)

    def recover(self, job: Job) -> bool:
        application = self._application(job)
        return application is None or not self._remove_orphans(job, application, own_operation=job.rotation.rotation_id)

    def prove(self, candidate: Identity) -> None:
        self._login.prove(candidate)

    def remove(self, job: Job, key_id: str) -> Removal:
        application = self._application(job)
        if application is None:
            return Removal.ABSENT
        job.guard()
        if self._directory.remove_password(job.acting, application.object_id, key_id):
            return Removal.REMOVED
        listed = any(p.key_id.lower() == key_id.lower() for p in application.passwords)
        return Removal.LISTED if listed else Removal.ABSENT

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        application = self._application(job)
        return () if application is None else self._remove_orphans(job, application, own_operation=None)

    def _application(self, job: Job) -> Application | None:
        """The application, or None when it is gone and its secrets with it (F34). One that rotates itself is told so at
        its login."""
        try:
            return self._directory.get_application(job.acting, job.app_id)
        except NotFound:
            return None
        except Forbidden as refused:
            if refused.details.get("aadsts") == _UNKNOWN_APPLICATION and job.acting.client_id == job.app_id:
                return None
            raise

    def _remove_orphans(
        self, job: Job, application: Application, *, own_operation: str | None
    ) -> Sequence[PasswordCredential]:
        found = orphans_of(
            self._uow,
            application,
            store_id=job.store_id,
            own_operation=own_operation,
            own_item=job.rotation.item_id if job.whole_item else None,
        )
        for orphan in found:
            job.guard()
            self._directory.remove_password(job.acting, application.object_id, orphan.key_id)
            self._observer.note(
                "orphan removed", app_id=job.app_id, key_id=orphan.key_id, display_name=orphan.display_name
            )
        return found


def orphans_of(
    uow: UnitOfWork,
    application: Application,
    *,
    store_id: str,
    own_operation: str | None = None,
    own_item: str | None = None,
) -> list[PasswordCredential]:
    """This store's orphans on an application, judged by its rows and journal."""
    stamps = own_stamps(application.passwords, store_id)
    if not stamps:
        return []
    return orphans(
        application.passwords,
        store_id=store_id,
        journal=uow.operations({stamp.operation_id for stamp in stamps.values()}),
        held=uow.held_key_ids(stamps).keys(),
        own_operation=own_operation,
        own_item=own_item,
    )
