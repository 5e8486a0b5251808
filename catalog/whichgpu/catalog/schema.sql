CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);

CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");

CREATE TABLE "findings" (
   "identity" TEXT PRIMARY KEY NOT NULL,
   "kind" TEXT NOT NULL,
   "about" TEXT,
   "model" TEXT NOT NULL,
   "commit_sha" TEXT,
   "origin" TEXT NOT NULL,
   "made_at" TEXT NOT NULL,
   "made_by" TEXT NOT NULL,
   "tool_version" TEXT NOT NULL,
   "facts_date" TEXT,
   "local_path" TEXT,
   "private" INTEGER NOT NULL,
   "body" BLOB NOT NULL
);

CREATE INDEX "idx_findings_model_kind_made_at"
    ON "findings" ("model", "kind", "made_at");

CREATE INDEX "idx_findings_made_at"
    ON "findings" ("made_at");

CREATE INDEX "idx_findings_about"
    ON "findings" ("about");

CREATE TABLE "people" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "host" TEXT
);

CREATE TABLE "heads" (
   "model" TEXT,
   "revision" TEXT,
   "commit_sha" TEXT NOT NULL,
   "confirmed_at" TEXT NOT NULL,
   PRIMARY KEY ("model", "revision")
);

CREATE TABLE "lookups" (
   "model" TEXT,
   "commit_sha" TEXT,
   "asked" TEXT,
   "tool_version" TEXT,
   "identity" TEXT NOT NULL,
   PRIMARY KEY ("model", "commit_sha", "asked", "tool_version")
);

CREATE TABLE "stale" (
   "model" TEXT PRIMARY KEY
);

CREATE TABLE "shared" (
   "target" TEXT,
   "identity" TEXT,
   PRIMARY KEY ("target", "identity")
);

CREATE TABLE "bundles" (
   "target" TEXT,
   "name" TEXT,
   "read_at" TEXT,
   PRIMARY KEY ("target", "name")
);

CREATE TABLE "marks" (
   "name" TEXT PRIMARY KEY,
   "value" INTEGER NOT NULL
);

CREATE TABLE "unchanged" (
   "identity" TEXT PRIMARY KEY,
   "facts" TEXT NOT NULL
);

CREATE TABLE "remembered" (
   "key" TEXT PRIMARY KEY,
   "body" BLOB NOT NULL,
   "used_at" TEXT NOT NULL
);

CREATE TABLE "inspections" (
   "identity" TEXT PRIMARY KEY NOT NULL,
   "model" TEXT NOT NULL,
   "commit_sha" TEXT,
   "grade" TEXT,
   "classes" TEXT,
   "label" TEXT,
   "architecture" TEXT,
   "parameters" INTEGER,
   "active_parameters" INTEGER,
   "context" INTEGER,
   "weights_bytes" INTEGER,
   "published" TEXT,
   "tensor_groups" INTEGER,
   "licence" TEXT,
   "gated" INTEGER,
   "modified" TEXT
);

CREATE TABLE "plans" (
   "identity" TEXT,
   "position" INTEGER,
   "model" TEXT NOT NULL,
   "accelerator" TEXT NOT NULL,
   "cards" INTEGER,
   "layout" TEXT,
   "precision" TEXT,
   "context" INTEGER,
   "concurrency" INTEGER,
   "vllm" TEXT,
   "verdict" TEXT NOT NULL,
   "recommended" INTEGER,
   "usd_per_hour" REAL,
   "tokens_per_second" REAL,
   "tpot_ms" REAL,
   "usd_per_million_output" REAL,
   "pool_bytes" INTEGER,
   "headroom_bytes" INTEGER,
   PRIMARY KEY ("identity", "position")
);

CREATE TABLE "trials" (
   "identity" TEXT PRIMARY KEY,
   "model" TEXT NOT NULL,
   "accelerator" TEXT NOT NULL,
   "cards" INTEGER,
   "vllm" TEXT,
   "layout" TEXT,
   "precision" TEXT,
   "context" INTEGER,
   "concurrency" INTEGER,
   "input_tokens" INTEGER,
   "output_tokens" INTEGER,
   "succeeded" INTEGER,
   "weights_bytes" INTEGER,
   "predicted_weights_bytes" INTEGER,
   "pool_bytes" INTEGER,
   "predicted_pool_bytes" INTEGER,
   "tokens_per_second" REAL,
   "predicted_tokens_per_second" REAL,
   "tpot_ms" REAL,
   "predicted_tpot_ms" REAL,
   "ttft_ms" REAL,
   "usd_per_million_output" REAL,
   "tokens_per_joule" REAL
);

