"""Folders: made by people or come with items; what is protected by them, and moving what lies in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from azure_rotator.domain.errors import Conflict, NotFound, Rejected
from azure_rotator.domain.model import Folder, ItemState, RotatedSecret
from azure_rotator.domain.names import canonical_path
from azure_rotator.engine.account import refuse_characters
from azure_rotator.engine.context import Context
from azure_rotator.engine.views import FolderView, Move


def lies_in(name: str, folder: str) -> bool:
    """Whether the name is this path or lies below it; everything lies in the root ``/``."""
    return name == folder or name.startswith(folder.rstrip("/") + "/")


def folder_path(path: str | None) -> str:
    """A folder's path as given; nothing and ``/`` are the root. Raises: Rejected ``NameInvalid``."""
    text = (path or "/").rstrip("/")
    return canonical_path(text) if text else "/"


def retagged(present: Sequence[str], *, add: Collection[str], remove: Collection[str]) -> tuple[str, ...]:
    """Tags after an update, in their order; one that is both added and removed is there."""
    kept = [tag for tag in present if tag not in remove]
    return tuple(dict.fromkeys([*kept, *add]))


def refuse_protected_folder(context: Context, name: str) -> None:
    """Raises: Conflict ``DeleteProtected``, a folder that holds the thing of this name refuses every deletion."""
    for folder in context.uow.list_folders():
        if folder.delete_protection and lies_in(name, folder.name):
            raise Conflict(
                "DeleteProtected",
                f'"{name}" lies in the folder "{folder.name}", which is protected against deletion',
                hint=f"azure-rotator folder update --name {folder.name} --delete-protection false",
            )


class Folders:
    """Create, list, change, delete and move folders."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def create(
        self, *, name: str, description: str = "", tags: Sequence[str] = (), delete_protection: bool = False
    ) -> FolderView:
        """Make a folder that is there without items, and may be protected.

        Raises:
            Rejected: ``NameInvalid``.
            Conflict: ``NameConflict``.
        """
        path, now = canonical_path(name), self._c.clock.now()
        refuse_characters(self._c.uow.account(), path)
        folder = Folder(
            folder_id=self._c.new_id(),
            name=path,
            description=description,
            tags=tuple(dict.fromkeys(tags)),
            delete_protection=delete_protection,
            created_at=now,
            modified_at=now,
        )
        self._c.uow.insert_folder(folder, self._c.audit("create_folder", path))
        return FolderView(folder=folder, items=self._holds(path))

    def update(
        self,
        *,
        name: str,
        description: str | None = None,
        add_tags: Collection[str] = (),
        rm_tags: Collection[str] = (),
        delete_protection: bool | None = None,
    ) -> FolderView:
        """Change what is given. Raises: NotFound ``ItemNotFound``, nobody made this folder."""
        folder = self._find(name)
        changed = replace(
            folder,
            description=folder.description if description is None else description,
            tags=retagged(folder.tags, add=add_tags, remove=rm_tags),
            delete_protection=folder.delete_protection if delete_protection is None else delete_protection,
            modified_at=self._c.clock.now(),
            revision=folder.revision + 1,
        )
        self._c.uow.update_folder(changed, self._c.audit("update_folder", folder.name))
        return FolderView(folder=changed, items=self._holds(folder.name))

    def delete(self, *, name: str) -> FolderView:
        """Forget that a folder was made. What lies in it stays, and keeps it in sight.

        Raises:
            Conflict: ``DeleteProtected``.
            NotFound: ``ItemNotFound``.
        """
        folder = self._find(name)
        refuse_protected_folder(self._c, folder.name)
        self._c.uow.delete_folder(folder, self._c.audit("delete_folder", folder.name))
        return FolderView(folder=folder, items=self._holds(folder.name))

    def list_all(self, *, path: str | None = None) -> list[FolderView]:
        """The folders that were made, below a path."""
        root = folder_path(path)
        return [
            FolderView(folder=f, items=self._holds(f.name)) for f in self._c.uow.list_folders() if lies_in(f.name, root)
        ]

    def move(self, *, source: str, target: str) -> Move:
        """Rename an item, or a folder with everything in it: ids, versions and schedules stay.

        Raises:
            Rejected: ``NameInvalid``, also for a target inside the source.
            NotFound: ``ItemNotFound``, nothing has that name.
            Conflict: ``NameConflict``, ``ItemLocked``: nothing was moved.
        """
        old, new = canonical_path(source), canonical_path(target)
        if lies_in(new, old):
            raise Rejected("NameInvalid", f'"{new}" lies inside "{old}"', hint="move it to another place")
        refuse_characters(self._c.uow.account(), new)
        now = self._c.clock.now()
        found = [i for i in self._c.uow.list_items() if lies_in(i.name, old) and i.state is not ItemState.UNDOING]
        # The shortest first: a name that another one gets by moving up is free by then.
        found.sort(key=lambda item: len(item.name))
        busy = next((i for i in found if i.state is not ItemState.ACTIVE), None)
        if busy is not None:
            raise Conflict("ItemLocked", f'"{busy.name}" is {busy.state.value}', hint="wait until that is over")
        items = [
            replace(i, name=canonical_path(new + i.name[len(old) :]), modified_at=now, revision=i.revision + 1)
            for i in found
        ]
        inside = sorted(
            (f for f in self._c.uow.list_folders() if lies_in(f.name, old)), key=lambda folder: len(folder.name)
        )
        folders = [
            replace(f, name=canonical_path(new + f.name[len(old) :]), modified_at=now, revision=f.revision + 1)
            for f in inside
        ]
        if not items and not folders:
            raise NotFound("ItemNotFound", f'there is neither an item nor a folder "{old}"')
        moved = {before.name: after.name for before, after in zip(found, items, strict=True)}
        moved |= {before.name: after.name for before, after in zip(inside, folders, strict=True)}
        lines = [self._c.audit("move_object", before, to=after) for before, after in moved.items()]
        self._c.uow.move(items, folders, lines)
        return Move(moved=moved)

    def _find(self, name: str) -> Folder:
        path = canonical_path(name)
        folder = self._c.uow.find_folder(path)
        if folder is None:
            raise NotFound(
                "ItemNotFound",
                f'nobody made a folder "{path}"',
                hint=f"azure-rotator folder create --name {path}; folders that only come with items have no settings",
            )
        return folder

    def _holds(self, path: str) -> int:
        items: Sequence[RotatedSecret] = self._c.uow.list_items()
        return sum(lies_in(item.name, path) for item in items if item.state is not ItemState.UNDOING)
