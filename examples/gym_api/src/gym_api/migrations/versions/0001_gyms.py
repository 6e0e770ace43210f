"""Gyms, their staff, members, kiosks, check-ins and notifications.

Every table of tenants is guarded by row-level security with FORCE. The application's role sees the rows of
the tenant that its transaction names, and an error when it names none. The few look-ups that must happen before the
tenant is known, or that span tenants, are functions of the owner with a pinned search path; policies `for ... to
gym_owner` let the owner see just the tables that these functions read, because FORCE binds the owner too.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Table -> columns. Keys begin with the tenant: that is how rows are found, and how a tenant can move to another shard.
TABLES = {
    "tenants": """
        id uuid primary key,
        slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
        name text not null,
        created_at timestamptz not null default now()
    """,
    "staff": """
        tenant_id uuid not null references gym.tenants,
        id uuid not null,
        user_name text not null,
        password_hash text not null,
        primary key (tenant_id, id),
        unique (tenant_id, user_name)
    """,
    "members": """
        tenant_id uuid not null references gym.tenants,
        id uuid not null,
        name text not null,
        joined_at timestamptz not null default now(),
        primary key (tenant_id, id)
    """,
    "kiosks": """
        tenant_id uuid not null references gym.tenants,
        id uuid not null,
        name text not null,
        token_digest bytea not null unique,
        primary key (tenant_id, id)
    """,
    "kiosk_heartbeats": """
        tenant_id uuid not null,
        kiosk_id uuid not null,
        received_at timestamptz not null,
        primary key (tenant_id, kiosk_id),
        foreign key (tenant_id, kiosk_id) references gym.kiosks
    """,
    "check_ins": """
        tenant_id uuid not null,
        id uuid not null,
        member_id uuid not null,
        kiosk_id uuid not null,
        idempotency_key uuid not null,
        checked_in_at timestamptz not null default now(),
        primary key (tenant_id, id),
        unique (tenant_id, idempotency_key),
        foreign key (tenant_id, member_id) references gym.members,
        foreign key (tenant_id, kiosk_id) references gym.kiosks
    """,
    "outbox": """
        tenant_id uuid not null,
        id uuid not null,
        check_in_id uuid not null,
        kind text not null,
        created_at timestamptz not null default now(),
        send_after timestamptz not null default now(),
        sends integer not null default 0,
        dead_at timestamptz,
        primary key (tenant_id, id),
        foreign key (tenant_id, check_in_id) references gym.check_ins
    """,
    "notification_deliveries": """
        tenant_id uuid not null,
        notification_id uuid not null,
        check_in_id uuid not null,
        kind text not null,
        attempt integer not null,
        delivered_at timestamptz not null default now(),
        primary key (tenant_id, notification_id),
        foreign key (tenant_id, check_in_id) references gym.check_ins
    """,
    "daily_reports": """
        tenant_id uuid not null references gym.tenants,
        day date not null,
        check_ins integer not null,
        members integer not null,
        made_at timestamptz not null default now(),
        primary key (tenant_id, day)
    """,
}

INDEXES = (
    "create index check_ins_by_time on gym.check_ins (tenant_id, checked_in_at)",
    # The relay asks for what is due twice a second; what is delivered is gone, what is dead is not in here.
    "create index outbox_due on gym.outbox (send_after) where dead_at is null",
)

# What the application may do; never DDL, TRUNCATE or DELETE, but for the outbox that it empties.
GRANTS = {
    "tenants": "select",
    "members": "select, insert",
    "kiosks": "select, insert",
    "kiosk_heartbeats": "select, insert, update",
    # A repeated check-in writes its key again, see `gym_api.check_ins`.
    "check_ins": "select, insert, update (idempotency_key)",
    "outbox": "select, insert, delete, update (dead_at)",
    "notification_deliveries": "select, insert",
    "daily_reports": "select, insert",
}

# What the owner's functions below may read and write across tenants.
OWNER_POLICIES = {
    "tenants": ("select",),
    "staff": ("select",),
    "kiosks": ("select",),
    "kiosk_heartbeats": ("select",),
    "outbox": ("select", "update"),
}

FUNCTIONS = {
    "find_staff(slug text, user_name text)": """
        returns table (tenant_id uuid, staff_id uuid, password_hash text) language sql stable
        begin atomic
            select s.tenant_id, s.id, s.password_hash
            from gym.staff s join gym.tenants t on t.id = s.tenant_id
            where t.slug = find_staff.slug and s.user_name = find_staff.user_name;
        end
    """,
    "find_kiosk(token_digest bytea)": """
        returns table (tenant_id uuid, kiosk_id uuid) language sql stable
        begin atomic
            select k.tenant_id, k.id from gym.kiosks k where k.token_digest = find_kiosk.token_digest;
        end
    """,
    "all_tenants()": """
        returns table (tenant_id uuid) language sql stable
        begin atomic
            select t.id from gym.tenants t order by t.id;
        end
    """,
    # Hands out what is due and puts off the next time: twice as long after each, at most an hour. A notification that
    # was claimed is not claimed again before that, whatever became of the claimer.
    "claim_outbox(batch integer, resend_after interval)": """
        returns table (tenant_id uuid, id uuid) language sql volatile
        begin atomic
            update gym.outbox o
            set sends = o.sends + 1,
                send_after = now() + least(resend_after * power(2, least(o.sends, 12)), interval '1 hour')
            from (
                select d.tenant_id, d.id from gym.outbox d
                where d.dead_at is null and d.send_after <= now()
                order by d.send_after
                limit batch
                for update skip locked
            ) due
            where o.tenant_id = due.tenant_id and o.id = due.id
            returning o.tenant_id, o.id;
        end
    """,
    "outbox_pending()": """
        returns bigint language sql stable
        begin atomic
            select count(*) from gym.outbox o where o.dead_at is null;
        end
    """,
    # The kiosk of each gym that is silent for longest. A kiosk that never spoke is not installed yet.
    "kiosk_heartbeats_by_tenant(silent_after interval)": """
        returns table (slug text, oldest timestamptz, silent bigint) language sql stable
        begin atomic
            select t.slug, min(h.received_at), count(*) filter (where h.received_at < now() - silent_after)
            from gym.kiosk_heartbeats h join gym.tenants t on t.id = h.tenant_id
            group by t.slug;
        end
    """,
}


def upgrade() -> None:
    """Create everything; roles are the platform's business and exist."""
    for table, columns in TABLES.items():
        tenant = "id" if table == "tenants" else "tenant_id"
        # In a sub-select the setting is read once a query, and not once a row.
        own = f"{tenant} = (select current_setting('gym.tenant_id')::uuid)"
        op.execute(f"create table gym.{table} ({columns})")
        op.execute(f"alter table gym.{table} enable row level security")
        op.execute(f"alter table gym.{table} force row level security")
        op.execute(f"create policy own_tenant on gym.{table} to gym_app using ({own}) with check ({own})")
        for command in OWNER_POLICIES.get(table, ()):
            op.execute(f"create policy owner_{command}s on gym.{table} for {command} to gym_owner using (true)")
    for statement in INDEXES:
        op.execute(statement)
    # Which synthetic data was loaded; of no tenant, and nothing that the application may see.
    op.execute(
        "create table gym.seeds (fingerprint text primary key, checksum text not null,"
        " loaded_at timestamptz not null default now())"
    )
    op.execute("grant usage on schema gym to gym_app")
    for table, privileges in GRANTS.items():
        op.execute(f"grant {privileges} on gym.{table} to gym_app")
    for signature, body in FUNCTIONS.items():
        head, language, rest = body.partition("language sql")
        settings = f"{language} security definer set search_path = pg_catalog, pg_temp"
        volatility, _, statements = rest.strip().partition("\n")
        op.execute(f"create function gym.{signature} {head} {settings} {volatility}\n{statements}")
        op.execute(f"revoke all on function gym.{signature} from public")
        op.execute(f"grant execute on function gym.{signature} to gym_app")


def downgrade() -> None:
    """Drop everything, for development."""
    for signature in FUNCTIONS:
        op.execute(f"drop function gym.{signature}")
    op.execute("drop table gym.seeds")
    for table in reversed(TABLES):
        op.execute(f"drop table gym.{table}")
