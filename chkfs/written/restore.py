#!/usr/bin/env python3
"""restore.py - lists what is in this chkfs store and gives it back, with no chkfs installed.

Python 3.6 or later and nothing else (for .zst files, Python 3.14 or the zstd program).  It takes the same words as
restore.sh beside it, which does with a shell what this does faster, and prints the same tar.  It writes no files.

A tree's line stays text, split into its keywords; names stay bytes from the store to the tar.
"""

import base64
import bz2
import collections
import hashlib
import itertools
import lzma
import os
import re
import shutil
import subprocess
import sys
import zlib

try:
    from compression import zstd
except ImportError:
    zstd = None

USAGE = """\
usage: python3 restore.py list                every snapshot: its key, time
                                              (UTC), name, source and refs
       python3 restore.py ls SNAPSHOT[:PATH]  what is in a directory
       python3 restore.py cat SNAPSHOT:PATH   the contents of a file
       python3 restore.py tar SNAPSHOT[:PATH] | tar -xpf - -C DIRECTORY
                                              everything, or what is below PATH
       python3 restore.py times SNAPSHOT[:PATH] | (cd DIRECTORY && sh)
                                              after that, what some tars cannot
                                              do: all times, and the owners of
                                              symlinks
       python3 restore.py check               is every object what it should be?

SNAPSHOT is the name of a ref that "list" shows (refs/backups/ may be left
out), or a key, or the beginning of one.  Where "ls" shows a byte of a name as
\\ooo, three octal digits, PATH may be written so.

As root, with GNU tar, this brings back all that was kept:
  python3 restore.py tar SNAPSHOT |
      tar -xpf - --xattrs --xattrs-include='*' --numeric-owner -C DIRECTORY

Exit status: 0 done; 1 "check" found damage; 2 wrong usage; 3 done, but what
stderr names could not be had; 128 it could not be done.
"""
TIMES = r"""t() { touch -chd "@$1" "$3" 2>&- || touch -chd "@$2" "$3"; } # not every touch knows fractions of seconds
o() { chown -h "$@"; }
"""
DONE, FOUND_DAMAGE, WRONG_USAGE, SOME_LOST, FATAL = 0, 1, 2, 3, 128
SUFFIXES = ('', '.gz', '.bz2', '.xz', '.zst')
MAGICS = {'.gz': rb'\x1f\x8b\x08', '.bz2': rb'BZh[1-9]1AY&SY', '.xz': rb'\xfd7zXZ\0', '.zst': rb'\x28\xb5\x2f\xfd'}
BLOCK = 512
LISTS_WITHIN_LISTS = 8
FRAMES_KEPT = 64
WINDOW = 100000  # entries whose contents are looked up at once

# what decompressors raise
DAMAGED = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError) + ((zstd.ZstdError,) if zstd else ())

PACK_NAME = re.compile(r'(pack-[0-9a-f]{64})\.tar(|\.gz|\.bz2|\.xz|\.zst)').fullmatch
HEADER = re.compile(rb'(?:blob|tree)/[0-9a-f]{64}(?:\.list)?\0')
MEMBER_NAME = re.compile(r'(blob|tree)/[0-9a-f]{64}(\.list)?').fullmatch
IS_KEY = re.compile('[0-9a-f]{64}').fullmatch
LOOSE_PATH = re.compile(r'objects/(blob|tree|snapshot)/../[0-9a-f]{64}(\.(gz|bz2|xz|zst|list))?').fullmatch
# only what must be quoted may be: else \056 were a dot
ENTRY_NAME = re.compile(
    r'\./(?:[!"$&-)+-.0-<>@-Z\]^-~]|\\(?:00[1-7]|0[123][0-7]|04[035]|052|075|077|13[34]|177|[23][0-7][0-7]))+'
).fullmatch
QUOTED = re.compile(r'(?:[!-\[\]-~]|\\[0-3][0-7][0-7])*').fullmatch
ESCAPE = re.compile(r'\\([0-3][0-7][0-7])')
TIME = re.compile(r'(?=[^.]{1,15}(?:\.|$))(-?[0-9]+)(?:\.([0-9]{9}))?').fullmatch
IS_BASE64 = re.compile('(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==|[A-Za-z0-9+/]=))?').fullmatch
NUMBER = {8: re.compile('[0-7]{0,15}').fullmatch, 10: re.compile('[0-9]{0,15}').fullmatch}

Entry = collections.namedtuple('Entry', 'name fields tags xattrs')
Place = collections.namedtuple('Place', 'form path offset length')  # form: plain, loose, frame, list


class Lost(Exception):
    """An object that is missing or damaged."""


class Fatal(Exception):
    """What ends the program, as a line for people."""


# ----------------------------------------------------------------------------------------------- text of the format


def unquote(text):
    r"""The bytes of a quoted word, in which \ooo stands for a byte that is not printable ASCII."""
    return ESCAPE.sub(lambda found: chr(int(found.group(1), 8)), text).encode('latin-1')


def shown(text):
    """A quoted word for people: bytes; control characters and backslashes stay as they are quoted."""

    def one(found):
        value = int(found.group(1), 8)
        return found.group() if value < 32 or value in (92, 127) else chr(value)

    return ESCAPE.sub(one, text).encode('latin-1')


def quote(raw):
    plain = set(range(33, 127)) - set(b'#%*=?[\\')
    return ''.join(chr(byte) if byte in plain else '\\%03o' % byte for byte in raw)


