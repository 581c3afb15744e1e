"""A store: its directory, its config, its objects and refs.  Opened once and passed down."""

import os
import re

from chkfs import cache, chunker, codec, errors, publish, quote
from chkfs.objects import Objects
from chkfs.refs import Refs
from chkfs.writer import Writer

FORMAT = 1
DIRECTORIES = (b'objects', b'packs', b'refs', b'refs/backups', b'refs/tags', b'logs', b'incoming')

_WRITTEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'written')
_CHUNKER = 'fastcdc-2020'
_ID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


class Store:
    """An existing store.  Raises Error when root holds none, or one of a format that is not known here."""

    def __init__(self, root: bytes, environment=os.environ):
        self.root = os.path.abspath(root)
        shown = quote.readable(self.root)
        try:
            with open(os.path.join(self.root, b'config'), encoding='utf-8') as file:
                self.config = _parse_config(file.read())
        except (FileNotFoundError, NotADirectoryError):
            raise errors.Error(f"'{shown}' is not a store: chkfs-init makes one") from None
        except OSError as error:
            raise errors.Error(f"cannot open the store '{shown}': {errors.describe(error)}") from error
        except ValueError as error:
            raise errors.Error(f"the config of '{shown}' is damaged: {error}") from None
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
            self._objects = Objects(self.root, cache.ObjectCache(os.path.join(self._caches, b'objects.sqlite')))
        return self._objects

    def scan_cache(self) -> cache.ScanCache:
        return cache.ScanCache(os.path.join(self._caches, b'scan.sqlite'), self._what_was_set_aside())

    def _what_was_set_aside(self) -> str:
        """Changes when chkfs-fsck sets something damaged aside: trees known to exist may then name what does not."""
        try:
            names = os.listdir(os.path.join(self.root, publish.INCOMING))
        except FileNotFoundError:
            names = []
        return ' '.join(sorted(os.fsdecode(name) for name in names if name.startswith(b'damaged-')))

    def writer(self, loose: bool = False) -> Writer:
        """Adds objects; loose: small ones become files of their own instead of a pack."""
        sizes = [int(self.config[name]) for name in _CHUNK_SETTINGS]
        return Writer(self.objects, self.config['compression'], chunker.Parameters(*sizes), loose)


_CHUNK_SETTINGS = ('chunk-minimum', 'chunk-average', 'chunk-maximum', 'chunk-normalization')


def create(root: bytes, compression: str = codec.DEFAULT) -> bool:
    """Makes a store in a directory that is absent or empty; False when there is one already, which stays as it is."""
    root = os.path.abspath(root)
    shown = quote.readable(root)
    if os.path.exists(os.path.join(root, b'config')):
        Store(root)
        return False
    if compression not in codec.SUFFIXES:
        raise errors.Usage(f"unknown compression '{compression}': one of {', '.join(codec.SUFFIXES)}")
    codec.compress(compression, b'')  # says at once when its library is missing
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        foreign = [name for name in os.listdir(root) if name not in (*DIRECTORIES, b'README')]
        if foreign:
            raise errors.Error(f"'{shown}' is not empty: name a new directory for the store")
        for directory in DIRECTORIES:
            publish.make_directories(root, directory)
        with open(os.path.join(_WRITTEN, 'README'), 'rb') as file:
            publish.replace(os.path.join(root, b'README'), file.read())
        # with its config a directory becomes a store, so that comes last
        publish.replace(os.path.join(root, b'config'), _format_config(compression).encode())
    except OSError as error:
        raise errors.Error(f"cannot make a store in '{shown}': {errors.describe(error)}") from error
    return True


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
