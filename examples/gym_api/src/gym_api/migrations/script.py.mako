"""${message}.

Revision ${up_revision}, after ${down_revision or "nothing"}.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: the release before this one goes on running on the new schema."""
    ${upgrades or 'op.execute("")'}


def downgrade() -> None:
    """Undo it, for development."""
    ${downgrades or 'op.execute("")'}
