"""chkfs keeps whole filesystems for ever in one store that any shell can read."""

__version__ = '0.1.0'
