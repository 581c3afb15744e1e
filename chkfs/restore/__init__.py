"""From a tree in the store to a live directory."""