def parse(line):
    """A line of a tree: its quoted name, and its keywords and tags with their values, of each the first."""
    name, *words = line.split(' ')
    fields, tags, xattrs = {}, {}, []
    for word in words:
        keyword, _, value = word.partition('=')
        fields.setdefault(keyword, value)
    if 'tags' in fields:
        for tag in fields['tags'].split(','):
            keyword, _, value = tag.partition(':')
            tags.setdefault(keyword, value)
            if keyword == 'xattr' and value.count(':') == 1 and QUOTED(value):
                xattrs.append(tuple(value.split(':')))
    return Entry(name[2:], fields, tags, xattrs)


def entries(text):
    """The entries of a tree, None in place of a line that is none, or that has a name once more."""
    met = set()
    for line in text.decode('ascii', 'replace').split('\n'):
        if line[:1] in ('', '#') or line[:2] == '. ':
            continue
        name, blank, _ = line.partition(' ')
        if not blank or name in met or name in ('./.', './..') or not ENTRY_NAME(name) or re.search('[^ -~]', line):
            yield None
        else:
            met.add(name)
            yield parse(line)


def subtree(entry):
    """The key of a directory's entries, None for everything else."""
    key = entry.tags.get('tree', '')
    return key if entry.fields.get('type') == 'dir' and IS_KEY(key) else None


def spoilt(entry):
    """What is wrong with a file that was stored damaged."""
    where = os.fsdecode(shown(entry.tags['damaged']))
    if where.startswith('@'):
        where = 'that blob %s lists' % where[1:]
    return 'is damaged: it could not be read wholly when it was stored, and has zeros at the bytes ' + where


# ----------------------------------------------------------------------------------------------------------- codecs


def decompress(suffix, data):
    """The plain bytes of complete streams laid end to end.  Raises Lost."""
    try:
        if suffix == '.gz':
            return _gunzip(data)
        if suffix == '.bz2':
            return bz2.decompress(data)
        if suffix == '.xz':
            return lzma.decompress(data)
        return _unzstd(data) if suffix == '.zst' else data
    except DAMAGED as error:
        raise Lost(str(error))


def _gunzip(data):
    parts = []
    while data:
        stream = zlib.decompressobj(31)
        parts.append(stream.decompress(data))
        if not stream.eof:
            raise Lost('cut short')
        data = stream.unused_data
    return b''.join(parts)


def _unzstd(data):
    if zstd:
        return zstd.decompress(data)
    plain, is_whole = _unzstd_outside(data)
    if not is_whole:
        raise Lost('damaged')
    return plain


