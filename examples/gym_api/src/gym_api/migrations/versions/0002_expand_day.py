"""The day that a check-in counts for, kept with it.

Until now it followed from the time, in UTC. When gyms get time zones of their own, the days of the past must not move.
"""

from alembic import op

revision = "0002_expand"
down_revision = "0001"
branch_labels = ("expand",)
depends_on = None


def upgrade() -> None:
    """Add the column, empty: the old code does not know it, the new code writes it."""
    op.execute("alter table gym.check_ins add column day date")
