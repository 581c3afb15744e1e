"""One module a command: argv in, one library call, records out."""
