"""What the kernel, the C library and the filesystems tell of files, and what they can be asked to do."""
