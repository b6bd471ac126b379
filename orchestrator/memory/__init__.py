"""What the house remembers: SQLite, and nothing outside this room knows SQL.

Records and what is read back are in `base`; `store.Store` is the file, `journal.Journal` the
record of runs in it, `ids` makes their names.
"""
