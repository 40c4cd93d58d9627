-- SPDX-License-Identifier: MIT
CREATE TABLE agents (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    kind text NOT NULL,
    version text NOT NULL,
    url text,
    instance text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- One small row a replica: what /ready writes and reads back.
CREATE TABLE service_readiness (
    instance text PRIMARY KEY,
    token text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
