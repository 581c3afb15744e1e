"""A store: its directory, its config, its objects and refs.  Opened once and passed down."""

import contextlib
import os
import re

import chkfs
from chkfs import errors
from chkfs.storage import cache, chunker, codec, publish
from chkfs.storage.objects import Objects
from chkfs.storage.refs import Refs
from chkfs.storage.writer import Writer
from chkfs.text import key as keys
from chkfs.text import quote

FORMAT = 1
DIRECTORIES = (b'objects', b'packs', b'refs', b'refs/backups', b'refs/tags', b'logs', b'incoming')

# what explains a store and restores it without chkfs, in its top directory: name, mode
WRITTEN = (('README', 0o600), ('restore.sh', 0o700), ('restore.py', 0o700))
MISSING, EARLIER, ALTERED = 'missing', 'of an earlier version', 'altered'

_WRITTEN = os.path.join(os.path.dirname(os.path.abspath(chkfs.__file__)), 'written')
_CHUNKER = 'fastcdc-2020'
_ID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


def _holds_objects(root: bytes) -> bool:
    """Whether a directory is a store but for its config."""
    with contextlib.suppress(OSError):
        return any(os.listdir(os.path.join(root, directory)) for directory in (b'objects', b'packs'))
    return False


class Store:
    """An existing store.  Raises Error when root holds none, or one of a format that is not known here."""

    def __init__(self, root: bytes, environment=os.environ):
        self.root = os.path.abspath(root)
        shown = quote.readable(self.root)
        try:
            with open(os.path.join(self.root, b'config'), encoding='utf-8') as file:
                self.config = _parse_config(file.read())
        except (FileNotFoundError, NotADirectoryError):
            if _holds_objects(self.root):
                raise errors.Error(f"'{shown}' has lost its config: chkfs-init '{shown}' writes a new one") from None
            raise errors.Error(f"'{shown}' is not a store: chkfs-init makes one") from None
        except OSError as error:
            raise errors.Error(f"cannot open the store '{shown}': {errors.describe(error)}") from error
        except ValueError as error:
            way_out = f"move it away, then chkfs-init '{shown}' writes a new one"
            raise errors.Error(f"the config of '{shown}' is damaged: {error}; {way_out}") from None
        found = self.config['format']
        if found != str(FORMAT):
            raise errors.Error(
                f"'{shown}' has format {found}: this chkfs knows format {FORMAT}; its README explains it"
            )
        self._caches = cache.directory(environment, self.config['id'])
        self._objects = None
        self.refs = Refs(self.root)

    @property
    def objects(self) -> Objects:
        if self._objects is None:
            self._objects = Objects(self.root, cache.ObjectCache(self._cache_path(b'objects.sqlite')))
        return self._objects

    def scan_cache(self) -> cache.ScanCache:
        return cache.ScanCache(self._cache_path(b'scan.sqlite'), self._losses())

    @property
    def own_directories(self) -> dict[tuple[int, int], str]:
        """(device, inode) of the directories that no backup should hold, to what they are."""
        paths = {os.path.dirname(self._caches): 'the cache of chkfs'} if self._caches else {}
        paths[self.root] = 'the store itself'
        found = {}
        for path, what in paths.items():
            with contextlib.suppress(OSError):  # where nobody can look, no backup comes by
                status = os.stat(path)
                found[status.st_dev, status.st_ino] = what
        return found

    def _cache_path(self, name: bytes) -> bytes | None:
        return self._caches and os.path.join(self._caches, name)

    def _losses(self) -> str:
        """Changes when packs vanish, and when chkfs-fsck sets something damaged aside: the trees that are known to
        exist may then name what does not."""
        try:
            names = os.listdir(os.path.join(self.root, publish.INCOMING))
        except FileNotFoundError:
            names = []
        damaged = sorted(os.fsdecode(name) for name in names if name.startswith(publish.DAMAGED))
        return ' '.join([self.objects.cache.epoch, *damaged])

    def writer(self, loose: bool = False) -> Writer:
        """Adds objects; loose: small ones become files of their own instead of a pack.

        On the way, what explains the store is brought up to this version, unless somebody altered it.
        """
        with contextlib.suppress(errors.Error):  # where nothing can be written, the writer says so
            refresh(self.root, (MISSING, EARLIER))
        sizes = [int(self.config[name]) for name in _CHUNK_SETTINGS]
        return Writer(self.objects, self.config['compression'], chunker.Parameters(*sizes), loose)


_CHUNK_SETTINGS = ('chunk-minimum', 'chunk-average', 'chunk-maximum', 'chunk-normalization')


