"""Take the texts that no row refers to any more, beside processes that write.

What a writer refers to next cannot be seen by looking at rows that are there. So first a trigger is made that notes
each text which somebody stores though it is there, and journals are told to forget the numbers they remember: from
then on whoever comes to need an old text is noted. Then one reading transaction finds what nothing refers to, for as
long as it takes, and that is taken in small transactions, but for what was noted meanwhile.
"""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from orchestrator.memory.rows import TEXT_COLUMNS
from orchestrator.memory.store import Store

if TYPE_CHECKING:
    from orchestrator.memory.pruning import Pruning

__all__ = ["HELD_S", "WANTED", "sweep"]

WANTED = "wanted_texts"
"""Table and trigger that are there while texts are swept; left by a process that died, the next sweep makes them anew.
"""
_UNWATCH = (f"DROP TRIGGER IF EXISTS {WANTED}_noted", f"DROP TABLE IF EXISTS {WANTED}")
_WATCH = (
    *_UNWATCH,
    f"CREATE TABLE {WANTED} (id INTEGER PRIMARY KEY)",
    f"CREATE TRIGGER {WANTED}_noted BEFORE INSERT ON texts BEGIN "
    f"INSERT OR IGNORE INTO {WANTED} SELECT id FROM texts WHERE digest = new.digest; END",
)
_MARK = (
    "CREATE TEMP TABLE used (id INTEGER PRIMARY KEY)",
    *(f"INSERT OR IGNORE INTO used SELECT {column} FROM {table} WHERE {column} NOT NULL"
      for table, column in TEXT_COLUMNS),
    "CREATE TEMP TABLE unused (id INTEGER PRIMARY KEY)",
    "INSERT INTO unused SELECT id FROM main.texts WHERE id NOT IN (SELECT id FROM used)",
)  # fmt: skip
_UNMARK = ("DROP TABLE IF EXISTS temp.used", "DROP TABLE IF EXISTS temp.unused")
_SOME = "SELECT max(id) FROM (SELECT id FROM unused WHERE id > ? ORDER BY id LIMIT ?)"
_TAKE = f"""
    DELETE FROM texts WHERE id IN (SELECT id FROM unused WHERE id > ? AND id <= ?)
        AND id NOT IN (SELECT id FROM {WANTED})
"""
HELD_S = 0.01
"""Seconds that a transaction takes, about; as long is left to others behind it: a writer waits little."""


def sweep(store: Store, pruning: Pruning) -> int:
    """Take them and return how many there were. Raises StoreLocked where another process prunes, too."""
    connection = store.connection
    with store.transaction():
        pruning.note(connection)
        for statement in _WATCH:
            connection.execute(statement)
    for statement in _UNMARK:
        connection.execute(statement)
    with store.reading():
        for statement in _MARK:
            connection.execute(statement)
    num_taken = _taken(store, pruning)
    for statement in _UNMARK:
        connection.execute(statement)
    with store.transaction():
        pruning.note(connection)
        for statement in _UNWATCH:
            connection.execute(statement)
    return num_taken


def _taken(store: Store, pruning: Pruning) -> int:
    """Take what was found unused, as many at a time as a short transaction can."""
    num_taken, last, some = 0, 0, 500
    while True:
        (upto,) = store.connection.execute(_SOME, (last, some)).fetchone()
        if upto is None:
            return num_taken
        began_s = monotonic()
        with store.transaction() as connection:
            pruning.note(connection)
            num_taken += connection.execute(_TAKE, (last, upto)).rowcount
        took_s = monotonic() - began_s
        last, some = upto, max(1, min(2 * some, int(some * HELD_S / max(took_s, 1e-6))))
        sleep(took_s)