def _unzstd_outside(data):
    """What a program gives, and whether that is all."""
    program = _zstd_program()
    if program is None:
        return b'', False
    options = ['-dcq'] if program.endswith('zstd') else []
    done = subprocess.run([program] + options, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout, done.returncode == 0


def _zstd_program():
    return shutil.which('zstd') or shutil.which('bsdcat')


# ------------------------------------------------------------------------------------------------------------ store


class Store:
    """Objects by type and key, in every form that a store has."""

    def __init__(self, root):
        self.root = root
        self.packs = self._find_packs()  # (path, suffix, path of the index)
        self.status = DONE
        self._frames = collections.OrderedDict()  # (path, offset) to the members of it
        self._wanted = set()  # names of the blobs that are wanted just now
        self._known = None  # name to places in packs, of these blobs and of all trees and lists
        self._rebuilt = {}  # path of a pack to the lines of its index
        self._mended = False
        self._say_what_is_missing()

    def complain(self, text, some_lost=False):
        raw = text if isinstance(text, bytes) else os.fsencode(text)
        sys.stdout.flush()
        sys.stderr.buffer.write(b'restore.py: ' + raw + b'\n')
        sys.stderr.flush()
        if some_lost:
            self.status = SOME_LOST

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def _find_packs(self):
        try:
            names = sorted(os.listdir(self.path('packs')))
        except OSError:
            names = []
        packs = []
        for name in names:
            found = PACK_NAME(name)
            if found:
                index = self.path('packs', found.group(1) + '.index')
                packs.append((self.path('packs', name), found.group(2), index))
        return packs

    def _say_what_is_missing(self):
        if zstd or _zstd_program():
            return
        if any(path.endswith('.zst') for path in [pack[0] for pack in self.packs] + self.loose()):
            self.complain(
                "there are .zst files in this store, and no program 'zstd' here to unpack them: what is in them cannot"
                ' be had. Install it (apt install zstd; dnf, apk, pacman and brew know it by that or a like name), or'
                ' use Python 3.14, or take the store to a machine that has either, and run this again.'
            )

    def loose(self):
        """The paths of all objects that are files of their own."""
        found = []
        for directory, _, names in os.walk(self.path('objects'), followlinks=True):
            found += [os.path.join(directory, name) for name in names]
        return sorted(path for path in found if LOOSE_PATH(path[len(self.root) + 1 :]))

    # places

    def want(self, blobs):
        """Looks up where these blobs (names, type/key) are, if they are in packs; forgets it of all others."""
        self._look_up(blobs)
        pieces = set()
        for name in blobs:
            for place in self._lists(name):
                try:
                    pieces.update(self._pieces(name, place))
                except (Lost, OSError):
                    continue
        if not pieces <= blobs:
            self._look_up(blobs | pieces)

    def _look_up(self, blobs):
        self._wanted, self._known = blobs, {}
        for path, suffix, index in self.packs:
            for line in self._index(path, suffix, index):
                name, _, place = line.partition(' ')
                if name in blobs or name.startswith('tree/') or name.endswith('.list'):
                    words = place.split()
                    if len(words) == 3 and words[1].isdigit() and words[2].isdigit():
                        self._known.setdefault(name, []).append((path, suffix, int(words[1]), int(words[2])))

    def _index(self, path, suffix, index):
        """The lines of a pack's index; of one made anew where it is missing."""
        if path not in self._rebuilt:
            try:
                if os.path.getsize(index):
                    with open(index, encoding='ascii', errors='replace') as file:
                        for line in file:
                            yield line
                    return
            except OSError:
                pass
            self._reindex(path, suffix)
        for line in self._rebuilt[path]:
            yield line

    def _reindex(self, path, suffix):
        self.complain(
            'the index of packs/%s is missing or damaged: reading the pack instead, which takes a while'
            % os.path.basename(path)
        )
        lines = []
        try:
            with open(path, 'rb') as file:
                data = file.read()
        except OSError:
            data = b''
        if not suffix:
            for found in HEADER.finditer(data):  # wherever it begins: every member is a frame
                for name, _, size in itertools.islice(members(memoryview(data)[found.start() :]), 1):
                    lines.append('%s %d %d %d' % (name, size, found.start(), BLOCK + size + -size % BLOCK))
        else:
            begins = [found.start() for found in re.finditer(MAGICS[suffix], data) if _is_frame(suffix, data, found)]
            for begin, end in zip(begins, begins[1:] + [len(data)]):
                plain = _salvage(suffix, data[begin:end])
                lines += ['%s %d %d %d' % (name, size, begin, end - begin) for name, _, size in members(plain)]
        self._rebuilt[path] = lines

    def _look_again(self):
        """After something was not found: is there any place where nobody has looked yet?"""
        packs = self._find_packs()
        if packs != self.packs:  # chkfs-repack moves objects to other packs
            self.packs, self._mended = packs, False
        elif not self._mended:
            self._mended = True
            for path, suffix, index in packs:
                if path not in self._rebuilt and not self._is_index(path, suffix, index):
                    self._reindex(path, suffix)
        else:
            return False
        self._look_up(self._wanted)
        return True

    def _is_index(self, path, suffix, index):
        """Does an index agree with its last line, and with the end of the pack?"""
        if not index_is_whole(index):
            return False
        if suffix == '.zst' and not zstd and not _zstd_program():
            return True
        try:
            with open(index, encoding='ascii', errors='replace') as file:
                lines = [line.split() for line in file if line[:1] != '#']
            name, _, offset, length = max(lines, key=lambda words: int(words[2]))
            return name in self.frame(path, suffix, int(offset), int(length))
        except (OSError, ValueError, IndexError):
            return False

    def places(self, name):
        """Where an object may be, the likeliest place first."""
        type, key = name.split('/')
        base = self.path('objects', type, key[:2], key)
        for suffix in SUFFIXES:
            if os.path.isfile(base + suffix):
                yield Place('loose', base + suffix, 0, suffix)
        for path, suffix, offset, length in self._packed(name):
            yield Place('frame', path, offset, (length, suffix))
        for place in self._lists(name):
            yield place

    def _lists(self, name):
        type, key = name.split('/')
        path = self.path('objects', type, key[:2], key + '.list')
        if os.path.isfile(path):
            yield Place('list', path, 0, None)
        for path, suffix, offset, length in self._packed(name + '.list'):
            yield Place('list', path, offset, (length, suffix))

    def _packed(self, name):
        if self._known is None or name.startswith('blob/') and name not in self._wanted and name[-5:] != '.list':
            self._look_up(self._wanted | {name})
        return self._known.get(name, ())

    # contents

    def frame(self, path, suffix, offset, length):
        """Name to bytes of the members of a frame; of a damaged one, those that came out of it."""
        known = self._frames.get((path, offset))
        if known is None:
            with open(path, 'rb') as file:
                file.seek(offset)
                plain = memoryview(_salvage(suffix, file.read(length)))
            known = {name: plain[start : start + size] for name, start, size in members(plain)}
            self._frames[path, offset] = known
            if len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)
        else:
            self._frames.move_to_end((path, offset))
        return known

    def chunks(self, name, depth=0):
        """The verified bytes of an object as (size, function that gives them in parts).  Raises Lost.

        What a list describes is verified as a whole first, and then read again, since it may be large.
        """
        while True:
            try:
                return self._chunks(name, depth)
            except Lost:
                if depth or not self._look_again():
                    raise

    def _chunks(self, name, depth):
        for place in self.places(name):
            try:
                if place.form == 'list':
                    pieces = self._pieces(name, place)
                    size, digest = 0, hashlib.sha256()
                    for part in self._join(pieces, depth + 1):
                        size += len(part)
                        digest.update(part)
                    if digest.hexdigest() == name[5:]:
                        return size, lambda: self._join(pieces, 0)
                    continue
                data = self._whole(name, place)
                if hashlib.sha256(data).hexdigest() == name[5:]:
                    return len(data), lambda: [data]
            except (Lost, OSError):
                continue
        raise Lost(name)

    def _whole(self, name, place):
        if place.form == 'frame':
            length, suffix = place.length
            found = self.frame(place.path, suffix, place.offset, length).get(name)
            if found is None:
                raise Lost(name)
            return found
        with open(place.path, 'rb') as file:
            return decompress(place.length, file.read())

    def _pieces(self, name, place):
        if place.length is None:
            with open(place.path, 'rb') as file:
                text = file.read()
        else:
            length, suffix = place.length
            text = bytes(self.frame(place.path, suffix, place.offset, length).get(name + '.list', b''))
        pieces = [line.split(' ')[0] for line in text.decode('ascii', 'replace').splitlines() if line[:1] != '#']
        if not text or not all(map(IS_KEY, pieces)):
            raise Lost(name)
        return ['blob/' + piece for piece in pieces]

    def _join(self, pieces, depth):
        if depth > LISTS_WITHIN_LISTS:
            raise Lost('a list within lists')
        for piece in pieces:
            _, parts = self.chunks(piece, depth)
            for part in parts():
                yield part

    def read(self, name):
        _, parts = self.chunks(name)
        return b''.join(parts())

    # snapshots

    def snapshots(self):
        """(key, text) of all that are what their names say."""
        for path in self.loose():
            key = os.path.basename(path)
            if IS_KEY(key) and os.path.dirname(path) == self.path('objects', 'snapshot', key[:2]):
                try:
                    yield key, self.snapshot(key)
                except Fatal as error:
                    self.complain(str(error), True)

    def snapshot(self, key):
        """The text of a snapshot.  Raises Fatal."""
        shown_path = 'objects/snapshot/%s/%s' % (key[:2], key)
        try:
            with open(self.path(shown_path), 'rb') as file:
                data = file.read()
        except OSError:
            raise Fatal('the snapshot %s is missing' % key)
        if hashlib.sha256(data).hexdigest() != key:
            raise Fatal(shown_path + ' is damaged')
        return data.decode('utf-8', 'replace')

    def refs(self):
        """(name, key) of all refs."""
        for directory, _, names in sorted(os.walk(self.path('refs'))):
            for name in sorted(names):
                if not name.startswith('.'):
                    ref = os.path.relpath(os.path.join(directory, name), self.root)
                    yield ref, self.ref(ref)

    def ref(self, name):
        """The key in a ref, or what else is there."""
        try:
            with open(self.path(name), encoding='utf-8', errors='replace') as file:
                return file.readline().rstrip('\n')
        except OSError:
            return ''


