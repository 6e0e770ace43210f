"""Every check-in has its day.

Each step commits, so that no lock is held while rows are read or written, and each may be done twice.
"""

from alembic import op

from gym_api.migrations.steps import backfill, commit

revision = "0002_contract"
down_revision = "0001"
branch_labels = ("contract",)
depends_on = ("0002_expand",)


def upgrade() -> None:
    """Fill the column in, and make it NOT NULL by a constraint that is validated without a lock."""
    # FORCE binds the owner as well: for as long as this takes, it sees check-ins and may update those without a day.
    op.execute("drop policy if exists backfill_selects on gym.check_ins")
    op.execute("drop policy if exists backfill_updates on gym.check_ins")
    op.execute("create policy backfill_selects on gym.check_ins for select to gym_owner using (true)")
    op.execute(
        "create policy backfill_updates on gym.check_ins for update to gym_owner"
        " using (day is null) with check (day is not null)"
    )
    commit()
    backfill(
        "gym.check_ins",
        key=("tenant_id", "id"),
        assignment="day = (checked_in_at at time zone 'UTC')::date",
        where="day is null",
    )
    op.execute("alter table gym.check_ins drop constraint if exists check_ins_day_known")
    op.execute("alter table gym.check_ins add constraint check_ins_day_known check (day is not null) not valid")
    commit()
    op.execute("alter table gym.check_ins validate constraint check_ins_day_known")
    commit()
    # Reads the constraint instead of the table.
    op.execute("alter table gym.check_ins alter column day set not null")
    op.execute("alter table gym.check_ins drop constraint check_ins_day_known")
    op.execute("drop policy backfill_selects on gym.check_ins")
    op.execute("drop policy backfill_updates on gym.check_ins")
