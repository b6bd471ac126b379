"""Compare policies on tasks with known answers. Nothing in the product imports this room."""
