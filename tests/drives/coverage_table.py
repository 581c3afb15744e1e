"""The tables of chkfs-metadata(7): what is saved and restored of each kind of metadata, as tests found it.

    coverage_table.py [FILE ...]    takes in the findings in these files, and rewrites the page

Findings are JSON, {driver: {kind: 'restored' | 'saved' | 'lost' | '-'}}, of the kinds in kinds.py, and any other.
A driver that is found anew replaces what was known of it; coverage.json beside this file holds all that is known, so
that the drivers of another kernel (those of tests/vm) keep their places in the page where they cannot be tried.
`make coverage-table` tries the drivers of this kernel, and takes in build/coverage-*.json, whoever wrote them.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = os.path.join(HERE, 'coverage.json')
PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'man', 'chkfs-metadata.7')
BEGIN, END = '.\\" begin of the tables\n', '.\\" end of the tables\n'
FOUND = os.environ.get('CHKFS_COVERAGE')  # a file to write what is found to, for tests that otherwise compare
TABLES = [
    ('Of Linux', ['ext4', 'fuse2fs', 'xfs', 'btrfs', 'squashfs']),
    ('Of Windows', ['ntfs-3g', 'ntfs3', 'exfat-fuse', 'exfat']),
    ('FAT', ['vfat', 'msdos', 'fusefat']),
    ('Discs, and of the Macintosh', ['iso9660', 'fuseiso', 'udf', 'hfs', 'hfsplus']),
]

Findings = dict[str, dict[str, str]]


def known() -> Findings:
    with open(KNOWN) as file:
        return json.load(file)


def write(findings: Findings, path: str) -> None:
    with open(path, 'w') as file:
        json.dump(findings, file, indent=1, sort_keys=False)
        file.write('\n')


def add(driver: str, found: dict[str, str]) -> None:
    """To the file FOUND."""
    findings = {}
    if os.path.exists(FOUND):
        with open(FOUND) as file:
            findings = json.load(file)
    write({**findings, driver: found}, FOUND)


def tables(findings: Findings) -> str:
    """As mdoc(7)."""
    return ''.join(_table(title, [name for name in names if name in findings], findings) for title, names in TABLES)


def _table(title: str, drivers: list[str], findings: Findings) -> str:
    if not drivers:
        return ''
    kinds = list(dict.fromkeys(kind for name in drivers for kind in findings[name]))
    kinds = [kind for kind in kinds if any(findings[name].get(kind, '-') != '-' for name in drivers)]
    widths = ' '.join(f'"{"x" * max(8, len(name))}"' for name in drivers)
    lines = [f'.Ss {title}', f'.Bl -column "{"x" * 18}" {widths}', f'.It \\& Ta {" Ta ".join(drivers)}']
    for kind in kinds:
        words = (findings[name].get(kind, '-') for name in drivers)
        lines.append(f'.It {kind} Ta {" Ta ".join(words)}')
    return '\n'.join([*lines, '.El', ''])


def page(text: str, findings: Findings) -> str:
    """The page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f'{before}{BEGIN}{tables(findings)}{END}{after}'


def main(files: list[str]) -> None:
    findings = known()
    for name in files:
        with open(name) as file:
            findings.update(json.load(file))
    write(findings, KNOWN)
    with open(PAGE) as file:
        text = file.read()
    with open(PAGE, 'w') as file:
        file.write(page(text, findings))


if __name__ == '__main__':
    main(sys.argv[1:])
