"""Names of things, as in git: NAME, NAME~2, NAME@{3}, refs/..., a key or its beginning, and SNAPSHOT:path."""

import re
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import walk
from chkfs.storage.store import Store
from chkfs.text import key as keys
from chkfs.text import snapshot, tree

_STEP = re.compile(r'(?:~([0-9]{0,9})|@\{([0-9]{1,9})\})')


class Target(NamedTuple):
    """What a name led to; entry is the tree line it stands on ('.' for a snapshot's root), None for a bare object.

    type is '' and key None for an entry without contents (a symlink, a device).  path is where below the root it is.
    """

    type: str
    key: str | None
    entry: tree.Entry | None
    path: bytes = b''


def resolve(store: Store, text: str) -> Target:
    """What any name means.  Raises NotFound, Usage for an ambiguous key, Damaged."""
    name, colon, path = text.partition(':')
    type, key = resolve_object(store, name)
    if not colon:
        return Target(type, key, None)
    root = root_entry(store, type, key)
    entry, real = walk.find_real(store.objects, root, path.encode('utf-8', 'surrogateescape'))
    return _target(entry)._replace(path=real)


def tree_of(store: Store, text: str) -> Target:
    """Like resolve, but a snapshot means its root: what a restore or a listing begins at."""
    target = resolve(store, text)
    if target.entry is None and target.type in ('snapshot', 'tree'):
        return _target(root_entry(store, target.type, target.key))
    return target


def resolve_object(store: Store, name: str) -> tuple[str, str]:
    """(type, key) of a name without a path."""
    base = _STEP.split(name, maxsplit=1)[0]
    type, key = _base(store, base, name)
    steps = name[len(base) :]
    while steps:
        step = _STEP.match(steps)
        if step is None:
            raise errors.NotFound(f"cannot understand '{steps}' in '{name}'")
        steps = steps[step.end() :]
        if step[2] is not None:
            if len(steps) + step.end() != len(name) - len(base):
                raise errors.NotFound(f"cannot understand '{name}': @{{N}} comes right after the ref")
            key = _earlier(store, base, int(step[2]))
        else:
            key = _ancestor(store, type, key, int(step[1] or 1), name)
    return type, key


def root_entry(store: Store, type: str, key: str) -> tree.Entry:
    """The entry of a snapshot's root, or one made up for a bare tree."""
    if type == 'snapshot':
        return read_snapshot(store, key).root
    if type == 'tree':
        return tree.Entry(b'.', {'type': 'dir', 'tags': f'tree:{key}'})
    raise errors.NotFound(f"'{key}' is a {type}, not a snapshot or a tree")


def read_snapshot(store: Store, key: str) -> snapshot.Snapshot:
    return snapshot.parse(store.objects.read('snapshot', key))


def _target(entry: tree.Entry) -> Target:
    type = {'file': 'blob', 'dir': 'tree'}.get(entry.type, '')
    return Target(type if entry.key else '', entry.key, entry)


def _base(store: Store, base: str, name: str) -> tuple[str, str]:
    if keys.is_key(base):
        types = store.objects.types(base)
        if types:
            return types[-1], base  # the same bytes may be a blob and a tree: the tree is meant
        raise errors.NotFound(f"no object '{base}' in the store")
    full = store.refs.full_name(base)
    if full is not None:
        return 'snapshot', store.refs.read(full)
    if keys.is_prefix(base):
        found = {key: type for type in keys.TYPES for key in store.objects.keys(type, base)}
        if len(found) == 1:
            ((key, type),) = found.items()
            return type, key
        if found:
            shown = ', '.join(f'{key[:12]} ({type})' for key, type in sorted(found.items())[:6])
            raise errors.Usage(f"'{base}' is the beginning of several keys: {shown}")
    raise errors.NotFound(_unknown(store, base, name))


def _unknown(store: Store, base: str, name: str) -> str:
    if ':' in base:
        return f"'{name}' is a part of a snapshot: only a whole one will do here"
    if '^' in base:
        return f"cannot understand '^' in '{name}': the parent of NAME is NAME~1"
    import difflib

    nearest = difflib.get_close_matches(base, map(store.refs.short_name, store.refs.names()), 1)
    hint = f"the nearest ref is '{nearest[0]}', and " if nearest else ''
    return f"no ref and no object '{name}': {hint}chkfs-for-each-ref lists the refs"


def _earlier(store: Store, base: str, count: int) -> str:
    full = store.refs.full_name(base)
    if full is None:
        raise errors.NotFound(f"'{base}' is not a ref: only a ref has earlier values")
    values = [change.new for change in reversed(store.refs.log(full))]
    if count >= len(values):
        raise errors.NotFound(f"the log of '{full}' has only {len(values)} values")
    return values[count]


def _ancestor(store: Store, type: str, key: str, count: int, name: str) -> str:
    if type != 'snapshot':
        raise errors.NotFound(f"'{key}' is a {type}: only a snapshot has parents")
    for _ in range(count):
        parents = read_snapshot(store, key).parents
        if not parents:
            raise errors.NotFound(f"'{name}' goes back beyond the first snapshot")
        key = parents[0]
    return key
