"""What brings a file of an older schema to this one's, a version at a time."""

from __future__ import annotations

#: By the version that a file has: what it lacks of the next one.
_UPGRADES: dict[int, tuple[str, ...]] = {
    5: (
        "ALTER TABLE kernels ADD COLUMN made_for TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE problems ADD COLUMN idle_threads TEXT NOT NULL DEFAULT ''",
        # The canary was a list: of one core.
        "UPDATE visits SET canary = CASE canary WHEN '[]' THEN '{}' "
        "ELSE '{\"one core\": ' || canary || '}' END",
    ),
    6: (
        "ALTER TABLE rows ADD COLUMN p50_samples TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE rows ADD COLUMN p99_samples TEXT NOT NULL DEFAULT '[]'",
    ),
    7: (
        "ALTER TABLE rows ADD COLUMN accuracies TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE rows ADD COLUMN differences TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE rows ADD COLUMN facts TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE rows ADD COLUMN part_samples TEXT NOT NULL DEFAULT '{}'",
    ),
}
OLDEST_VERSION = min(_UPGRADES)


def upgrade(version: int, to: int) -> list[str]:
    """Return the SQL statements that upgrade a file of ``version``."""
    steps = [statement for step in range(version, to) for statement in _UPGRADES[step]]
    return [*steps, f"PRAGMA user_version = {to}"]
