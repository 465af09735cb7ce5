"""Data sets, the model registry, and what a job's parameters named."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("caller_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_models_name_not_empty")),
        sa.ForeignKeyConstraint(["caller_id"], ["callers.id"], name=op.f("fk_models_caller_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_index("ix_models_kind", "models", ["kind"], unique=False)
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("caller_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["caller_id"], ["callers.id"], name=op.f("fk_alias_moves_caller_id")),
        sa.ForeignKeyConstraint(["name"], ["models.name"], name=op.f("fk_alias_moves_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alias_moves_name", "alias_moves", ["name", "alias", "id"], unique=False)
    op.create_table(
        "datasets",
        sa.Column("caller_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_datasets_name_not_empty")),
        sa.CheckConstraint("length(content) = 64", name=op.f("ck_datasets_content_is_sha256")),
        sa.ForeignKeyConstraint(["caller_id"], ["callers.id"], name=op.f("fk_datasets_caller_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_datasets_job_id")),
        sa.PrimaryKeyConstraint("caller_id", "name", name=op.f("pk_datasets")),
    )
    op.create_index("ix_datasets_job_id", "datasets", ["job_id"], unique=False)
    op.create_table(
        "model_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("shipped", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("caller_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.CheckConstraint(
            "(state = 'ready') = (manifest IS NOT NULL)", name=op.f("ck_model_versions_only_ready_has_manifest")
        ),
        sa.CheckConstraint("state = 'ready' OR job_id IS NOT NULL", name=op.f("ck_model_versions_reserved_by_a_job")),
        sa.CheckConstraint("state IN ('reserved', 'ready')", name=op.f("ck_model_versions_state_known")),
        sa.CheckConstraint("length(content) = 64", name=op.f("ck_model_versions_content_is_sha256")),
        sa.CheckConstraint("number > 0", name=op.f("ck_model_versions_number_from_1")),
        sa.ForeignKeyConstraint(["caller_id"], ["callers.id"], name=op.f("fk_model_versions_caller_id")),
        sa.ForeignKeyConstraint(["name"], ["models.name"], name=op.f("fk_model_versions_name")),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_model_versions")),
    )
    op.create_index("ix_model_versions_content", "model_versions", ["name", "content"], unique=False)
    op.create_index("uq_model_versions_job_id", "model_versions", ["job_id"], unique=True)
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.CheckConstraint("alias <> ''", name=op.f("ck_aliases_alias_not_empty")),
        sa.ForeignKeyConstraint(
            ["name", "number"], ["model_versions.name", "model_versions.number"], name=op.f("fk_aliases_name_number")
        ),
        sa.PrimaryKeyConstraint("name", "alias", name=op.f("pk_aliases")),
    )
    op.create_table(
        "version_files",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size >= 0", name=op.f("ck_version_files_size_not_negative")),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_version_files_digest")),
        sa.ForeignKeyConstraint(
            ["name", "number"],
            ["model_versions.name", "model_versions.number"],
            name=op.f("fk_version_files_name_number"),
        ),
        sa.PrimaryKeyConstraint("name", "number", "path", name=op.f("pk_version_files")),
    )
    op.create_index("ix_version_files_digest", "version_files", ["digest"], unique=False)
    op.add_column("jobs", sa.Column("pins", sa.Text(), nullable=True))