CREATE TABLE "prices" (
   "identity" TEXT PRIMARY KEY,
   "accelerator" TEXT NOT NULL,
   "usd_per_hour" REAL NOT NULL,
   "provider" TEXT NOT NULL,
   "kind" TEXT NOT NULL,
   "date" TEXT,
   "source" TEXT NOT NULL,
   "region" TEXT,
   "count" INTEGER,
   "instance" TEXT,
   "contract" INTEGER NOT NULL,
   "withdrawn" INTEGER NOT NULL,
   "at" TEXT NOT NULL
);

CREATE TABLE "notes" (
   "identity" TEXT PRIMARY KEY,
   "model" TEXT NOT NULL,
   "text" TEXT NOT NULL,
   "at" TEXT NOT NULL,
   "by" TEXT NOT NULL
);

CREATE TABLE "tags" (
   "identity" TEXT PRIMARY KEY,
   "model" TEXT NOT NULL,
   "tag" TEXT NOT NULL,
   "attached" INTEGER NOT NULL,
   "at" TEXT NOT NULL,
   "by" TEXT NOT NULL
);

CREATE TABLE "models" (
   "model" TEXT PRIMARY KEY NOT NULL,
   "words" TEXT NOT NULL,
   "identity" TEXT,
   "made_at" TEXT
);

CREATE INDEX "idx_inspections_model"
    ON "inspections" ("model");

CREATE INDEX "idx_trials_model"
    ON "trials" ("model");

CREATE INDEX "idx_notes_model_by_at_identity"
    ON "notes" ("model", "by", "at", "identity");

CREATE INDEX "idx_tags_model_tag_at_identity"
    ON "tags" ("model", "tag", "at", "identity");

CREATE INDEX "idx_plans_model_verdict_usd_per_hour"
    ON "plans" ("model", "verdict", "usd_per_hour");

CREATE INDEX "idx_plans_accelerator"
    ON "plans" ("accelerator");

CREATE INDEX "idx_inspections_parameters"
    ON "inspections" ("parameters");

CREATE INDEX "idx_prices_provider_contract_accelerator_at"
    ON "prices" ("provider", "contract", "accelerator", "at");

CREATE INDEX "idx_models_made_at"
    ON "models" ("made_at");

CREATE VIRTUAL TABLE "models_fts" USING FTS5 (
    "model", "words",
    tokenize='unicode61 tokenchars ''.''',
    content="models"
);

CREATE VIEW "latest_findings" AS SELECT f.model, i.label, i.classes, i.parameters, f.commit_sha, f.made_at, f.tool_version, f.identity
FROM findings AS f JOIN inspections AS i USING (identity)
WHERE f.made_at = (SELECT max(made_at) FROM findings WHERE model = f.model AND kind = 'inspection');

CREATE VIEW "cheapest_plans" AS SELECT model, context, concurrency, precision, accelerator, cards, layout, min(usd_per_hour) AS usd_per_hour,
  tokens_per_second, usd_per_million_output, identity
FROM plans WHERE verdict = 'fits' AND usd_per_hour IS NOT NULL GROUP BY model, context, concurrency, precision;

CREATE VIEW "measured_vs_predicted" AS SELECT model, accelerator, cards, layout, vllm, concurrency, pool_bytes, predicted_pool_bytes,
  round(100.0 * (predicted_pool_bytes - pool_bytes) / nullif(pool_bytes, 0), 2) AS pool_error_pct,
  tokens_per_second, predicted_tokens_per_second,
  round(100.0 * (predicted_tokens_per_second - tokens_per_second) / nullif(tokens_per_second, 0), 2) AS rate_error_pct,
  identity
FROM trials WHERE succeeded = 1;

CREATE VIEW "current_tags" AS SELECT t.model, t.tag, t.at, t.by FROM tags AS t
WHERE t.attached = 1 AND t.identity = (SELECT identity FROM tags WHERE model = t.model AND tag = t.tag
  ORDER BY at DESC, identity DESC LIMIT 1);

CREATE VIEW "current_notes" AS SELECT n.model, n.text, n.at, n.by FROM notes AS n
WHERE n.text != '' AND n.identity = (SELECT identity FROM notes WHERE model = n.model AND by = n.by
  ORDER BY at DESC, identity DESC LIMIT 1);

CREATE VIEW "fleet" AS SELECT p.model, p.accelerator, p.cards, p.layout, p.precision, p.usd_per_hour, p.tokens_per_second,
  p.usd_per_million_output, f.made_at
FROM plans AS p JOIN findings AS f USING (identity) JOIN current_tags AS t ON t.model = p.model AND t.tag = 'served'
WHERE p.recommended = 1 AND f.made_at = (SELECT max(g.made_at) FROM findings AS g
  WHERE g.model = p.model AND g.kind = 'answer');

INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm001_findings', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));

INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm002_team', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));

INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm003_terms', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));

INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm004_renewed', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'));

INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('whichgpu', 'm005_remembered', strftime('%Y-%m-%d %H:%M:%f+00:00', 'now'))
