"""chkfs keeps whole filesystems for ever in one store that any shell can read.

text, system, storage, and then backup and restore, which do not know each other: each package imports only from those
before it.  cmd has the commands, cli what they share.  written/ is what explains and restores a store without chkfs.
"""

__version__ = '0.1.0'
