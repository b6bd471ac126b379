"""What can others learn from runs?  One format, one file: journals made into the JSON lines that trainers read."""
