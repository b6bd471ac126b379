"""The published router, trained: a classifier of two labels that reads a draft and says whether to escalate."""
