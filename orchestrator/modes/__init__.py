"""How much to think?  One policy, one file, one sentence."""
