"""${message}.

Revision ${up_revision}, after ${down_revision or "nothing"}. Never reversed: what undoes it is another release.
"""

from alembic import op

# <number>_expand or <number>_contract; a contract names the expansion that it completes in `depends_on`.
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Expand: the release before this one goes on running on it. Contract: this release alone runs on it."""
    ${upgrades or 'op.execute("")'}