def create(root: bytes, compression: str = codec.DEFAULT) -> bool:
    """Makes a store in a directory that is absent or empty; False when there is one already, which stays as it is."""
    root = os.path.abspath(root)
    shown = quote.readable(root)
    if os.path.exists(os.path.join(root, b'config')):
        Store(root)  # raises Error for one that cannot be used
        publish.sync_store(root)  # whoever made it may have died before it was on disk
        return False
    if compression not in codec.SUFFIXES:
        raise errors.Usage(f"unknown compression '{compression}': one of {', '.join(codec.SUFFIXES)}")
    codec.compress(compression, b'')  # says at once when its library is missing
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        beside = (b'.config.', b'.README.', b'.restore.')  # what a kill may have left of an earlier try
        ours = {*DIRECTORIES, *(os.fsencode(name) for name, _ in WRITTEN)}
        names = os.listdir(root)
        if b'config' in names:  # which somebody else has just written
            return create(root, compression)
        foreign = [name for name in names if not name.startswith(beside) and name not in ours]
        if foreign:
            raise errors.Error(f"'{shown}' is not empty: name a new directory for the store")
        for directory in DIRECTORIES:
            publish.make_directories(root, directory)
        for name, mode in WRITTEN:
            publish.replace(os.path.join(root, os.fsencode(name)), written(name), mode)
        # an earlier try may have made directories, also above this one, and died before they were on disk
        publish.sync_store(root)
        # with its config a directory becomes a store, so that comes last
        publish.replace(os.path.join(root, b'config'), _format_config(compression).encode())
    except OSError as error:
        raise errors.Error(f"cannot make a store in '{shown}': {errors.describe(error)}") from error
    return True


def written(name: str) -> bytes:
    """What this version of chkfs writes into a store under one of the names in WRITTEN."""
    with open(os.path.join(_WRITTEN, name), 'rb') as file:
        return file.read()


def outdated(root: bytes) -> dict[str, str]:
    """Which of WRITTEN are not as this version writes them: name to MISSING, EARLIER or ALTERED.  Raises OSError."""
    found = {}
    for name, _ in WRITTEN:
        data = _read_if_there(os.path.join(root, os.fsencode(name)))
        if data is None:
            found[name] = MISSING
        elif data != written(name):
            found[name] = EARLIER if keys.of(data) in _earlier() else ALTERED
    return found


def _earlier() -> set[str]:
    """The SHA-256 of all that earlier versions wrote into a store."""
    return {line.split()[0] for line in written('earlier').decode().splitlines() if not line.startswith('#')}


def refresh(root: bytes, which=(MISSING, EARLIER, ALTERED)) -> list[str]:
    """Writes what explains a store as this version has it; gives the names of those that were not so.

    The old one is kept beside it as NAME.<first digits of its SHA-256>.  Raises Error.
    """
    renewed = []
    try:
        states = outdated(root)
        for name, mode in WRITTEN:
            if states.get(name) not in which:
                continue
            path = os.path.join(root, os.fsencode(name))
            old = _read_if_there(path)
            if old is not None:
                publish.replace(path + b'.' + keys.of(old)[:12].encode(), old)
            publish.replace(path, written(name), mode)
            renewed.append(name)
    except OSError as error:
        raise errors.Error(f"cannot write into '{quote.readable(root)}': {errors.describe(error)}") from error
    return renewed


def _read_if_there(path: bytes) -> bytes | None:
    try:
        with open(path, 'rb') as file:
            return file.read()
    except FileNotFoundError:
        return None


def find(option: str | None, environment=os.environ) -> bytes:
    """The store's directory: the option, else $CHKFS_STORE, else the current directory if it is a store."""
    named = option or environment.get('CHKFS_STORE')
    if named:
        return os.fsencode(named)
    if os.path.isfile('config') and os.path.isdir('objects'):
        return b'.'
    raise errors.Error('which store? Say --store DIR, or set CHKFS_STORE, or change into the store')


def _format_config(compression: str) -> str:
    import uuid

    values = chunker.Parameters()
    chunks = ''.join(f'\t{name} = {value}\n' for name, value in zip(_CHUNK_SETTINGS, values))
    return (
        f'[store]\n\tformat = {FORMAT}\n\tid = {uuid.uuid4()}\n'
        f'[write]\n\tcompression = {compression}\n\tchunker = {_CHUNKER}\n{chunks}'
    )


def _parse_config(text: str) -> dict[str, str]:
    """Setting to value.  Raises ValueError."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string('\n'.join(line.strip() for line in text.splitlines()))
    except configparser.Error as error:
        raise ValueError(str(error).splitlines()[0]) from None
    values = {name: value for section in parser.sections() for name, value in parser[section].items()}
    for name in ('format', 'id', 'compression', 'chunker', *_CHUNK_SETTINGS):
        if name not in values:
            raise ValueError(f'{name} is missing')
    if values['format'] == str(FORMAT):
        if not _ID.fullmatch(values['id']):
            raise ValueError(f'id is not a UUID: {values["id"][:80]!r}')
        if values['compression'] not in codec.SUFFIXES:
            raise ValueError(f'unknown compression {values["compression"]!r}')
        if values['chunker'] != _CHUNKER:
            raise ValueError(f'unknown chunker {values["chunker"]!r}')
        chunker.check(chunker.Parameters(*(int(values[name]) for name in _CHUNK_SETTINGS)))
    return values
