"""Caches in $XDG_CACHE_HOME/chkfs/<store id>/: which objects exist where, and what a source looked like.

Both are SQLite files that may be deleted at any time: that costs time, never data.  Where no file can be
used, the object cache lives in memory and the scan cache is off.
"""

import contextlib
import hashlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chkfs.storage import pack
from chkfs.text import key as keys

_BUSY_SECONDS = 20
_TYPES = {type: number for number, type in enumerate(keys.TYPES)}
_BROKEN = (sqlite3.Error, UnicodeError)  # UnicodeError: of a message that quotes what is in a damaged file
_LARGEST = (1 << 62) - 1
_PRAGMAS = 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-20000;'  # KiB


def directory(environment, store_id: str) -> bytes | None:
    """Where the caches of a store lie, by the XDG rules; None for somebody who has no home."""
    base = environment.get('XDG_CACHE_HOME') or ''
    if not os.path.isabs(base):  # the rules say that a relative one is to be ignored
        home = environment.get('HOME') or _home()
        if not home:
            return None
        base = os.path.join(home, '.cache')
    return os.path.join(os.fsencode(base), b'chkfs', store_id.encode())


def _home() -> str:
    """The home directory of whoever runs this, '' when there is none: cron and systemd do not always set HOME."""
    import pwd

    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ''
    return home if os.path.isdir(home) else ''


def _connect(path: bytes | None, schema: str, version: int) -> sqlite3.Connection:
    """A database with that schema; one that is damaged or of another version is made anew."""
    if path is None:
        connection = sqlite3.connect(':memory:', isolation_level=None)
        connection.executescript(schema)
        return connection
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    for attempt in (1, 2):
        try:
            connection = sqlite3.connect(os.fsdecode(path), timeout=_BUSY_SECONDS, isolation_level=None)
            found = connection.execute('PRAGMA user_version').fetchone()[0]
            if found not in (0, version):
                raise sqlite3.DatabaseError('another version')
            connection.executescript(_PRAGMAS + schema + f'PRAGMA user_version={version};')
            return connection
        except sqlite3.OperationalError:
            raise  # busy, full, not ours: not a reason to delete it
        except (sqlite3.DatabaseError, UnicodeError):
            if attempt == 2:
                raise
            _remove(path)


def _remove(path: bytes) -> None:
    for suffix in (b'', b'-wal', b'-shm'):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _value(found: sqlite3.Cursor):
    """What a row holds that was written just now.  Raises DatabaseError when it is not there."""
    row = found.fetchone()
    if row is None:
        raise sqlite3.DatabaseError('what was written is not there')
    return row[0]


