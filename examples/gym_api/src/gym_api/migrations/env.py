"""What alembic runs: all migrations in the one transaction that `gym_api.migrate` opened."""

from alembic import context

from gym_api.migrate import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema=SCHEMA,
    transaction_per_migration=False,
)
context.run_migrations()
