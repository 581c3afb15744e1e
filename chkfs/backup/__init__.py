"""From a live directory to a tree in the store."""
