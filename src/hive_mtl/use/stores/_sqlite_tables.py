"""The tables of a SQLite store, and how those of older versions become them."""

TABLES = """
CREATE TABLE store (
    identity TEXT NOT NULL,
    model_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    removals INTEGER NOT NULL
);
CREATE TABLE voice (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    note TEXT NOT NULL,
    labels TEXT NOT NULL,
    created TEXT NOT NULL,
    centroid BLOB NOT NULL,
    speech_seconds REAL NOT NULL,
    snr_db REAL NOT NULL,
    changed INTEGER NOT NULL
);
CREATE TABLE sample (
    id INTEGER PRIMARY KEY,
    voice INTEGER NOT NULL REFERENCES voice (id),
    vector BLOB NOT NULL,
    speech_seconds REAL NOT NULL,
    snr_db REAL NOT NULL,
    clipped REAL NOT NULL,
    source TEXT NOT NULL,
    start_s REAL NOT NULL DEFAULT 0,
    duration_s REAL
);
CREATE INDEX voice_changed ON voice (changed);
CREATE INDEX sample_voice ON sample (voice);
INSERT INTO store VALUES (lower(hex(randomblob(8))), '', 0, 0);
"""
MIGRATIONS = {  # by the version that they start from
    # parts of recordings as sources; which voices have changed since the matrix was made
    1: """
ALTER TABLE sample ADD COLUMN start_s REAL NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN duration_s REAL;
ALTER TABLE voice ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX voice_changed ON voice (changed);
ALTER TABLE store ADD COLUMN identity TEXT NOT NULL DEFAULT '';
ALTER TABLE store ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store ADD COLUMN removals INTEGER NOT NULL DEFAULT 0;
UPDATE store SET identity = lower(hex(randomblob(8)));
""",
}