def members(plain):
    """(name, start, size) of the members of a tar of ours, as far as they are whole."""
    at = 0
    while at + BLOCK <= len(plain):
        head = bytes(plain[at : at + BLOCK])
        name = head[:100].rstrip(b'\0').decode('ascii', 'replace')
        digits = head[124:135]
        if not MEMBER_NAME(name) or not re.fullmatch(b'[0-7]{11}', digits):
            return
        size = int(digits, 8)
        if at + BLOCK + size > len(plain):
            return
        yield name, at + BLOCK, size
        at += BLOCK + size + -size % BLOCK


def _is_frame(suffix, data, found):
    """Is it a stream with an object of ours first?"""
    return _salvage(suffix, data[found.start() : found.start() + (2 << 20)], 5)[:5] in (b'blob/', b'tree/')


def _salvage(suffix, data, most=64 << 20):
    """What can be decompressed of a frame, damaged or not, at most so many bytes."""
    new = {
        '.gz': lambda: zlib.decompressobj(31),
        '.bz2': bz2.BZ2Decompressor,
        '.xz': lzma.LZMADecompressor,
        '.zst': zstd and zstd.ZstdDecompressor,
    }.get(suffix)
    if new is None:
        return _unzstd_outside(data)[0] if suffix else data
    for step in (1 << 16, 1):  # what comes before the damage counts, to the last byte
        stream, parts, size = new(), [], 0
        try:
            for start in range(0, len(data), step):
                parts.append(stream.decompress(data[start : start + step]))
                size += len(parts[-1])
                if size >= most or stream.eof:
                    break
            return b''.join(parts)
        except DAMAGED:
            continue
    return b''.join(parts)


def index_is_whole(path):
    try:
        with open(path, 'rb') as file:
            body, mark, digest = file.read().rpartition(b'# sha256 ')
    except OSError:
        return False
    return bool(mark) and digest.strip().decode('ascii', 'replace') == hashlib.sha256(body).hexdigest()


# --------------------------------------------------------------------------------------------------------- tar, out