class ObjectCache:
    """Which object lies where in which pack: the packs' indexes, merged.  Brought up to date by sync()."""

    VERSION = 4
    SCHEMA = """
        CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, stamp TEXT);
        CREATE TABLE IF NOT EXISTS epoch (text TEXT);
        INSERT INTO epoch SELECT hex(randomblob(8)) WHERE NOT EXISTS (SELECT * FROM epoch);
        CREATE TABLE IF NOT EXISTS object (key BLOB, type INTEGER, pack INTEGER, listed INTEGER, size INTEGER,
            offset INTEGER, length INTEGER, PRIMARY KEY (key, type, pack)) WITHOUT ROWID;
    """
    _ONLY_HERE = """
        SELECT 1 FROM object AS here WHERE pack = ? AND NOT EXISTS (
            SELECT 1 FROM object AS there
            WHERE there.key = here.key AND there.type = here.type AND there.pack <> here.pack) LIMIT 1
    """

    def __init__(self, path: bytes | None):
        """path: of the SQLite file, None for memory."""
        self._path = path
        self._packs: dict[int, str] = {}
        self._sync_again: tuple = ()
        self._stamp_of: Callable[[str], str | None] = lambda name: None
        self._thread = threading.get_ident()
        self._is_on_disk = path is not None
        try:
            self._db = _connect(path, self.SCHEMA, self.VERSION)
        except (*_BROKEN, OSError):
            self._is_on_disk = False
            self._db = _connect(None, self.SCHEMA, self.VERSION)

    def reopened(self) -> 'ObjectCache':
        """The same cache for another process: SQLite's connections must not cross a fork."""
        return ObjectCache(self._path)

    @contextlib.contextmanager
    def in_this_thread(self) -> Iterator['ObjectCache']:
        """This cache, or the same one for a thread in which it was not opened.

        What lies in memory cannot be shared: what another thread adds to it is lost, which costs time only.
        """
        if threading.get_ident() == self._thread:
            yield self
        else:
            other = ObjectCache(self._path if self._is_on_disk else None)
            try:
                yield other
            finally:
                other.close()

    @contextlib.contextmanager
    def put_away(self) -> Iterator[None]:
        """While processes are forked: no connection of SQLite's may cross that (sqlite.org/howtocorrupt.html, 2.6)."""
        if not self._is_on_disk:
            yield
            return
        self._db.close()
        yield
        try:
            self._db = _connect(self._path, self.SCHEMA, self.VERSION)
        except (*_BROKEN, OSError):
            self._move_to_memory()

    def close(self) -> None:
        self._db.close()

    def pack_names(self) -> set[str]:
        """The packs whose indexes are merged here: to be asked before looking which packs there are, for sync()."""
        return {name for (name,) in self._rows('SELECT name FROM pack', ())}

    def sync(
        self,
        stamps: dict[str, str],
        load: Callable[[str], list[pack.Place]],
        stamp_of: Callable[[str], str | None] = lambda name: None,
        known: set[str] | None = None,
    ) -> None:
        """Makes the cache agree with the packs that exist; load reads one pack's places.

        stamps: file name of each pack to a text that changes when the pack or its index does; stamp_of gives the
        same for one pack as it is now, None when it is not there.  known: what pack_names() gave before those
        were listed; what another process has added since is not forgotten.
        """
        self._sync_again, self._stamp_of = (stamps, load), stamp_of
        try:
            self._sync(stamps, load, known)
        except _BROKEN:
            self._move_to_memory()

    def _sync(self, stamps, load, known=None) -> None:
        self._let_go()
        rows = {name: (id, stamp) for id, name, stamp in self._db.execute('SELECT id, name, stamp FROM pack')}
        for name, stamp in stamps.items():
            if name in rows and rows[name][1] != stamp:
                self._forget(rows[name][0])
        for name, stamp in stamps.items():
            if rows.get(name, (0, None))[1] != stamp:
                self._add(name, stamp, load(name))
        # last, since what was in them may have moved to packs that are new: then nothing was lost (see epoch)
        for name in rows.keys() - stamps.keys():
            if known is None or name in known:
                self._forget(rows[name][0])
        rows = self._db.execute('SELECT id, name, stamp FROM pack')
        self._packs = {id: name for id, name, stamp in rows if stamps.get(name) == stamp}

    def add(self, name: str, stamp: str, places: list[pack.Place]) -> None:
        """Takes in one pack that this process has just published."""
        stamps, load = self._sync_again or ({}, lambda name: [])
        self._sync_again = {**stamps, name: stamp}, load
        try:
            self._add(name, stamp, places)
        except _BROKEN:
            self._move_to_memory()

    def _add(self, name: str, stamp: str, places: list[pack.Place]) -> None:
        rows = []
        for member, object_size, offset, length in places:
            type, _, rest = member.partition('/')
            key, listed = rest[: keys.LENGTH], len(rest) > keys.LENGTH
            rows.append((bytes.fromhex(key), _TYPES[type], listed, object_size, offset, length))
        rows.sort()  # a tree is filled faster in its order
        self._let_go()
        self._db.execute('BEGIN IMMEDIATE')
        try:
            self._db.execute('INSERT OR IGNORE INTO pack (name, stamp) VALUES (?, ?)', (name, stamp))
            id = _value(self._db.execute('SELECT id FROM pack WHERE name = ?', (name,)))
            self._db.executemany(f'INSERT OR REPLACE INTO object VALUES (?, ?, {id}, ?, ?, ?, ?)', rows)
            self._db.execute('COMMIT')
        except BaseException:
            self._db.execute('ROLLBACK')
            raise
        self._packs[id] = name

    def renew(self) -> None:
        """From now on sees what other processes and threads have added: a reading transaction is kept open."""
        if threading.get_ident() != self._thread:
            return  # a connection of SQLite's is for one thread only
        try:
            self._let_go()
        except _BROKEN:
            self._move_to_memory()

    def begin_anew(self) -> None:
        """Forgets everything: the next sync() reads every index again."""
        self._packs = {}
        self._db.close()
        try:
            if self._is_on_disk:  # in a damaged file there may be rows that no statement finds
                _remove(self._path)
            self._db = _connect(self._path if self._is_on_disk else None, self.SCHEMA, self.VERSION)
        except (*_BROKEN, OSError):
            self._is_on_disk = False
            self._db = _connect(None, self.SCHEMA, self.VERSION)

    def _forget(self, id: int) -> None:
        self._let_go()
        self._db.execute('BEGIN IMMEDIATE')
        if self._db.execute(self._ONLY_HERE, (id,)).fetchone():
            self._db.execute(f"UPDATE epoch SET text = '{os.urandom(8).hex()}'")
        for table, column in (('object', 'pack'), ('pack', 'id')):
            self._db.execute(f'DELETE FROM {table} WHERE {column} = ?', (id,))
        self._db.execute('COMMIT')

    @property
    def epoch(self) -> str:
        """A text that changes when objects vanish of which no other copy is known: what was known of the store may be
        wrong then.  It stays when chkfs-repack has moved them to another pack."""
        rows = self._rows('SELECT text FROM epoch', ())
        return str(rows[0][0]) if rows else ''

    def has(self, type: str, key: str) -> bool:
        sql = 'SELECT pack FROM object WHERE key = ? AND type = ?'
        return any(self._pack_name(id) for (id,) in self._rows(sql, (bytes.fromhex(key), _TYPES[type])))

    def having(self, type: str, keys: list[str]) -> set[str]:
        """Those of some keys, at most a few hundred, that has() would find."""
        sql = f'SELECT key, pack FROM object WHERE key IN ({",".join("?" * len(keys))}) AND type = {_TYPES[type]}'
        rows = self._rows(sql, tuple(map(bytes.fromhex, keys)))
        return {key.hex() for key, id in rows if self._pack_name(id)}

    def find(self, type: str, key: str) -> list[tuple[str, bool, int, int, int]]:
        """(pack's file name, is it a list?, size, frame offset, frame length) of every packed copy."""
        sql = 'SELECT pack, listed, size, offset, length FROM object WHERE key = ? AND type = ?'
        values = (bytes.fromhex(key), _TYPES[type])
        rows = self._rows(sql, values)
        if not all(isinstance(number, int) and 0 <= number <= _LARGEST for row in rows for number in row):
            self._move_to_memory()  # SQLite has no checksums: in a damaged file there may be anything
            rows = self._rows(sql, values)
        return [(self._packs[row[0]], bool(row[1]), *row[2:]) for row in rows if self._pack_name(row[0])]

    def _pack_name(self, id: int) -> str | None:
        """Of a row's pack, None when it is not in this store; another process may have added it since we looked.

        The cache may be that of two copies of one store: what the other copy has does not count.
        """
        if id not in self._packs:
            for name, stamp in self._rows('SELECT name, stamp FROM pack WHERE id = ?', (id,)):
                if isinstance(name, str) and pack.codec_of(name) and self._stamp_of(name) == stamp:
                    self._packs[id] = name
        return self._packs.get(id)

    def keys(self, type: str, prefix: str = '') -> Iterator[tuple[str, bool, int]]:
        """(key, is it a list?, size) of the packed objects of a type whose key begins so, in key order."""
        low = bytes.fromhex(prefix.ljust(keys.LENGTH, '0'))
        high = bytes.fromhex(prefix.ljust(keys.LENGTH, 'f'))
        sql = 'SELECT key, pack, listed, size FROM object WHERE key BETWEEN ? AND ? AND type = ? ORDER BY key'
        while True:
            rows = self._rows(sql + ' LIMIT 10000', (low, high, _TYPES[type]))
            yield from ((row[0].hex(), bool(row[2]), row[3]) for row in rows if self._is_row(*row[:2]))
            if len(rows) < 10000:
                return
            low = rows[-1][0]  # seen again, which the caller expects of copies anyway

    def _is_row(self, key: bytes, id: int) -> bool:
        return len(key) == keys.LENGTH // 2 and self._pack_name(id) is not None

    def _let_go(self) -> None:
        """Ends the transaction that reading holds, which spares each look-up its locks on the file."""
        if self._db.in_transaction:
            self._db.execute('COMMIT')

    def _rows(self, sql: str, values: tuple) -> list[tuple]:
        try:
            if not self._db.in_transaction:
                self._db.execute('BEGIN')
            return self._db.execute(sql, values).fetchall()
        except _BROKEN:
            self._move_to_memory()
            return self._db.execute(sql, values).fetchall()

    def _move_to_memory(self) -> None:
        self._is_on_disk = False
        self._db = _connect(None, self.SCHEMA, self.VERSION)
        if self._sync_again:
            self._sync(*self._sync_again)


