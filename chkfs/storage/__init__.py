"""The store: objects and how they become visible and safe, refs, and what checks, mends and packs all that."""