class Tar:
    """Prints members as ustar with pax headers; sizes, owners and times that do not fit are in GNU's base-256."""

    def __init__(self, store, out):
        self.store, self._out = store, out

    def member(self, path, entry, flag, size=0, link=b'', records=b''):
        """A member's header; path and link are bytes."""
        fields = entry.fields
        seconds, fraction = self.moment(path, entry)
        if len(path) > 4095:
            self.miss(path, 'has a path of more than 4095 bytes: tar may not be able to make it; restore a part of the'
                      ' snapshot')  # fmt: skip
        if int(fraction) or not 0 <= seconds < 8**11:
            records = _record(b'mtime', _decimal(seconds, fraction).encode()) + records
        if len(path) > 100:
            records = _record(b'path', path) + records
        if len(link) > 100:
            records = _record(b'linkpath', link) + records
        if records:
            self._out.write(_header(b'./pax', 0o644, 0, 0, len(records), 0, b'x', b'', 0, 0))
            self._out.write(records + bytes(-len(records) % BLOCK))
        device = fields.get('device', '').split(',') if flag in (b'3', b'4') else []
        mode = self.number(path, fields.get('mode', ''), 8) % 0o10000
        owner = [self.number(path, fields.get(keyword, '')) for keyword in ('uid', 'gid')]
        numbers = [self.number(path, text) for text in (device + ['', '', ''])[1:3]]
        self._out.write(_header(path, mode, owner[0], owner[1], size, seconds, flag, link, numbers[0], numbers[1]))

    def moment(self, path, entry):
        """The time of an entry: whole seconds, and nine digits."""
        time = entry.fields.get('time', '')
        found = TIME(time)
        if time and not found:
            self.miss(path, 'has a time that is none: 0 in place of ' + time)
        return (int(found.group(1)), found.group(2) or '0' * 9) if found else (0, '0' * 9)

    def number(self, path, text, base=10):
        if not NUMBER[base](text):
            self.miss(path, 'has a number that is none: 0 in place of ' + text)
            return 0
        return int(text or '0', base)

    def contents(self, size, parts):
        for part in parts():
            self._out.write(part)
        self._out.write(bytes(-size % BLOCK))

    def end(self):
        self._out.write(bytes(2 * BLOCK))
        self._out.flush()

    def miss(self, path, why):
        why = why if isinstance(why, bytes) else os.fsencode(why)
        self.store.complain(b"'" + shown(quote(path)) + b"' " + why, True)

    def unlisted(self, path, entry):
        self.miss(path, 'cannot be listed: its tree is missing or damaged: ' + entry.tags.get('tree', ''))

    def stand_in(self, path, entry, suffix):
        """An empty file whose name says what is missing."""
        path = path.rstrip(b'/')
        directory, name = os.path.split(b'./top' if path == b'.' else path)
        suffix = b'.' + suffix
        self.member(directory + b'/' + name[: 255 - len(suffix)] + suffix, entry, b'0')


def _header(path, mode, uid, gid, size, seconds, flag, link, major, minor):
    owner = _octal(mode, 7) + _octal(uid, 7) + _octal(gid, 7)
    before = path[:100].ljust(100, b'\0') + owner + _octal(size, 11) + _octal(seconds, 11)
    after = flag + link[:100].ljust(100, b'\0') + b'ustar\x0000' + bytes(64) + _octal(major, 7) + _octal(minor, 7)
    return before + b'%06o\0 ' % (sum(before) + sum(after) + 8 * 32) + after + bytes(167)


def _octal(number, digits):
    if 0 <= number < 8**digits:
        return b'%0*o\0' % (digits, number)
    data = (number % (1 << 8 * digits)).to_bytes(digits, 'big')
    return (b'\xff' if number < 0 else b'\x80') + data


def _record(name, value):
    rest = b' ' + name + b'=' + value + b'\n'
    size = len(rest) + len(str(len(rest)))
    size = len(rest) + len(str(size))
    return b'%d' % size + rest


def _decimal(seconds, fraction):
    """mtree counts the fraction up from the second below; pax is decimal."""
    if seconds >= 0:
        return '%d.%s' % (seconds, fraction)
    if not int(fraction):
        return '%d' % seconds
    return '-%d.%09d' % (-seconds - 1, 10**9 - int(fraction))


# --------------------------------------------------------------------------------------------------------- commands


def find_snapshot(store, name):
    """The key of a snapshot.  Raises Fatal."""
    for prefix in ('', 'refs/', 'refs/backups/', 'refs/tags/', 'refs/recovered/'):
        if (prefix + name).startswith('refs/') and os.path.isfile(store.path(prefix + name)):
            key = store.ref(prefix + name)
            if not IS_KEY(key):
                raise Fatal(
                    "%s is damaged: 'list' shows all snapshots, and logs/%s what it was" % ((prefix + name,) * 2)
                )
            return key
    if re.fullmatch('[0-9a-f]{4,64}', name):
        found = {os.path.basename(path) for path in store.loose() if '/snapshot/' in path[len(store.root) :]}
        found = [key for key in found if key.startswith(name)]
        if len(found) > 1:
            raise Fatal('several keys begin with ' + name)
        if found:
            return found[0]
    named = []
    for key, text in store.snapshots():
        told = _told(text)
        if told.get('name') == quote(os.fsencode(name)):
            named.append((told.get('finished', '-'), key))
    if not named:
        raise Fatal("there is no snapshot '%s': 'python3 restore.py list' shows them all" % name)
    store.complain("there is no ref '%s': this is %s, the newest snapshot of that name" % (name, max(named)[1]))
    return max(named)[1]


def _told(text):
    told = {}
    for line in text.partition('\n\n')[0].split('\n'):
        word, _, value = line.partition(' ')
        if value and (QUOTED(value) or word == 'root' and not re.search('[^ -~]', value)):
            told.setdefault(word, value)
    return told


