// Brings the database at DATABASE_URL up to date: each file of migrations/ once, in the order of their names, all in one
// transaction. Safe to run again.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Client } = require('pg');

const MIGRATIONS = path.join(__dirname, 'migrations');
const LOCK = 7264002; // any number: two runs at once wait for each other

async function migrate(db) {
  await db.query('BEGIN');
  await db.query('SELECT pg_advisory_xact_lock($1)', [LOCK]);
  await db.query(
    'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
  );
  const { rows } = await db.query('SELECT name FROM migrations');
  const done = new Set(rows.map((row) => row.name));
  for (const file of fs.readdirSync(MIGRATIONS).filter((name) => name.endsWith('.sql')).sort()) {
    if (done.has(file)) continue;
    await db.query(fs.readFileSync(path.join(MIGRATIONS, file), 'utf8'));
    await db.query('INSERT INTO migrations (name) VALUES ($1)', [file]);
    console.log(`migrated: ${file}`);
  }
  await db.query('COMMIT');
}

async function main() {
  const db = new Client({ connectionString: process.env.DATABASE_URL, connectionTimeoutMillis: 10000 });
  await db.connect();
  try {
    await migrate(db);
    console.log('the database is up to date');
  } finally {
    await db.end(); // ends a transaction that failed, too
  }
}

main().catch((error) => {
  console.error(`migrate: ${error.message || error.code}`);
  process.exitCode = 1;
});
