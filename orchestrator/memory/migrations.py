"""The schema of the store, as the list of changes that made it. A change is never edited once released.

Every text, from an engine's name to a thought of a thousand tokens, is one row of `texts`, named
by its content; the other tables hold its number. So equal texts are stored once and a row is small.
Only what a policy has learned lies in its own row: no two versions of it are equal.
The tables that grow with a run are clustered by run; `n` counts its rows across tables, in the
order they were written.

A column takes what is bound to it, whatever its type says: a number that is no plain number, such
as one of numpy's, would lie there as bytes. So every table checks the numbers it is given.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from orchestrator.memory.sqlite_features import sqlite_features
from orchestrator.memory.totals import TOTAL, TOTALS
from orchestrator.memory.word_index import TRIGGERS, filled

__all__ = ["MIGRATIONS"]

MIGRATIONS = Migrations("orchestrator")


def _numbers(*columns: str) -> str:
    plain = " AND ".join(f"typeof({column}) NOT IN ('blob', 'text')" for column in columns)
    return f"CONSTRAINT numbers CHECK ({plain})"


@MIGRATIONS()
def m001_initial(db: Database) -> None:
    """Create the journal."""
    for statement in (
        """CREATE TABLE texts (
            id INTEGER PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            text NOT NULL
        )""",
        f"""CREATE TABLE runs (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            parent TEXT,
            batch INTEGER NOT NULL,
            position INTEGER NOT NULL,
            task INTEGER NOT NULL,
            settings INTEGER NOT NULL,
            engines INTEGER NOT NULL,
            created_s REAL NOT NULL,
            {_numbers("position", "created_s")}
        )""",
        "CREATE INDEX runs_by_batch ON runs (batch, position)",
        """CREATE TABLE claims (
            run INTEGER PRIMARY KEY REFERENCES runs (key),
            pid INTEGER NOT NULL,
            started TEXT NOT NULL,
            host TEXT NOT NULL,
            journal TEXT NOT NULL
        )""",
        f"""CREATE TABLE intents (
            run INTEGER NOT NULL REFERENCES runs (key),
            seq INTEGER NOT NULL,
            step INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            purpose INTEGER NOT NULL,
            engine INTEGER NOT NULL,
            seed INTEGER NOT NULL,
            digest BLOB NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            max_tokens INTEGER NOT NULL,
            started_s REAL NOT NULL,
            PRIMARY KEY (run, seq),
            {_numbers("seq", "step", "attempt", "seed", "prompt_tokens", "max_tokens", "started_s")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE results (
            run INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            status INTEGER NOT NULL,
            text INTEGER NOT NULL,
            ids BLOB NOT NULL,
            stop INTEGER NOT NULL,
            stop_text INTEGER NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER,
            output_tokens INTEGER NOT NULL,
            uncertain INTEGER NOT NULL,
            seconds REAL NOT NULL,
            first_token_s REAL,
            error INTEGER NOT NULL,
            logprobs INTEGER,
            PRIMARY KEY (run, seq),
            FOREIGN KEY (run, seq) REFERENCES intents (run, seq),
            {_numbers("prompt_tokens", "cached_tokens", "output_tokens", "uncertain", "seconds", "first_token_s")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE signals (
            run INTEGER NOT NULL REFERENCES runs (key),
            n INTEGER NOT NULL,
            step INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            name INTEGER NOT NULL,
            value REAL,
            raw REAL,
            unit INTEGER NOT NULL,
            reason INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (run, n),
            {_numbers("step", "attempt", "value", "raw", "output_tokens", "seconds")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE decisions (
            run INTEGER NOT NULL REFERENCES runs (key),
            n INTEGER NOT NULL,
            step INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            door INTEGER NOT NULL,
            action INTEGER NOT NULL,
            engine INTEGER NOT NULL,
            reason INTEGER NOT NULL,
            threshold REAL,
            margin REAL,
            alternatives INTEGER NOT NULL,
            policy INTEGER NOT NULL,
            detail INTEGER NOT NULL,
            PRIMARY KEY (run, n),
            {_numbers("step", "attempt", "threshold", "margin")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE steps (
            run INTEGER NOT NULL REFERENCES runs (key),
            n INTEGER NOT NULL,
            step INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            writer INTEGER NOT NULL,
            text INTEGER NOT NULL,
            stop INTEGER NOT NULL,
            num_tokens INTEGER NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (run, n),
            {_numbers("step", "attempt", "num_tokens", "seconds")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE events (
            run INTEGER NOT NULL REFERENCES runs (key),
            n INTEGER NOT NULL,
            step INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            detail INTEGER NOT NULL,
            at_s REAL NOT NULL,
            PRIMARY KEY (run, n),
            {_numbers("step", "at_s")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE outcomes (
            run INTEGER NOT NULL REFERENCES runs (key),
            n INTEGER NOT NULL,
            status INTEGER NOT NULL,
            answer INTEGER,
            error INTEGER NOT NULL,
            reason INTEGER NOT NULL,
            seconds REAL NOT NULL,
            ledger INTEGER NOT NULL,
            finished_s REAL NOT NULL,
            PRIMARY KEY (run, n),
            {_numbers("seconds", "finished_s")}
        ) WITHOUT ROWID""",
    ):
        db.execute(statement)


@MIGRATIONS()
def m002_speculation(db: Database) -> None:
    """Keep with each call how long it waited, and what speculative decoding did."""
    for column, kind in (("queue_s", "REAL"), ("drafts", "INTEGER"), ("drafted", "INTEGER"), ("accepted", "INTEGER")):
        db.execute(f"ALTER TABLE results ADD COLUMN {column} {kind} {_numbers(column)}")


@MIGRATIONS()
def m003_learning(db: Database) -> None:
    """Keep what policies learn from outcomes, version by version, and the rewards that runs were given."""
    db.execute(
        f"""CREATE TABLE states (
            policy INTEGER NOT NULL,
            version INTEGER NOT NULL,
            state TEXT NOT NULL,
            run INTEGER NOT NULL REFERENCES runs (key),
            at_s REAL NOT NULL,
            PRIMARY KEY (policy, version),
            {_numbers("version", "at_s")}
        )"""
    )
    db.execute(
        f"""CREATE TABLE rewards (
            run INTEGER PRIMARY KEY REFERENCES runs (key),
            value REAL NOT NULL,
            at_s REAL NOT NULL,
            {_numbers("value", "at_s")}
        )"""
    )


@MIGRATIONS()
def m004_handbook(db: Database) -> None:
    """Keep behaviors, every change of them with what it touched before and after, and what came of using them."""
    for statement in (
        f"""CREATE TABLE handbooks (
            key INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            head INTEGER NOT NULL DEFAULT 0,
            last_seq INTEGER NOT NULL DEFAULT 0,
            last_id INTEGER NOT NULL DEFAULT 0,
            created_s REAL NOT NULL,
            {_numbers("head", "last_seq", "last_id", "created_s")}
        )""",
        f"""CREATE TABLE behaviors (
            key INTEGER PRIMARY KEY,
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            id INTEGER NOT NULL,
            name TEXT NOT NULL,
            instruction TEXT NOT NULL,
            section TEXT NOT NULL,
            polarity TEXT NOT NULL,
            version INTEGER NOT NULL,
            is_active INTEGER NOT NULL,
            merged_into INTEGER,
            run TEXT NOT NULL,
            step INTEGER,
            task TEXT NOT NULL,
            helpful INTEGER NOT NULL,
            harmful INTEGER NOT NULL,
            neutral INTEGER NOT NULL,
            UNIQUE (handbook, id),
            {_numbers("id", "version", "is_active", "merged_into", "step", "helpful", "harmful", "neutral")}
        )""",
        "CREATE UNIQUE INDEX behaviors_by_name ON behaviors (handbook, name) WHERE is_active",
        f"""CREATE TABLE changes (
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            seq INTEGER NOT NULL,
            parent INTEGER NOT NULL,
            op TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            reason TEXT NOT NULL,
            at_s REAL NOT NULL,
            is_current INTEGER NOT NULL,
            PRIMARY KEY (handbook, seq),
            {_numbers("seq", "parent", "at_s", "is_current")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE snapshots (
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            name TEXT NOT NULL,
            seq INTEGER NOT NULL,
            at_s REAL NOT NULL,
            PRIMARY KEY (handbook, name),
            {_numbers("seq", "at_s")}
        )""",
        f"""CREATE TABLE uses (
            handbook INTEGER NOT NULL,
            behavior INTEGER NOT NULL,
            run TEXT NOT NULL,
            seq INTEGER NOT NULL,
            effect TEXT NOT NULL,
            PRIMARY KEY (handbook, behavior, run, seq),
            FOREIGN KEY (handbook, seq) REFERENCES changes (handbook, seq),
            {_numbers("behavior", "seq")}
        ) WITHOUT ROWID""",
        f"""CREATE TABLE vectors (
            n INTEGER PRIMARY KEY,
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            space TEXT NOT NULL,
            behavior INTEGER NOT NULL,
            version INTEGER NOT NULL,
            vector BLOB NOT NULL,
            UNIQUE (handbook, space, behavior, version),
            {_numbers("behavior", "version")}
        )""",
    ):
        db.execute(statement)
    for statement in _WORDS if sqlite_features().has_fts5 else ():
        db.execute(statement)


_SAID = "name, instruction, section"
_OLD, _NEW = "old.name, old.instruction, old.section", "new.name, new.instruction, new.section"
_FORGET = f"INSERT INTO behavior_words (behavior_words, rowid, {_SAID}) VALUES ('delete', old.key, {_OLD});"
_LEARN = f"INSERT INTO behavior_words (rowid, {_SAID}) VALUES (new.key, {_NEW});"
_WORDS = (
    f"CREATE VIRTUAL TABLE behavior_words USING fts5 ({_SAID}, content = 'behaviors', content_rowid = 'key', "
    "tokenize = 'porter unicode61')",
    "CREATE VIRTUAL TABLE behavior_terms USING fts5vocab (behavior_words, 'row')",
    f"CREATE TRIGGER behaviors_learned AFTER INSERT ON behaviors BEGIN {_LEARN} END",
    f"CREATE TRIGGER behaviors_forgotten AFTER DELETE ON behaviors BEGIN {_FORGET} END",
    f"CREATE TRIGGER behaviors_reworded AFTER UPDATE ON behaviors WHEN ({_OLD}) IS NOT ({_NEW}) "
    f"BEGIN {_FORGET} {_LEARN} END",
)
"""What finds behaviors by their words; a file made by a Python whose SQLite cannot search has none of it."""


@MIGRATIONS()
def m005_refusals(db: Database) -> None:
    """Keep what a handbook's gates turned away, and which runs were learned from."""
    db.execute(
        f"""CREATE TABLE refused (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            name TEXT NOT NULL,
            instruction TEXT NOT NULL,
            section TEXT NOT NULL,
            polarity TEXT NOT NULL,
            gate TEXT NOT NULL,
            reason TEXT NOT NULL,
            run TEXT NOT NULL,
            task TEXT NOT NULL,
            at_s REAL NOT NULL,
            UNIQUE (handbook, name, instruction),
            {_numbers("at_s")}
        )"""
    )
    db.execute(
        f"""CREATE TABLE studied (
            handbook INTEGER NOT NULL REFERENCES handbooks (key),
            run TEXT NOT NULL,
            strategist TEXT NOT NULL,
            at_s REAL NOT NULL,
            PRIMARY KEY (handbook, run, strategist),
            {_numbers("at_s")}
        ) WITHOUT ROWID"""
    )


@MIGRATIONS()
def m006_words_apart(db: Database) -> None:
    """Index the words of what may be recalled apart from those of what is gone, handbook by handbook."""
    db.execute("CREATE INDEX behaviors_by_successor ON behaviors (handbook, merged_into) WHERE merged_into NOT NULL")
    if not sqlite_features().has_fts5:
        return
    for trigger in ("behaviors_learned", "behaviors_forgotten", "behaviors_reworded"):
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for table in ("behavior_terms", "behavior_words"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in (*filled(), *TRIGGERS):
        db.execute(statement)


@MIGRATIONS()
def m007_traces(db: Database) -> None:
    """Keep what each run came to beside it, for lists of many, and what was pruned."""
    for statement in (
        f"""CREATE TABLE totals (
            run INTEGER PRIMARY KEY REFERENCES runs (key),
            prompt_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            large_tokens INTEGER NOT NULL,
            cost REAL NOT NULL,
            {_numbers("prompt_tokens", "output_tokens", "large_tokens", "cost")}
        )""",
        f"INSERT INTO totals {TOTALS}",
        f"CREATE TRIGGER outcomes_added AFTER INSERT ON outcomes BEGIN INSERT OR REPLACE INTO totals {TOTAL}; END",
        f"""CREATE TABLE prunings (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            runs INTEGER NOT NULL,
            why TEXT NOT NULL,
            at_s REAL NOT NULL,
            {_numbers("runs", "at_s")}
        )""",
    ):
        db.execute(statement)