class Found:
    """What SNAPSHOT:PATH led to: an entry, its quoted name, the path of the directories that it is in."""

    def __init__(self, store, text):
        name, _, path = text.partition(':')
        told = _told(store.snapshot(find_snapshot(store, name)))
        self.entry, self.name, inside = parse(told.get('root', '')), '', []
        raw = re.sub(rb'\\([0-3][0-7][0-7])', lambda found: bytes([int(found.group(1), 8)]), os.fsencode(path))
        for part in raw.split(b'/'):
            if part in (b'', b'.'):
                continue
            quoted = quote(part)
            named = [entry for entry in tree_entries(store, self) if entry and entry.name == quoted]
            if not named:
                raise Fatal(
                    "there is no '%s' in '%s' of that snapshot" % (quoted, '/'.join(inside + [self.name]) or '/')
                )
            if self.name:
                inside.append(self.name)
            self.entry, self.name = named[0], quoted
        self.inside = ''.join(name + '/' for name in inside)
        source = told.get('source', '').split('/')[-1]
        self.file_name = self.name or (source if ENTRY_NAME('./' + source) and source not in ('.', '..') else 'file')


def tree_entries(store, found):
    key = subtree(found.entry)
    if key is None:
        raise Fatal("'%s' is not a directory with entries of its own" % found.name)
    try:
        return entries(store.read('tree/' + key))
    except Lost:
        raise Fatal("the tree of '%s' is missing or damaged: %s" % (found.name, key))


def list_snapshots(store, out):
    refs = {}
    for name, key in store.refs():
        if IS_KEY(key):
            refs.setdefault(key, []).append(name)
        else:
            store.complain('%s is damaged: it holds no key' % name, True)
    lines = []
    for key, text in store.snapshots():
        told = _told(text)
        finished = (told.get('finished') or told.get('started') or '-')[:19]
        names = [shown(told.get(keyword) or '-') for keyword in ('name', 'source')]
        words = [key.encode(), shown(finished), *names, os.fsencode(' '.join(refs.get(key, [])))]
        lines.append((finished, b'\t'.join(words) + b'\n'))
    for _, line in sorted(lines):
        out.write(line)


def list_directory(store, text, out):
    found = Found(store, text)
    if found.entry.fields.get('type') != 'dir':
        out.write(_describe(found.entry._replace(name=found.file_name)) + b'\n')
        return
    for entry in tree_entries(store, found):
        if entry is None:
            store.complain('a line of it cannot be an entry: left out', True)
        else:
            out.write(_describe(entry) + b'\n')


