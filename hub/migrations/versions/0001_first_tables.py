"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "failed_try",
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forget_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key_sha256", name=op.f("pk_failed_try")),
    )
    op.create_index("ix_failed_try_forget_at", "failed_try", ["forget_at"])
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "merchant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("demo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("time_zone", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("locale", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requires_two_factor", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("settled_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchant")),
    )
    op.create_table(
        "postal_place",
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("country", "code", name=op.f("pk_postal_place")),
    )
    op.create_table(
        "setup_token",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_setup_token")),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("password_hash", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("totp_on_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("email", name=op.f("uq_user_account_email")),
    )
    op.create_table(
        "box",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("length_mm", sa.Integer(), nullable=False),
        sa.Column("width_mm", sa.Integer(), nullable=False),
        sa.Column("height_mm", sa.Integer(), nullable=False),
        sa.Column("empty_grams", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("most_grams", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "length_mm > 0 and width_mm > 0 and height_mm > 0 and empty_grams >= 0", name=op.f("ck_box_size")
        ),
        sa.CheckConstraint("most_grams > empty_grams", name=op.f("ck_box_weight")),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_box_merchant_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_box")),
        sa.UniqueConstraint("merchant_id", "name", name=op.f("uq_box_merchant_id_name")),
    )
    op.create_table(
        "bulk_act",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("described", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("retry_of", sa.Uuid(), nullable=True),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "retry_of"],
            ["bulk_act.merchant_id", "bulk_act.id"],
            name=op.f("fk_bulk_act_merchant_id_retry_of"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_bulk_act_merchant_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_bulk_act_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_bulk_act")),
    )
    op.create_table(
        "connection",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connector", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=10), server_default=sa.text("'channel'"), nullable=False),
        sa.Column("label", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("secrets_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("account_external_id", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("account_name", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("currency", sa.String(length=3), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("live_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("paused_why", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_event_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("features", sa.JSON(), nullable=True),
        sa.Column("words", sa.JSON(), nullable=True),
        sa.Column("subscriptions", sa.JSON(), nullable=True),
        sa.Column("sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind in ('channel', 'carrier', '3pl')", name=op.f("ck_connection_kind")),
        sa.CheckConstraint("state in ('new', 'connected', 'paused', 'removed')", name=op.f("ck_connection_state")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_connection_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_connection")),
    )
    op.create_index(
        "uq_connection_account",
        "connection",
        ["merchant_id", "connector", "account_external_id"],
        unique=True,
        sqlite_where=sa.text("account_external_id <> '' and state <> 'removed'"),
        postgresql_where=sa.text("account_external_id <> '' and state <> 'removed'"),
    )
    op.create_table(
        "handling_policy",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("priorities", sa.JSON(), nullable=False),
        sa.Column("confirms_digital", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("paper", sa.String(length=4), server_default=sa.text("''"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_handling_policy_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_handling_policy")),
    )
    op.create_table(
        "invitation",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("role", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("invited_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role in ('owner', 'manager', 'warehouse', 'support', 'read_only')", name=op.f("ck_invitation_role")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_invitation_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("merchant_id", "email", name=op.f("uq_invitation_merchant_id_email")),
    )
    op.create_index(op.f("ix_invitation_token_sha256"), "invitation", ["token_sha256"])
    op.create_table(
        "location",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("kind", sa.String(length=12), server_default=sa.text("'warehouse'"), nullable=False),
        sa.Column("address", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("placed_by", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("time_zone", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("cut_off", sa.String(length=5), server_default=sa.text("''"), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("services", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("ships", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("collects", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('warehouse', 'shop', '3pl')", name=op.f("ck_location_kind")),
        sa.CheckConstraint("placed_by in ('', 'typed', 'postcode', 'country')", name=op.f("ck_location_placed_by")),
        sa.CheckConstraint("capacity >= 0", name=op.f("ck_location_capacity")),
        sa.CheckConstraint(
            "latitude between -90 and 90 and longitude between -180 and 180", name=op.f("ck_location_on_earth")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_location_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_location")),
        sa.UniqueConstraint("merchant_id", "name", name=op.f("uq_location_merchant_id_name")),
    )
    op.create_table(
        "match_act",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("listings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("summary", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("undone", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_match_act_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_match_act")),
    )
    op.create_index("ix_match_act_at", "match_act", ["merchant_id", "at", "id"])
    op.create_table(
        "membership",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role in ('owner', 'manager', 'warehouse', 'support', 'read_only')", name=op.f("ck_membership_role")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_membership_merchant_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_membership_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "user_id", name=op.f("pk_membership")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_sha256", sa.String(length=64), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_recovery_code_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "code_sha256", name=op.f("pk_recovery_code")),
    )
    op.create_table(
        "routing_policy",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("created_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_routing_policy_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "number", name=op.f("pk_routing_policy")),
    )
    op.create_table(
        "sandbox",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wanted_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("beginnings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ending_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("routes", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_sandbox_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_sandbox")),
    )
    op.create_table(
        "saved_view",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("query", sa.String(length=2000), server_default=sa.text("''"), nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_saved_view_merchant_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_saved_view_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint(
            "merchant_id", "user_id", "page", "name", name=op.f("uq_saved_view_merchant_id_user_id_page_name")
        ),
    )
    op.create_table(
        "second_step",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_second_step_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_second_step")),
    )
    op.create_table(
        "shipping_policy",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_shipping_policy_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_shipping_policy")),
    )
    op.create_table(
        "shipping_service",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.String(length=200), nullable=False),
        sa.Column("service", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_shipping_service_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "method", name=op.f("pk_shipping_service")),
    )
    op.create_table(
        "sku",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("title", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counted_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kit", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("titled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_sku_merchant_id"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_sku")),
        sa.UniqueConstraint("merchant_id", "code", name=op.f("uq_sku_merchant_id_code")),
    )
    op.create_index(
        "ix_sku_titled",
        "sku",
        ["merchant_id", "titled_at"],
        sqlite_where=sa.text("titled_at is not null"),
        postgresql_where=sa.text("titled_at is not null"),
    )
    op.create_index(
        "ix_sku_uncounted",
        "sku",
        ["merchant_id", "id"],
        sqlite_where=sa.text("counted_since is null"),
        postgresql_where=sa.text("counted_since is null"),
    )
    op.create_table(
        "stock_policy",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("hold_together", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("queue", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("unpaid_hours", sa.Integer(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("queue in ('first_come', 'value', 'promised_date')", name=op.f("ck_stock_policy_queue")),
        sa.CheckConstraint("unpaid_hours > 0", name=op.f("ck_stock_policy_unpaid_hours")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_stock_policy_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_stock_policy")),
    )
    op.create_table(
        "channel_location",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_channel_location_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_channel_location_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "external_id", name=op.f("pk_channel_location")),
    )
    op.create_table(
        "connection_token",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh", sa.LargeBinary(), nullable=True),
        sa.Column("refresh_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_connection_token_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "name", name=op.f("pk_connection_token")),
    )
    op.create_table(
        "cursor",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("stream", sa.String(length=20), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetched", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_cursor_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "stream", name=op.f("pk_cursor")),
    )
    op.create_table(
        "erased_order",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_erased_order_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "external_id", name=op.f("pk_erased_order")),
    )
    op.create_table(
        "fetch_request",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_fetch_request_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "kind", "external_id", name=op.f("pk_fetch_request")),
    )
    op.create_index("ix_fetch_request_due_at", "fetch_request", ["due_at"])
    op.create_table(
        "inbox",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("dedupe_key", sa.String(length=300), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('pending', 'done', 'ignored', 'quarantined')", name=op.f("ck_inbox_state")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_inbox_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_inbox")),
        sa.UniqueConstraint(
            "merchant_id",
            "connection_id",
            "source",
            "dedupe_key",
            name=op.f("uq_inbox_merchant_id_connection_id_source_dedupe_key"),
        ),
    )
    op.create_index("ix_inbox_external_id", "inbox", ["merchant_id", "connection_id", "external_id"])
    op.create_index(
        "ix_inbox_pending",
        "inbox",
        ["merchant_id", "connection_id", "received_at", "id"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_inbox_quarantined",
        "inbox",
        ["merchant_id", "connection_id", "received_at", "id"],
        sqlite_where=sa.text("state = 'quarantined'"),
        postgresql_where=sa.text("state = 'quarantined'"),
    )
    op.create_table(
        "kit_leaf",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("kit_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_kit_leaf_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "kit_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_kit_leaf_merchant_id_kit_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "part_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_kit_leaf_merchant_id_part_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "kit_id", "part_id", name=op.f("pk_kit_leaf")),
    )
    op.create_index("ix_kit_leaf_part", "kit_leaf", ["merchant_id", "part_id"])
    op.create_table(
        "kit_part",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("kit_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("kit_id <> part_id", name=op.f("ck_kit_part_not_itself")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_kit_part_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "kit_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_kit_part_merchant_id_kit_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "part_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_kit_part_merchant_id_part_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "kit_id", "part_id", name=op.f("pk_kit_part")),
    )
    op.create_index("ix_kit_part_part", "kit_part", ["merchant_id", "part_id"])
    op.create_table(
        "list_preference",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.String(length=40), nullable=False),
        sa.Column("columns", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("view_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "view_id"],
            ["saved_view.merchant_id", "saved_view.id"],
            name=op.f("fk_list_preference_merchant_id_view_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_list_preference_merchant_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_list_preference_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "user_id", "page", name=op.f("pk_list_preference")),
    )
    op.create_table(
        "picture",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(length=1000), server_default=sa.text("''"), nullable=False),
        sa.Column("host", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("address", sa.String(length=50), server_default=sa.text("''"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_picture_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_picture")),
    )
    op.create_index(
        "ix_picture_due",
        "picture",
        ["merchant_id", "connection_id", "due_at", "id"],
        sqlite_where=sa.text("due_at is not null"),
        postgresql_where=sa.text("due_at is not null"),
    )
    op.create_table(
        "preview",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("raised", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lowered", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("to_zero", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("big_drops", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("silent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unmatched", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("untracked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("uncounted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_here", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unbound_locations", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_preview_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", name=op.f("pk_preview")),
    )
    op.create_table(
        "privacy_request",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("everything", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("orders", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("looked_to", sa.Uuid(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("kind in ('wanted', 'erased')", name=op.f("ck_privacy_request_kind")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_privacy_request_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_privacy_request")),
        sa.UniqueConstraint(
            "merchant_id",
            "connection_id",
            "kind",
            "reference",
            name=op.f("uq_privacy_request_merchant_id_connection_id_kind_reference"),
        ),
    )
    op.create_table(
        "provider_item",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("item_external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("matched_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_provider_item_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_provider_item_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "name", name=op.f("pk_provider_item")),
    )
    op.create_index(
        "uq_provider_item_sku",
        "provider_item",
        ["merchant_id", "connection_id", "sku_id"],
        unique=True,
        sqlite_where=sa.text("sku_id is not null"),
        postgresql_where=sa.text("sku_id is not null"),
    )
    op.create_table(
        "sales_order",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("number", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("channel_status", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("whole", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("removal_heard_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("holds_stock", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("shipped_by_channel", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("test", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paid", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hold_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("own_priority", sa.Integer(), nullable=True),
        sa.Column("collect_at", sa.Uuid(), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default=sa.text("''"), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("lines_minor", sa.BigInteger(), nullable=False),
        sa.Column("shipping_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("fees_minor", sa.BigInteger(), nullable=False),
        sa.Column("rounding_minor", sa.BigInteger(), nullable=False),
        sa.Column("priced", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("taxes_included", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("customer_name", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("email", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("shipping_address", sa.JSON(), nullable=False),
        sa.Column("billing_address", sa.JSON(), nullable=False),
        sa.Column("own_address", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("own_address_for", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("source", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("shipping_method", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("risk_level", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("on_hold", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("returns_open", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("presentment_currency", sa.String(length=3), server_default=sa.text("''"), nullable=False),
        sa.Column("presentment_minor", sa.BigInteger(), nullable=True),
        sa.Column("tags", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("own_tags", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("details", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status in ('pending', 'open', 'fulfilled', 'cancelled', 'refunded', 'removed')",
            name=op.f("ck_sales_order_status"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "collect_at"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_sales_order_merchant_id_collect_at"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_sales_order_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_sales_order")),
        sa.UniqueConstraint(
            "merchant_id",
            "connection_id",
            "external_id",
            name=op.f("uq_sales_order_merchant_id_connection_id_external_id"),
        ),
    )
    op.create_index("ix_sales_order_connection", "sales_order", ["merchant_id", "connection_id", "placed_at", "id"])
    op.create_index(
        "ix_sales_order_email",
        "sales_order",
        ["merchant_id", "email", "placed_at"],
        sqlite_where=sa.text("email <> ''"),
        postgresql_where=sa.text("email <> ''"),
    )
    op.create_index(
        "ix_sales_order_hold_until",
        "sales_order",
        ["merchant_id", "hold_until"],
        sqlite_where=sa.text("hold_until is not null"),
        postgresql_where=sa.text("hold_until is not null"),
    )
    op.create_index(
        "ix_sales_order_holding",
        "sales_order",
        ["merchant_id", "id"],
        sqlite_where=sa.text("holds_stock = 1"),
        postgresql_where=sa.text("holds_stock"),
    )
    op.create_index(
        "ix_sales_order_on_hold",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("on_hold = 1"),
        postgresql_where=sa.text("on_hold"),
    )
    op.create_index(
        "ix_sales_order_over",
        "sales_order",
        ["merchant_id", "connection_id", "id"],
        sqlite_where=sa.text("erased_at is null and status in ('fulfilled', 'cancelled', 'refunded', 'removed')"),
        postgresql_where=sa.text("erased_at is null and status in ('fulfilled', 'cancelled', 'refunded', 'removed')"),
    )
    op.create_index("ix_sales_order_placed", "sales_order", ["merchant_id", "placed_at", "id"])
    op.create_index(
        "ix_sales_order_promised",
        "sales_order",
        ["merchant_id", "promised_at"],
        sqlite_where=sa.text("status in ('pending', 'open') and promised_at is not null"),
        postgresql_where=sa.text("status in ('pending', 'open') and promised_at is not null"),
    )
    op.create_index(
        "ix_sales_order_returns_open",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("returns_open = 1"),
        postgresql_where=sa.text("returns_open"),
    )
    op.create_index(
        "ix_sales_order_risky",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("risk_level in ('medium', 'high')"),
        postgresql_where=sa.text("risk_level in ('medium', 'high')"),
    )
    op.create_index(
        "ix_sales_order_shipped_by_channel",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("shipped_by_channel = 1"),
        postgresql_where=sa.text("shipped_by_channel"),
    )
    op.create_index("ix_sales_order_status", "sales_order", ["merchant_id", "status", "placed_at", "id"])
    op.create_index(
        "ix_sales_order_test",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("test = 1"),
        postgresql_where=sa.text("test"),
    )
    op.create_index(
        "ix_sales_order_unpaid",
        "sales_order",
        ["merchant_id", "placed_at"],
        sqlite_where=sa.text("paid = 0"),
        postgresql_where=sa.text("not paid"),
    )
    op.create_table(
        "session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_agent", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("network", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "user_id"],
            ["membership.merchant_id", "membership.user_id"],
            name=op.f("fk_session_merchant_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_session")),
    )
    op.create_index("ix_session_user_id", "session", ["user_id"])
    op.create_table(
        "shelf",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("zone", sa.String(length=40), server_default=sa.text("''"), nullable=False),
        sa.Column("name", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_shelf_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_shelf_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "sku_id", "location_id", name=op.f("pk_shelf")),
    )
    op.create_table(
        "sku_pace",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("sold", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("days_left", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_sku_pace_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "sku_id", name=op.f("pk_sku_pace")),
    )
    op.create_index("ix_sku_pace_days_left", "sku_pace", ["merchant_id", "days_left"])
    op.create_table(
        "sku_word",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column(
            "word", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_sku_word_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "sku_id", "word", name=op.f("pk_sku_word")),
    )
    op.create_index("ix_sku_word", "sku_word", ["merchant_id", "word", "sku_id"])
    op.create_table(
        "stock_document",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("to_location_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('done', 'in_transit')", name=op.f("ck_stock_document_state")),
        sa.CheckConstraint("location_id <> to_location_id", name=op.f("ck_stock_document_two_places")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_stock_document_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "to_location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_stock_document_merchant_id_to_location_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_stock_document")),
        sa.UniqueConstraint(
            "merchant_id", "kind", "reference", name=op.f("uq_stock_document_merchant_id_kind_reference")
        ),
    )
    op.create_index(
        "ix_stock_document_in_transit",
        "stock_document",
        ["merchant_id"],
        sqlite_where=sa.text("state = 'in_transit'"),
        postgresql_where=sa.text("state = 'in_transit'"),
    )
    op.create_table(
        "stock_import",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("file_name", sa.String(length=200), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("encoding", sa.String(length=20), nullable=False),
        sa.Column("delimiter", sa.String(length=1), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.Column("header_mark", sa.String(length=64), nullable=False),
        sa.Column("meaning", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("make_skus", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("read_to", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state in ('columns', 'reading', 'preview', 'applying', 'applied', 'undoing', 'undone')",
            name=op.f("ck_stock_import_state"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_stock_import_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_stock_import_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_stock_import")),
    )
    op.create_index("ix_stock_import_header", "stock_import", ["merchant_id", "header_mark", "id"])
    op.create_index(
        "ix_stock_import_open",
        "stock_import",
        ["merchant_id"],
        sqlite_where=sa.text("state in ('reading', 'applying', 'undoing')"),
        postgresql_where=sa.text("state in ('reading', 'applying', 'undoing')"),
    )
    op.create_table(
        "stock_level",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("allocated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("quarantined", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("damaged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("incoming", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("safety_stock", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("allocated + quarantined + damaged <= on_hand", name=op.f("ck_stock_level_never_oversold")),
        sa.CheckConstraint("allocated >= 0", name=op.f("ck_stock_level_allocated")),
        sa.CheckConstraint("damaged >= 0", name=op.f("ck_stock_level_damaged")),
        sa.CheckConstraint("incoming >= 0", name=op.f("ck_stock_level_incoming")),
        sa.CheckConstraint("on_hand >= 0", name=op.f("ck_stock_level_on_hand")),
        sa.CheckConstraint("quarantined >= 0", name=op.f("ck_stock_level_quarantined")),
        sa.CheckConstraint("safety_stock >= 0", name=op.f("ck_stock_level_safety_stock")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_stock_level_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_stock_level_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "sku_id", "location_id", name=op.f("pk_stock_level")),
    )
    op.create_table(
        "task",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.Column("arguments", sa.JSON(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("message", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('waiting', 'running', 'done', 'failed')", name=op.f("ck_task_state")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_task_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_task")),
    )
    op.create_index(
        "ix_task_open",
        "task",
        ["merchant_id", "connection_id"],
        sqlite_where=sa.text("state in ('waiting', 'running')"),
        postgresql_where=sa.text("state in ('waiting', 'running')"),
    )
    op.create_table(
        "word_mapping",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("word", sa.String(length=200), nullable=False),
        sa.Column("meaning", sa.String(length=100), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_word_mapping_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "kind", "word", name=op.f("pk_word_mapping")),
    )
    op.create_table(
        "activity",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("summary", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_activity_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_activity_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_activity_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_activity")),
    )
    op.create_index(
        "ix_activity_actor",
        "activity",
        ["merchant_id", "actor", "at"],
        sqlite_where=sa.text("actor <> ''"),
        postgresql_where=sa.text("actor <> ''"),
    )
    op.create_index("ix_activity_at", "activity", ["merchant_id", "at"])
    op.create_index(
        "ix_activity_connection",
        "activity",
        ["merchant_id", "connection_id", "at"],
        sqlite_where=sa.text("order_id is null"),
        postgresql_where=sa.text("order_id is null"),
    )
    op.create_index("ix_activity_kind", "activity", ["merchant_id", "kind", "at"])
    op.create_index("ix_activity_order", "activity", ["merchant_id", "order_id", "at"])
    op.create_index(
        "ix_activity_people",
        "activity",
        ["merchant_id", "at", "id"],
        sqlite_where=sa.text("actor <> ''"),
        postgresql_where=sa.text("actor <> ''"),
    )
    op.create_table(
        "address_check",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("address", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.String(length=1000), server_default=sa.text("''"), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('asked', 'answered', 'failed')", name=op.f("ck_address_check_state")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_address_check_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_address_check_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_id", name=op.f("pk_address_check")),
    )
    op.create_index(
        "ix_address_check_due_at",
        "address_check",
        ["merchant_id", "connection_id", "due_at"],
        sqlite_where=sa.text("due_at is not null"),
        postgresql_where=sa.text("due_at is not null"),
    )
    op.create_table(
        "authorization",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("state_sha256", sa.String(length=64), nullable=False),
        sa.Column("connector", sa.String(length=40), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("label", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_authorization_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "task_id"],
            ["task.merchant_id", "task.id"],
            name=op.f("fk_authorization_merchant_id_task_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "user_id"],
            ["membership.merchant_id", "membership.user_id"],
            name=op.f("fk_authorization_merchant_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_authorization")),
        sa.UniqueConstraint("merchant_id", "state_sha256", name=op.f("uq_authorization_merchant_id_state_sha256")),
    )
    op.create_table(
        "channel_location_source",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id", "external_id"],
            ["channel_location.merchant_id", "channel_location.connection_id", "channel_location.external_id"],
            name=op.f("fk_channel_location_source_merchant_id_connection_id_external_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_channel_location_source_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "connection_id", "external_id", "location_id", name=op.f("pk_channel_location_source")
        ),
    )
    op.create_index("ix_channel_location_source_location", "channel_location_source", ["merchant_id", "location_id"])
    op.create_table(
        "effect",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("ordering_key", sa.String(length=300), nullable=False),
        sa.Column("effect_key", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unclear", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("look_first", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reference", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "state in ('planned', 'in_flight', 'succeeded', 'failed', 'unknown', 'cancelled')",
            name=op.f("ck_effect_state"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_effect_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_effect_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_effect")),
        sa.UniqueConstraint("merchant_id", "effect_key", name=op.f("uq_effect_merchant_id_effect_key")),
    )
    op.create_index(
        "ix_effect_due",
        "effect",
        ["merchant_id", "connection_id", "due_at"],
        sqlite_where=sa.text("state in ('planned', 'in_flight')"),
        postgresql_where=sa.text("state in ('planned', 'in_flight')"),
    )
    op.create_index("ix_effect_order", "effect", ["merchant_id", "order_id"])
    op.create_index("ix_effect_ordering_key", "effect", ["merchant_id", "ordering_key", "created_at"])
    op.create_index(
        "uq_effect_one_in_flight",
        "effect",
        ["merchant_id", "ordering_key"],
        unique=True,
        sqlite_where=sa.text("state = 'in_flight'"),
        postgresql_where=sa.text("state = 'in_flight'"),
    )
    op.create_table(
        "email",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("occasion", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("subject", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("body", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("html", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("qr", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('waiting', 'sending', 'sent', 'failed', 'unclear', 'erased')", name=op.f("ck_email_state")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_email_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_email_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_email")),
        sa.UniqueConstraint("merchant_id", "occasion", name=op.f("uq_email_merchant_id_occasion")),
    )
    op.create_index(
        "ix_email_due",
        "email",
        ["merchant_id", "connection_id", "due_at"],
        sqlite_where=sa.text("state in ('waiting', 'sending')"),
        postgresql_where=sa.text("state in ('waiting', 'sending')"),
    )
    op.create_index("ix_email_order", "email", ["merchant_id", "order_id"])
    op.create_table(
        "inbox_body",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "inbox_id"],
            ["inbox.merchant_id", "inbox.id"],
            name=op.f("fk_inbox_body_merchant_id_inbox_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "inbox_id", name=op.f("pk_inbox_body")),
    )
    op.create_index("ix_inbox_body_received_at", "inbox_body", ["received_at"])
    op.create_table(
        "issue",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("next_step", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("link", sa.String(length=300), server_default=sa.text("''"), nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_issue_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_issue_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_issue_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_issue")),
    )
    op.create_index("ix_issue_order", "issue", ["merchant_id", "order_id"])
    op.create_index(
        "ix_issue_resolved",
        "issue",
        ["merchant_id", "resolved_at", "id"],
        sqlite_where=sa.text("resolved_at is not null"),
        postgresql_where=sa.text("resolved_at is not null"),
    )
    op.create_index(
        "uq_issue_open",
        "issue",
        ["merchant_id", "kind", "subject"],
        unique=True,
        sqlite_where=sa.text("resolved_at is null"),
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "listing",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("sku_text", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("title", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("barcode", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("tracked", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("price", sa.String(length=40), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default=sa.text("''"), nullable=False),
        sa.Column("handles", sa.JSON(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bound_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("match_act_id", sa.Uuid(), nullable=True),
        sa.Column("ignored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("variant", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("image_url", sa.String(length=1000), server_default=sa.text("''"), nullable=False),
        sa.Column("picture_id", sa.Uuid(), nullable=True),
        sa.Column("weight_grams", sa.Integer(), nullable=True),
        sa.Column("origin_country", sa.String(length=2), server_default=sa.text("''"), nullable=False),
        sa.Column("hs_code", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_listing_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "match_act_id"],
            ["match_act.merchant_id", "match_act.id"],
            name=op.f("fk_listing_merchant_id_match_act_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "picture_id"],
            ["picture.merchant_id", "picture.id"],
            name=op.f("fk_listing_merchant_id_picture_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_listing_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_listing")),
        sa.UniqueConstraint(
            "merchant_id", "connection_id", "external_id", name=op.f("uq_listing_merchant_id_connection_id_external_id")
        ),
    )
    op.create_index(
        "ix_listing_barcode",
        "listing",
        ["merchant_id", "barcode"],
        sqlite_where=sa.text("barcode <> ''"),
        postgresql_where=sa.text("barcode <> ''"),
    )
    op.create_index(
        "ix_listing_match_act",
        "listing",
        ["merchant_id", "match_act_id"],
        sqlite_where=sa.text("match_act_id is not null"),
        postgresql_where=sa.text("match_act_id is not null"),
    )
    op.create_index(
        "ix_listing_picture",
        "listing",
        ["merchant_id", "picture_id"],
        sqlite_where=sa.text("picture_id is not null"),
        postgresql_where=sa.text("picture_id is not null"),
    )
    op.create_index("ix_listing_sku", "listing", ["merchant_id", "sku_id"])
    op.create_index("ix_listing_sku_text", "listing", ["merchant_id", "connection_id", "sku_text"])
    op.create_index("ix_listing_sold", "listing", ["merchant_id", "connection_id", "sku_id"])
    op.create_index(
        "ix_listing_unmatched",
        "listing",
        ["merchant_id", "title", "id"],
        sqlite_where=sa.text("sku_id is null"),
        postgresql_where=sa.text("sku_id is null"),
    )
    op.create_index(
        "ix_listing_unmatched_there",
        "listing",
        ["merchant_id", "connection_id", "title", "id"],
        sqlite_where=sa.text("sku_id is null"),
        postgresql_where=sa.text("sku_id is null"),
    )
    op.create_table(
        "order_hold",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=12), nullable=False),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("placed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "reason in ('payment', 'fraud', 'address', 'backorder', 'cancellation', 'manual')",
            name=op.f("ck_order_hold_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_order_hold_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_order_hold")),
    )
    op.create_index(
        "uq_order_hold_open",
        "order_hold",
        ["merchant_id", "order_id", "reason", "external_id"],
        unique=True,
        sqlite_where=sa.text("released_at is null"),
        postgresql_where=sa.text("released_at is null"),
    )
    op.create_table(
        "order_line",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listing_external_id", sa.String(length=200), nullable=True),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("sku_text", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("title", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fulfilled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("removed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fulfilled_before", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("shipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unit_price", sa.String(length=40), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("requires_shipping", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("kind", sa.String(length=12), server_default=sa.text("'product'"), nullable=False),
        sa.Column("attributes", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("present", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint(
            "quantity >= 0 and fulfilled >= 0 and removed >= 0 and shipped >= 0 and fulfilled_before >= 0",
            name=op.f("ck_order_line_quantities"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_order_line_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_order_line_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_order_line")),
        sa.UniqueConstraint(
            "merchant_id", "order_id", "external_id", name=op.f("uq_order_line_merchant_id_order_id_external_id")
        ),
    )
    op.create_index("ix_order_line_listing", "order_line", ["merchant_id", "listing_external_id"])
    op.create_table(
        "order_version",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_order_version_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_id", "revision", name=op.f("pk_order_version")),
    )
    op.create_table(
        "order_word",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column(
            "word", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column("week", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_order_word_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_id", "word", name=op.f("pk_order_word")),
    )
    op.create_index("ix_order_word_week", "order_word", ["merchant_id", "week", "word", "placed_at", "order_id"])
    op.create_table(
        "picture_file",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("picture_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.String(length=5), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "picture_id"],
            ["picture.merchant_id", "picture.id"],
            name=op.f("fk_picture_file_merchant_id_picture_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "picture_id", "size", name=op.f("pk_picture_file")),
    )
    op.create_table(
        "provider_stock",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("place_external_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("inbound", sa.Integer(), nullable=True),
        sa.Column("reserved", sa.Integer(), nullable=True),
        sa.Column("lots", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unexplained", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id", "name"],
            ["provider_item.merchant_id", "provider_item.connection_id", "provider_item.name"],
            name=op.f("fk_provider_stock_merchant_id_connection_id_name"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id", "place_external_id"],
            ["channel_location.merchant_id", "channel_location.connection_id", "channel_location.external_id"],
            name=op.f("fk_provider_stock_merchant_id_connection_id_place_external_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "connection_id", "place_external_id", "name", name=op.f("pk_provider_stock")
        ),
    )
    op.create_table(
        "refund",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("refunded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lines", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_refund_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_id", "external_id", name=op.f("pk_refund")),
    )
    op.create_table(
        "routing_decision",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("policy_number", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.Column("summary", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_routing_decision_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_routing_decision")),
    )
    op.create_index("ix_routing_decision_at", "routing_decision", ["merchant_id", "at", "id"])
    op.create_index("ix_routing_decision_order", "routing_decision", ["merchant_id", "order_id", "at"])
    op.create_table(
        "routing_mark",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_routing_mark_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_id", "id", name=op.f("pk_routing_mark")),
    )
    op.create_index("ix_routing_mark_due", "routing_mark", ["merchant_id", "connection_id", "due_at"])
    op.create_table(
        "stock_document_line",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=True),
        sa.Column("arrived", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lost", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "quantity >= 0 and arrived >= 0 and lost >= 0", name=op.f("ck_stock_document_line_quantities")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "document_id"],
            ["stock_document.merchant_id", "stock_document.id"],
            name=op.f("fk_stock_document_line_merchant_id_document_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_stock_document_line_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "document_id", "sku_id", name=op.f("pk_stock_document_line")),
    )
    op.create_index("ix_stock_document_line_sku", "stock_document_line", ["merchant_id", "sku_id"])
    op.create_table(
        "stock_entry",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("on_hand_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("allocated_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("quarantined_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("damaged_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("incoming_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("allocated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("quarantined", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("damaged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("incoming", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(on_hand_delta, allocated_delta, quarantined_delta, damaged_delta, incoming_delta) <> (0, 0, 0, 0, 0)",
            name=op.f("ck_stock_entry_says_something"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id", "location_id"],
            ["stock_level.merchant_id", "stock_level.sku_id", "stock_level.location_id"],
            name=op.f("fk_stock_entry_merchant_id_sku_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "sku_id", "location_id", "number", name=op.f("pk_stock_entry")),
        sa.UniqueConstraint(
            "merchant_id",
            "sku_id",
            "location_id",
            "cause",
            "reference",
            name=op.f("uq_stock_entry_merchant_id_sku_id_location_id_cause_reference"),
        ),
    )
    op.create_index(
        "ix_stock_entry_order",
        "stock_entry",
        ["merchant_id", "order_id", "at"],
        sqlite_where=sa.text("order_id is not null"),
        postgresql_where=sa.text("order_id is not null"),
    )
    op.create_table(
        "stock_import_row",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("location_id", sa.Uuid(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("after", sa.Integer(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("problem", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=True),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "document_id"],
            ["stock_document.merchant_id", "stock_document.id"],
            name=op.f("fk_stock_import_row_merchant_id_document_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "import_id"],
            ["stock_import.merchant_id", "stock_import.id"],
            name=op.f("fk_stock_import_row_merchant_id_import_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_stock_import_row_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_stock_import_row_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "import_id", "line", name=op.f("pk_stock_import_row")),
    )
    op.create_index("ix_stock_import_row_state", "stock_import_row", ["merchant_id", "import_id", "state", "line"])
    op.create_table(
        "allocation",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_allocation_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_allocation_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id", "location_id"],
            ["stock_level.merchant_id", "stock_level.sku_id", "stock_level.location_id"],
            name=op.f("fk_allocation_merchant_id_sku_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id", "location_id", name=op.f("pk_allocation")),
    )
    op.create_index("ix_allocation_sku", "allocation", ["merchant_id", "sku_id", "location_id"])
    op.create_table(
        "backorder",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("per_unit", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("rank", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("woken", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("per_unit > 0", name=op.f("ck_backorder_per_unit")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_backorder_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_backorder_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_backorder_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id", name=op.f("pk_backorder")),
    )
    op.create_index("ix_backorder_group", "backorder", ["merchant_id", "group_id"])
    op.create_index(
        "ix_backorder_queue",
        "backorder",
        ["merchant_id", "sku_id", "rank", "since", "order_line_id"],
        sqlite_where=sa.text("missing = 1 or woken = 1"),
        postgresql_where=sa.text("missing or woken"),
    )
    op.create_index(
        "ix_backorder_woken",
        "backorder",
        ["merchant_id", "rank", "since"],
        sqlite_where=sa.text("woken = 1"),
        postgresql_where=sa.text("woken"),
    )
    op.create_table(
        "document",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("effect_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("format", sa.String(length=4), nullable=False),
        sa.Column("tracking_number", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "effect_id"],
            ["effect.merchant_id", "effect.id"],
            name=op.f("fk_document_merchant_id_effect_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_document_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_document")),
    )
    op.create_index("ix_document_effect", "document", ["merchant_id", "effect_id"])
    op.create_index("ix_document_order", "document", ["merchant_id", "order_id"])
    op.create_table(
        "exchange",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lane", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("received", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("method", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("host", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("path", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("request_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("response_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tells", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("effect_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_exchange_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "effect_id"],
            ["effect.merchant_id", "effect.id"],
            name=op.f("fk_exchange_merchant_id_effect_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_exchange_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "connection_id", "id", name=op.f("pk_exchange")),
    )
    op.create_index(
        "ix_exchange_effect",
        "exchange",
        ["merchant_id", "effect_id", "id"],
        sqlite_where=sa.text("effect_id is not null"),
        postgresql_where=sa.text("effect_id is not null"),
    )
    op.create_index(
        "ix_exchange_order",
        "exchange",
        ["merchant_id", "order_id", "id"],
        sqlite_where=sa.text("order_id is not null"),
        postgresql_where=sa.text("order_id is not null"),
    )
    op.create_table(
        "fulfillment_order",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(length=35), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("decision_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("handles", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("message", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_state", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("collect", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("collection_code", sa.String(length=12), server_default=sa.text("''"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("service", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("ship_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("packed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('open', 'packed', 'ready', 'requested', 'accepted', 'in_progress', 'shipped', 'collected', 'rejected', 'cancelling', 'cancelled', 'delivered')",
            name=op.f("ck_fulfillment_order_state"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_fulfillment_order_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "decision_id"],
            ["routing_decision.merchant_id", "routing_decision.id"],
            name=op.f("fk_fulfillment_order_merchant_id_decision_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "location_id"],
            ["location.merchant_id", "location.id"],
            name=op.f("fk_fulfillment_order_merchant_id_location_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_fulfillment_order_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_fulfillment_order")),
        sa.UniqueConstraint(
            "merchant_id", "order_id", "number", name=op.f("uq_fulfillment_order_merchant_id_order_id_number")
        ),
        sa.UniqueConstraint("merchant_id", "reference", name=op.f("uq_fulfillment_order_merchant_id_reference")),
    )
    op.create_index(
        "ix_fulfillment_order_ship_by",
        "fulfillment_order",
        ["merchant_id", "ship_by", "order_id"],
        sqlite_where=sa.text("closed_at is null and ship_by is not null"),
        postgresql_where=sa.text("closed_at is null and ship_by is not null"),
    )
    op.create_index(
        "ix_fulfillment_order_to_do",
        "fulfillment_order",
        ["merchant_id", "location_id", "priority", "created_at"],
        sqlite_where=sa.text("closed_at is null"),
        postgresql_where=sa.text("closed_at is null"),
    )
    op.create_table(
        "order_line_part",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_line_part_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_order_line_part_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_order_line_part_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "order_line_id", "sku_id", name=op.f("pk_order_line_part")),
    )
    op.create_table(
        "preview_figure",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("location_external_id", sa.String(length=200), nullable=False),
        sa.Column("says", sa.Integer(), nullable=True),
        sa.Column("writes", sa.Integer(), nullable=False),
        sa.Column("change", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_preview_figure_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "listing_id"],
            ["listing.merchant_id", "listing.id"],
            name=op.f("fk_preview_figure_merchant_id_listing_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "listing_id", "location_external_id", name=op.f("pk_preview_figure")),
    )
    op.create_index(
        "ix_preview_figure_change",
        "preview_figure",
        ["merchant_id", "connection_id", "change", "listing_id", "location_external_id"],
    )
    op.create_table(
        "publication",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("location_external_id", sa.String(length=200), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("published_version", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("left_quantity", sa.Integer(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dirty_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.JSON(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verify_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("explain_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("pending_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id", "location_external_id"],
            ["channel_location.merchant_id", "channel_location.connection_id", "channel_location.external_id"],
            name=op.f("fk_publication_merchant_id_connection_id_location_external_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "listing_id"],
            ["listing.merchant_id", "listing.id"],
            name=op.f("fk_publication_merchant_id_listing_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "listing_id", "location_external_id", name=op.f("pk_publication")),
    )
    op.create_index(
        "ix_publication_dirty",
        "publication",
        ["merchant_id", "connection_id", "dirty_since", "listing_id"],
        sqlite_where=sa.text("version > published_version"),
        postgresql_where=sa.text("version > published_version"),
    )
    op.create_index(
        "ix_publication_failing",
        "publication",
        ["merchant_id", "connection_id"],
        sqlite_where=sa.text("error <> ''"),
        postgresql_where=sa.text("error <> ''"),
    )
    op.create_index(
        "ix_publication_verify",
        "publication",
        ["merchant_id", "connection_id", "verify_at"],
        sqlite_where=sa.text("verify_at is not null"),
        postgresql_where=sa.text("verify_at is not null"),
    )
    op.create_table(
        "publication_entry",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("location_external_id", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cause", sa.JSON(), nullable=True),
        sa.Column("basis", sa.JSON(), nullable=True),
        sa.Column("dirty_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "listing_id"],
            ["listing.merchant_id", "listing.id"],
            name=op.f("fk_publication_entry_merchant_id_listing_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_publication_entry")),
    )
    op.create_index("ix_publication_entry_listing", "publication_entry", ["merchant_id", "listing_id", "at"])
    op.create_table(
        "selling_rule",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.String(length=120), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("buffer_units", sa.Integer(), nullable=True),
        sa.Column("buffer_percent", sa.Integer(), nullable=True),
        sa.Column("stop_at", sa.Integer(), nullable=True),
        sa.Column("maximum", sa.Integer(), nullable=True),
        sa.Column("share_percent", sa.Integer(), nullable=True),
        sa.Column("backorder_limit", sa.Integer(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "buffer_percent between 0 and 100 and share_percent between 0 and 100", name=op.f("ck_selling_rule_percent")
        ),
        sa.CheckConstraint(
            "buffer_units >= 0 and stop_at >= 0 and maximum >= 0 and backorder_limit >= 0",
            name=op.f("ck_selling_rule_units"),
        ),
        sa.CheckConstraint(
            "listing_id is null or (connection_id is null and sku_id is null)", name=op.f("ck_selling_rule_one_scope")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_selling_rule_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "listing_id"],
            ["listing.merchant_id", "listing.id"],
            name=op.f("fk_selling_rule_merchant_id_listing_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_selling_rule_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_selling_rule_merchant_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_selling_rule")),
        sa.UniqueConstraint("merchant_id", "scope", name=op.f("uq_selling_rule_merchant_id_scope")),
    )
    op.create_table(
        "shortage",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("units", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("taken", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_shortage_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_shortage_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_shortage")),
    )
    op.create_index("ix_shortage_order", "shortage", ["merchant_id", "order_id"])
    op.create_index("ix_shortage_sku", "shortage", ["merchant_id", "sku_id", "at"])
    op.create_table(
        "fulfillment_line",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("packed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("shipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "packed <= quantity and shipped <= quantity", name=op.f("ck_fulfillment_line_no_more_than_asked")
        ),
        sa.CheckConstraint(
            "quantity > 0 and packed >= 0 and shipped >= 0", name=op.f("ck_fulfillment_line_quantities")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_fulfillment_line_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_fulfillment_line_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "fulfillment_order_id", "order_line_id", name=op.f("pk_fulfillment_line")
        ),
    )
    op.create_index("ix_fulfillment_line_order_line", "fulfillment_line", ["merchant_id", "order_line_id"])
    op.create_table(
        "packed_together",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("lead_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("joined_by", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_packed_together_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "lead_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_packed_together_merchant_id_lead_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_packed_together_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "lead_id", "fulfillment_order_id", name=op.f("pk_packed_together")),
    )
    op.create_index("ix_packed_together_fulfillment_order", "packed_together", ["merchant_id", "fulfillment_order_id"])
    op.create_index("ix_packed_together_order", "packed_together", ["merchant_id", "order_id"])
    op.create_table(
        "packing",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("packer", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("parcel", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_packing_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "fulfillment_order_id", name=op.f("pk_packing")),
    )
    op.create_table(
        "packing_parcel",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("box_id", sa.Uuid(), nullable=True),
        sa.Column("weight_grams", sa.Integer(), nullable=True),
        sa.CheckConstraint("number > 0 and weight_grams > 0", name=op.f("ck_packing_parcel_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "box_id"],
            ["box.merchant_id", "box.id"],
            name=op.f("fk_packing_parcel_merchant_id_box_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_packing_parcel_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "fulfillment_order_id", "number", name=op.f("pk_packing_parcel")),
    )
    op.create_table(
        "pending_push",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("location_external_id", sa.String(length=200), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(length=500), nullable=False),
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cause", sa.JSON(), nullable=True),
        sa.Column("basis", sa.JSON(), nullable=True),
        sa.Column("dirty_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ask_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "listing_id", "location_external_id"],
            ["publication.merchant_id", "publication.listing_id", "publication.location_external_id"],
            name=op.f("fk_pending_push_merchant_id_listing_id_location_external_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_pending_push")),
    )
    op.create_index("ix_pending_push_ask", "pending_push", ["merchant_id", "connection_id", "ask_at"])
    op.create_index("ix_pending_push_listing", "pending_push", ["merchant_id", "listing_id", "location_external_id"])
    op.create_table(
        "shipment",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(length=35), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("''"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_return", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("effect_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("label", sa.JSON(), nullable=True),
        sa.Column("rates_wanted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rates_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rates", sa.JSON(), nullable=True),
        sa.Column("choice", sa.JSON(), nullable=True),
        sa.Column("carrier", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("service", sa.String(length=120), server_default=sa.text("''"), nullable=False),
        sa.Column("tracking_numbers", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("tracking_url", sa.String(length=1000), server_default=sa.text("''"), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), server_default=sa.text("''"), nullable=False),
        sa.Column("tracking_status", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("tracked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("track_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("documents_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("follow_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_ask_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deliver_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promised_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("supersedes_id", sa.Uuid(), nullable=True),
        sa.Column("channel_reference", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("labelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint(
            "state in ('draft', 'buying', 'labelled', 'shipped', 'void', 'failed')", name=op.f("ck_shipment_state")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_shipment_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "effect_id"],
            ["effect.merchant_id", "effect.id"],
            name=op.f("fk_shipment_merchant_id_effect_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_shipment_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_shipment_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "supersedes_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_shipment_merchant_id_supersedes_id"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_shipment")),
        sa.UniqueConstraint("merchant_id", "reference", name=op.f("uq_shipment_merchant_id_reference")),
    )
    op.create_index("ix_shipment_created_at", "shipment", ["merchant_id", "created_at", "id"])
    op.create_index(
        "ix_shipment_documents_at",
        "shipment",
        ["merchant_id", "connection_id", "documents_at"],
        sqlite_where=sa.text("documents_at is not null"),
        postgresql_where=sa.text("documents_at is not null"),
    )
    op.create_index("ix_shipment_external_id", "shipment", ["merchant_id", "connection_id", "external_id"])
    op.create_index(
        "ix_shipment_follow_at",
        "shipment",
        ["merchant_id", "connection_id", "follow_at"],
        sqlite_where=sa.text("follow_at is not null"),
        postgresql_where=sa.text("follow_at is not null"),
    )
    op.create_index("ix_shipment_fulfillment_order", "shipment", ["merchant_id", "fulfillment_order_id"])
    op.create_index(
        "ix_shipment_labelled_at",
        "shipment",
        ["merchant_id", "labelled_at"],
        sqlite_where=sa.text("labelled_at is not null"),
        postgresql_where=sa.text("labelled_at is not null"),
    )
    op.create_index("ix_shipment_order", "shipment", ["merchant_id", "order_id"])
    op.create_index(
        "ix_shipment_rates_wanted",
        "shipment",
        ["merchant_id", "rates_wanted_at"],
        sqlite_where=sa.text("rates_wanted_at is not null"),
        postgresql_where=sa.text("rates_wanted_at is not null"),
    )
    op.create_index(
        "ix_shipment_shipped",
        "shipment",
        ["merchant_id", "shipped_at"],
        sqlite_where=sa.text("shipped_at is not null"),
        postgresql_where=sa.text("shipped_at is not null"),
    )
    op.create_index("ix_shipment_state", "shipment", ["merchant_id", "state", "created_at"])
    op.create_index(
        "ix_shipment_supersedes",
        "shipment",
        ["merchant_id", "supersedes_id"],
        sqlite_where=sa.text("supersedes_id is not null"),
        postgresql_where=sa.text("supersedes_id is not null"),
    )
    op.create_index(
        "ix_shipment_track_at",
        "shipment",
        ["merchant_id", "connection_id", "track_at"],
        sqlite_where=sa.text("track_at is not null"),
        postgresql_where=sa.text("track_at is not null"),
    )
    op.create_index(
        "ix_shipment_trouble",
        "shipment",
        ["merchant_id", "created_at"],
        sqlite_where=sa.text("tracking_status in ('exception', 'returning')"),
        postgresql_where=sa.text("tracking_status in ('exception', 'returning')"),
    )
    op.create_index(
        "ix_shipment_void_ask_at",
        "shipment",
        ["merchant_id", "connection_id", "void_ask_at"],
        sqlite_where=sa.text("void_ask_at is not null"),
        postgresql_where=sa.text("void_ask_at is not null"),
    )
    op.create_index(
        "ix_shipment_withdrawn",
        "shipment",
        ["merchant_id", "created_at"],
        sqlite_where=sa.text("withdrawn_at is not null and state <> 'void'"),
        postgresql_where=sa.text("withdrawn_at is not null and state <> 'void'"),
    )
    op.create_table(
        "bulk_act_row",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("act_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=10), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("said", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('waiting', 'done', 'refused', 'failed', 'stopped')", name=op.f("ck_bulk_act_row_state")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "act_id"],
            ["bulk_act.merchant_id", "bulk_act.id"],
            name=op.f("fk_bulk_act_row_merchant_id_act_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["connection.merchant_id", "connection.id"],
            name=op.f("fk_bulk_act_row_merchant_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_bulk_act_row_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_bulk_act_row_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "act_id", "number", name=op.f("pk_bulk_act_row")),
        sa.UniqueConstraint(
            "merchant_id", "act_id", "shipment_id", name=op.f("uq_bulk_act_row_merchant_id_act_id_shipment_id")
        ),
    )
    op.create_index(
        "ix_bulk_act_row_order",
        "bulk_act_row",
        ["merchant_id", "act_id", "order_id"],
        unique=True,
        sqlite_where=sa.text("shipment_id is null"),
        postgresql_where=sa.text("shipment_id is null"),
    )
    op.create_index(
        "ix_bulk_act_row_waiting",
        "bulk_act_row",
        ["merchant_id", "connection_id", "act_id", "number"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "packing_scan",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=True),
        sa.Column("sku_id", sa.Uuid(), nullable=True),
        sa.Column("parcel", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("units", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("said", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("packer", sa.String(length=320), server_default=sa.text("''"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipment_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("units in (0, 1)", name=op.f("ck_packing_scan_units")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_packing_scan_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_packing_scan_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_packing_scan_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_packing_scan_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_packing_scan")),
        sa.UniqueConstraint(
            "merchant_id",
            "fulfillment_order_id",
            "number",
            name=op.f("uq_packing_scan_merchant_id_fulfillment_order_id_number"),
        ),
    )
    op.create_table(
        "parcel",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("weight_grams", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("length_mm", sa.Integer(), nullable=True),
        sa.Column("width_mm", sa.Integer(), nullable=True),
        sa.Column("height_mm", sa.Integer(), nullable=True),
        sa.Column("packaging", sa.String(length=60), server_default=sa.text("''"), nullable=False),
        sa.Column("tracking_number", sa.String(length=100), server_default=sa.text("''"), nullable=False),
        sa.Column("tracking_status", sa.String(length=20), server_default=sa.text("''"), nullable=False),
        sa.Column("tracked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("weight_grams >= 0", name=op.f("ck_parcel_weight")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_parcel_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "id", name=op.f("pk_parcel")),
        sa.UniqueConstraint(
            "merchant_id", "shipment_id", "number", name=op.f("uq_parcel_merchant_id_shipment_id_number")
        ),
    )
    op.create_index("ix_parcel_tracking_number", "parcel", ["merchant_id", "tracking_number"])
    op.create_table(
        "shipment_companion",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("fulfillment_order_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.String(length=35), nullable=False),
        sa.Column("channel_reference", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "fulfillment_order_id"],
            ["fulfillment_order.merchant_id", "fulfillment_order.id"],
            name=op.f("fk_shipment_companion_merchant_id_fulfillment_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["sales_order.merchant_id", "sales_order.id"],
            name=op.f("fk_shipment_companion_merchant_id_order_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_shipment_companion_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "shipment_id", "fulfillment_order_id", name=op.f("pk_shipment_companion")
        ),
        sa.UniqueConstraint("merchant_id", "reference", name=op.f("uq_shipment_companion_merchant_id_reference")),
    )
    op.create_index(
        "ix_shipment_companion_fulfillment_order", "shipment_companion", ["merchant_id", "fulfillment_order_id"]
    )
    op.create_index("ix_shipment_companion_order", "shipment_companion", ["merchant_id", "order_id"])
    op.create_table(
        "shipped_part",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("sku_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lots", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("serial_numbers", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_shipped_part_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_shipped_part_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_shipped_part_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sku_id"],
            ["sku.merchant_id", "sku.id"],
            name=op.f("fk_shipped_part_merchant_id_sku_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "shipment_id", "order_line_id", "sku_id", name=op.f("pk_shipped_part")),
    )
    op.create_index("ix_shipped_part_order_line", "shipped_part", ["merchant_id", "order_line_id"])
    op.create_table(
        "tracking_event",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("shipment_id", sa.Uuid(), nullable=False),
        sa.Column("tracking_number", sa.String(length=100), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("carrier_status", sa.String(length=120), nullable=False),
        sa.Column("message", sa.String(length=500), server_default=sa.text("''"), nullable=False),
        sa.Column("place", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shipment_id"],
            ["shipment.merchant_id", "shipment.id"],
            name=op.f("fk_tracking_event_merchant_id_shipment_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id",
            "shipment_id",
            "tracking_number",
            "happened_at",
            "status",
            "carrier_status",
            name=op.f("pk_tracking_event"),
        ),
    )
    op.create_table(
        "parcel_line",
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("parcel_id", sa.Uuid(), nullable=False),
        sa.Column("order_line_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lots", sa.JSON(), nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_parcel_line_quantity")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_line_id"],
            ["order_line.merchant_id", "order_line.id"],
            name=op.f("fk_parcel_line_merchant_id_order_line_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "parcel_id"],
            ["parcel.merchant_id", "parcel.id"],
            name=op.f("fk_parcel_line_merchant_id_parcel_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("merchant_id", "parcel_id", "order_line_id", name=op.f("pk_parcel_line")),
    )
    op.create_index("ix_parcel_line_order_line", "parcel_line", ["merchant_id", "order_line_id"])
    for table in ("stock_entry", "publication_entry", "shortage"):
        _refuse_changes(table)
    if op.get_bind().dialect.name == "postgresql":
        # Words are many and uneven: with the usual sample, the beginning of a name is taken for one row instead of thousands.
        op.execute("alter table order_word alter column word set statistics 1000")


def _refuse_changes(table: str) -> None:
    """Ledgers are append-only: the database itself refuses to change or delete a line."""
    message = f"{table} is append-only"
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"create trigger {table}_no_{verb} before {verb} on {table} begin select raise(abort, '{message}'); end"
            )
        return
    op.execute(
        f"create function {table}_append_only() returns trigger language plpgsql as "
        f"$$ begin raise exception '{message}' using errcode = 'integrity_constraint_violation'; end $$"
    )
    op.execute(
        f"create trigger {table}_append_only before update or delete on {table} "
        f"for each row execute function {table}_append_only()"
    )
