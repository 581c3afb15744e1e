"""What the files of a store say: formats that are written and parsed, without any input or output."""
