"""What alembic runs: each migration in a transaction of its own, on the connection that `gym_api.migrate` made."""

from alembic import context

from gym_api.migrate import SCHEMA

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table_schema=SCHEMA,
    transaction_per_migration=True,
)
context.run_migrations()