def _describe(entry):
    fields, tags = entry.fields, entry.tags
    type, mode = fields.get('type', ''), fields.get('mode', '')
    mode = int(mode or '0', 8) if NUMBER[8](mode) else 0
    letter = dict(zip('file dir link fifo socket char block'.split(), '-dlpscb')).get(type, '')
    bits = ''
    for shift, special in ((6, 'Ss'), (3, 'Ss'), (0, 'Tt')):
        now = mode >> shift
        set_bit = mode & (1 << 9 + shift // 3)
        bits += ('r' if now & 4 else '-') + ('w' if now & 2 else '-')
        bits += special[now & 1] if set_bit else 'x' if now & 1 else '-'
    size = fields.get('size', '') if type == 'file' else fields.get('device', '')[6:]
    text = '%s%s %6s %6s %12s %s ' % (
        letter, bits, fields.get('uid', ''), fields.get('gid', ''), size, _date(fields.get('time', '')))  # fmt: skip
    note = b''
    if type == 'link':
        note = b' -> ' + shown(fields.get('link', ''))
    if tags.get('again'):
        note = b' is ' + shown(tags['again']) + b' once more'
    if tags.get('damaged'):
        note = b' (%s)' % spoilt(entry).encode()
    if tags.get('unread'):
        note += b' (could not be read: ' + shown(tags['unread']) + b')'
    return shown(text) + shown(entry.name) + note


def _date(time):
    """Any number of seconds since 1970 as a date; howardhinnant.github.io/date_algorithms.html."""
    days, second = divmod(int(time.partition('.')[0]) if TIME(time) else 0, 86400)
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    return '%04d-%02d-%02d %02d:%02d:%02d' % (year, month, day, second // 3600, second // 60 % 60, second % 60)


def print_file(store, text, out):
    found = Found(store, text)
    type, key = found.entry.fields.get('type'), found.entry.fields.get('sha256digest', '')
    shown_path = found.inside + found.name
    if type != 'file':
        raise Fatal("'%s' is not a file, but of type %s" % (shown_path, type))
    if not IS_KEY(key):
        raise Fatal("'%s' could not be read when it was stored" % shown_path)
    store.want({'blob/' + key})
    try:
        _, parts = store.chunks('blob/' + key)
    except Lost:
        raise Fatal("the contents of '%s' are missing or damaged: blob %s" % (shown_path, key))
    for part in parts():
        out.write(part)
    if found.entry.tags.get('damaged'):
        store.complain("'%s' %s" % (shown_path, spoilt(found.entry)), True)


def print_times(store, text, out):
    """A script that does to a directory what the tar that made it could not."""
    printer = _Printer(store, out)
    out.write(TIMES.encode())
    for what, quoted, _, entry in printer.plan(text):
        type, path = entry and entry.fields.get('type'), unquote(quoted)
        if what == 'd':
            printer.tar.unlisted(path, entry)
        if what not in ('e', 'a') or type == 'socket' or type == 'file' and entry.tags.get('unread'):
            continue
        name = path.replace(b"'", b"'\\''")
        if what == 'a' or type == 'link':
            owner = [printer.tar.number(path, entry.fields.get(keyword, '')) for keyword in ('uid', 'gid')]
            out.write(b"o %d:%d '%s'\n" % (owner[0], owner[1], name))
        seconds, fraction = printer.tar.moment(path, entry)
        if entry.fields.get('time'):
            out.write(b"t %s %d '%s'\n" % (_decimal(seconds, fraction).encode(), seconds, name))


def print_tar(store, text, out):
    printer = _Printer(store, out)
    window = []
    for step in printer.plan(text):
        window.append(step)
        if len(window) >= WINDOW:
            printer.print_all(window)
            window = []
    printer.print_all(window)
    printer.tar.end()


class _Printer:
    """Walks trees, subdirectories first, then files, then the directory itself, and prints what it meets as a tar."""

    def __init__(self, store, out):
        self.store, self.tar = store, Tar(store, out)
        self.inside = []  # quoted names of the directories that the top lies in
        self._first = {}  # value of a hl tag and what it is a name of to the path of its first name
        self._lost_links = set()  # of these, those that could not be had

    def plan(self, text):
        """Yields (what, quoted path, link, entry), a member each."""
        found = Found(self.store, text)
        if found.entry.fields.get('type') != 'dir':
            return [('e', './' + found.file_name, '', found.entry)]
        self.inside = [*found.inside.split('/')[:-1], *([found.name] if found.name else [])]
        return self.walk(found.entry)

    def walk(self, top):
        stack = [(['./'], top) + self._read(top)]
        while stack:
            parts, entry, below, others = stack[-1]
            if below:
                child = below.pop()
                stack.append((parts + [child.name + '/'], child) + self._read(child))
                continue
            stack.pop()
            path = ''.join(parts)
            if others is None:
                yield 'd', path, '', entry
            for other in others or ():
                if other is None:
                    yield 'x', path, '', entry
                else:
                    yield from self._other(path, parts, other)
            yield 'e', path, '', entry

    def _read(self, entry):
        """The subdirectories of a directory, the last one first, and its other entries, None where it is lost."""
        key = subtree(entry)
        try:
            found = list(entries(self.store.read('tree/' + key))) if key else None
        except Lost:
            found = None
        if found is None:
            return [], None
        below = [child for child in reversed(found) if child and subtree(child)]
        return below, [child for child in found if not (child and subtree(child))]

    def _other(self, directory, parts, entry):
        path, type = directory + entry.name, entry.fields.get('type')
        again, link = entry.tags.get('again'), entry.tags.get('hl')
        if type == 'socket' or entry.tags.get('unread'):  # of these there is no member to link with
            link = None
        if link:  # where it lies, that costs a link and no contents
            link = (link, *[entry.fields.get(word, '') for word in ('type', 'sha256digest', 'link', 'device')])
        if type == 'dir':
            if again and QUOTED(again):
                yield 'a', path, self._way(parts, again), entry
            else:
                yield 'd', path + '/', '', entry
                yield 'e', path + '/', '', entry
        elif link and link in self._first:
            yield 'h', path, self._first[link], entry
        else:
            if link:
                self._first[link] = path
            yield 'e', path, '', entry

    def _way(self, parts, target):
        """From a directory to another as a relative path, quoted."""
        here = self.inside + [part[:-1] for part in parts[1:]]
        there = [] if target == '.' else target.split('/')
        same = 0
        while same < min(len(here), len(there)) and here[same] == there[same]:
            same += 1
        return '/'.join(['..'] * (len(here) - same) + there[same:]) or '.'

    def print_all(self, steps):
        wanted = set()
        for what, _, _, entry in steps:
            if what == 'e' and entry.fields.get('type') == 'file':
                wanted.add('blob/' + entry.fields.get('sha256digest', ''))
            wanted.update('blob/' + value[1:] for _, value in entry.xattrs if value[:1] == '@')
        self.store.want(wanted)
        for step in steps:
            self._print(*step)

    def _print(self, what, quoted, link, entry):
        path, fields = unquote(quoted), entry.fields
        if what == 'x':
            self.tar.miss(path, 'has an entry that cannot be one: left out')
            return
        if what == 'd':
            self.tar.unlisted(path, entry)
            self.tar.stand_in(path, entry, b'chkfs-damaged')
            return
        type = fields.get('type')
        if entry.tags.get('unread'):
            self.tar.miss(path, 'could not be read when it was stored: ' + entry.tags['unread'])
            self.tar.stand_in(path, entry, b'chkfs-unread')
            if type == 'file':
                return
        flags = {'dir': b'5', 'link': b'2', 'char': b'3', 'block': b'4', 'fifo': b'6'}
        if what == 'h' and link not in self._lost_links:
            self.tar.member(path, entry, b'1', 0, unquote(link))
        elif what == 'a':
            self.tar.member(path, entry, b'2', 0, unquote(link), self._xattrs(path, entry))
        elif type in flags and (type != 'link' or fields.get('link') and QUOTED(fields['link'])):
            target = unquote(fields.get('link', '')) if type == 'link' else b''
            self.tar.member(path, entry, flags[type], 0, target, self._xattrs(path, entry))
        elif type == 'socket':
            self.store.complain(b"'" + shown(quoted) + b"' is a socket, and tar has none: left out")
        else:
            self._print_file(path, quoted, entry, what)

    def _print_file(self, path, quoted, entry, what):
        name = 'blob/' + entry.fields.get('sha256digest', '')
        try:
            if what != 'e' or not IS_KEY(name[5:]):
                raise Lost(name)
            size, parts = self.store.chunks(name)
        except Lost:
            self.tar.miss(path, 'is missing or damaged: ' + name)
            self.tar.stand_in(path, entry, b'chkfs-damaged')
            self._lost_links.add(quoted)
            return
        self.tar.member(path, entry, b'0', size, b'', self._xattrs(path, entry))
        self.tar.contents(size, parts)
        if entry.tags.get('damaged'):
            self.tar.miss(path, spoilt(entry))

    def _xattrs(self, path, entry):
        records = b''
        for quoted, value in entry.xattrs:
            # % and = as GNU tar does, since a = would end the name
            name = unquote(quoted.replace('\\045', '%25').replace('\\075', '%3D'))
            if value[:1] != '@' and not IS_BASE64(value):
                self.tar.miss(path, b'has an attribute that is none: ' + shown('xattr:%s:%s' % (quoted, value)))
                continue
            try:
                raw = self.store.read('blob/' + value[1:]) if value[:1] == '@' else base64.b64decode(value)
                records += _record(b'SCHILY.xattr.' + name, raw)
            except Lost:
                self.tar.miss(path, 'will lack the attribute %s: blob/%s is missing or damaged' % (quoted, value[1:]))
        return records


def check(store, out):
    """One line for each thing that is not what its name says."""
    damaged, snapshots = [], set()
    loose = store.loose()
    for path in loose:
        key, suffix = os.path.splitext(os.path.basename(path))
        if not IS_KEY(key) or suffix == '.list':
            continue
        if '/snapshot/' in path[len(store.root) :]:
            snapshots.add(key)
        try:
            with open(path, 'rb') as file:
                good = hashlib.sha256(decompress(suffix, file.read())).hexdigest() == key
        except (OSError, Lost):
            good = False
        if not good:
            damaged.append(os.path.relpath(path, store.root))
    damaged += ['%s: no such snapshot' % name for name, key in store.refs() if key not in snapshots]
    lists = {'/'.join((path.split('/')[-3], os.path.basename(path)[:64])) for path in loose if path.endswith('.list')}
    for path, suffix, index in store.packs:
        damaged += _check_pack(store, path, suffix, index, lists)
    for name in sorted(lists):
        try:
            store.chunks(name)
        except Lost:
            damaged.append('list ' + name)
    for line in damaged:
        out.write(os.fsencode(line) + b'\n')
    if damaged:
        store.status = FOUND_DAMAGE
    store.complain(
        '%d packs, %d files, %d of them damaged or lacking an object' % (len(store.packs), len(loose), len(damaged))
    )


def _check_pack(store, path, suffix, index, lists):
    shown_path = os.path.relpath(path, store.root)
    if not os.path.exists(path):
        store.complain(shown_path + ' went away meanwhile, as chkfs-repack does it: run this again', True)
        return
    if not os.path.basename(path).startswith('pack-%s.' % _digest(path)):
        yield shown_path
    if os.path.exists(index) and not index_is_whole(index):
        yield os.path.relpath(index, store.root)
    lines = [line.split() for line in store._index(path, suffix, index)]
    lines = [words for words in lines if len(words) == 4 and MEMBER_NAME(words[0]) and all(map(str.isdigit, words[1:]))]
    for words in sorted(lines, key=lambda words: int(words[2])):  # by frames: each is unpacked once
        if words[0].endswith('.list'):
            lists.add(words[0][:-5])
            continue
        try:
            found = store.frame(path, suffix, int(words[2]), int(words[3])).get(words[0], b'')
        except OSError:
            found = b''
        if hashlib.sha256(found).hexdigest() != words[0][5:]:
            yield '%s: %s' % (shown_path, words[0])


def _digest(path):
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as file:
            for block in iter(lambda: file.read(1 << 20), b''):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def main(arguments):
    if not (sys.stdout and sys.stderr):
        return FATAL  # closed: there is nobody to speak to
    out = sys.stdout.buffer
    command = arguments[0] if arguments else 'help'
    is_help = command in ('help', '-h', '--help')
    if not is_help and len(arguments) != {'list': 1, 'check': 1, 'ls': 2, 'cat': 2, 'tar': 2, 'times': 2}.get(command):
        sys.stderr.write(USAGE)
        return WRONG_USAGE
    root = os.path.dirname(os.path.abspath(__file__))
    if not os.path.isdir(os.path.join(root, 'objects')):
        root = os.path.abspath(os.environ.get('CHKFS_STORE') or root)
    try:
        if is_help:
            out.write(USAGE.encode())
            out.flush()
            return DONE
        if not os.path.isdir(os.path.join(root, 'objects')):
            raise Fatal('there is no store where %s is: put it back, or set CHKFS_STORE' % __file__)
        store = Store(root)
        if command == 'list':
            list_snapshots(store, out)
        elif command == 'check':
            check(store, out)
        else:
            commands = {'ls': list_directory, 'cat': print_file, 'tar': print_tar, 'times': print_times}
            commands[command](store, arguments[1], out)
        out.flush()
        return store.status
    except BrokenPipeError:
        os._exit(FATAL)  # nobody reads any more: nothing else to print
    except KeyboardInterrupt:
        os._exit(130)
    except Lost as error:
        store.complain('the stream is broken here: %s has just been there, and is not any more' % error)
        return FATAL
    except (Fatal, OSError) as error:
        sys.stderr.buffer.write(b'restore.py: ' + os.fsencode(str(error)) + b'\n')
        sys.stderr.flush()
        os._exit(FATAL)  # else Python would try once more to print what is left


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
