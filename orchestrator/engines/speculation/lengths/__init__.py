"""How long a draft may be; one policy, one file, one sentence."""
