// Runs the orders-api on $PORT with the database at DATABASE_URL. SIGTERM: no new requests, those in hand end, exit 0.

'use strict';

const { Pool } = require('pg');
const { createApp } = require('./app');

const db = new Pool({
  connectionString: process.env.DATABASE_URL,
  connectionTimeoutMillis: 3000,
  query_timeout: 5000,
});
// Without a listener, a PostgreSQL that goes away while a connection is idle would end this process.
db.on('error', (error) => console.log(`postgresql: ${error.message}`));

const server = createApp(db).listen(Number(process.env.PORT), '0.0.0.0', (error) => {
  if (error) throw error;
  console.log(`orders-api listens on ${server.address().port}`);
});

process.once('SIGTERM', () => {
  server.close(() => db.end().then(() => console.log('stopped')));
  server.closeIdleConnections();
});
