"""Where a draft comes from; one source, one file, one sentence."""