class Directory(NamedTuple):
    """What the scan cache knows of one directory; files: name to (stat record, key and tags)."""

    signature: bytes
    tree: str
    files: dict[bytes, tuple[bytes, str]]


class ScanCache:
    """For each source filesystem and directory: a signature of its entries, its tree, its files' keys.

    Rows are advice: a row is used only when what it names exists in the store.
    """

    VERSION = 2
    SCHEMA = """
        CREATE TABLE IF NOT EXISTS source (id INTEGER PRIMARY KEY, identity TEXT UNIQUE);
        CREATE TABLE IF NOT EXISTS directory (source INTEGER, path BLOB, signature BLOB, tree BLOB, files BLOB,
            PRIMARY KEY (source, path)) WITHOUT ROWID;
    """

    def __init__(self, path: bytes | None, valid_for: str = ''):
        """path: of the SQLite file, None to know nothing and remember nothing.

        Rows count only while valid_for is the text that it was when they were remembered.
        """
        self._db = None
        self._valid_for = hashlib.sha256(valid_for.encode('utf-8', 'surrogateescape')).hexdigest()[:16]
        self._sources: dict[str, int] = {}
        if path is not None:
            try:
                self._db = _connect(path, self.SCHEMA, self.VERSION)
            except (*_BROKEN, OSError):
                pass

    def signature(self, identity: str, path: bytes) -> tuple[bytes, str] | None:
        """(signature, tree key) of a directory; the tree is '' when only some of its files are known."""
        row = self._row('signature, tree', identity, path)
        return (row[0], row[1].hex()) if row and isinstance(row[1], bytes) and len(row[1]) in (0, 32) else None

    def files(self, identity: str, path: bytes) -> dict[bytes, tuple[bytes, str]]:
        """Name to (stat record, key with its tags) for the files of a directory that were read."""
        row = self._row('files', identity, path)
        return _unpack_files(row[0]) if row and isinstance(row[0], bytes) else {}

    def remember(self, rows: Iterable[tuple[str, bytes, Directory]]) -> None:
        """Takes (identity, path, directory) rows; an identity of '' is none.

        What a row with a tree names must all be safe in the store; one without a tree tells of files only.
        """
        if self._db is None:
            return
        values = [
            (self._source(identity), path, row.signature, bytes.fromhex(row.tree), _pack_files(row.files))
            for identity, path, row in rows
            if identity
        ]
        try:
            self._db.execute('BEGIN IMMEDIATE')
            self._db.executemany('INSERT OR REPLACE INTO directory VALUES (?, ?, ?, ?, ?)', values)
            self._db.execute('COMMIT')
        except _BROKEN:
            self._db = None

    def _row(self, columns: str, identity: str, path: bytes):
        if self._db is None or not identity:
            return None
        try:
            sql = f'SELECT {columns} FROM directory WHERE source = ? AND path = ?'
            return self._db.execute(sql, (self._source(identity), path)).fetchone()
        except _BROKEN:
            self._db = None
            return None

    def _source(self, identity: str) -> int | None:
        identity = f'{self._valid_for} {identity}'
        if identity not in self._sources and self._db is not None:
            try:
                self._db.execute('INSERT OR IGNORE INTO source (identity) VALUES (?)', (identity,))
                row = self._db.execute('SELECT id FROM source WHERE identity = ?', (identity,))
                self._sources[identity] = _value(row)
            except _BROKEN:
                self._db = None
        return self._sources.get(identity)


# A file's row: the name, NUL, the length of the stat record in one byte, the record, the key, the length of its tags
# in two bytes, the tags, which are ASCII.  At the end the CRC-32 of all rows: SQLite has no checksums.


def _pack_files(files: dict[bytes, tuple[bytes, str]]) -> bytes:
    parts = []
    for name, (record, text) in files.items():
        tags = text[64:].encode()
        parts += (name, b'\0', bytes((len(record),)), record, bytes.fromhex(text[:64]), len(tags).to_bytes(2), tags)
    data = b''.join(parts)
    return data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, 'big')


def _unpack_files(data: bytes) -> dict[bytes, tuple[bytes, str]]:
    data, checksum = data[:-4], data[-4:]
    if checksum != _checksum(data):
        return {}
    files, at = {}, 0
    while at < len(data):
        end = data.index(b'\0', at)
        start = end + 2
        stop = start + data[end + 1]
        tags = stop + 34
        next = tags + int.from_bytes(data[stop + 32 : tags])
        text = data[stop : stop + 32].hex() + data[tags:next].decode('ascii', 'replace')
        files[data[at:end]], at = (data[start:stop], text), next
    return files
