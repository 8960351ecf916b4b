// The orders-api: keeps every order and how far it has got.
//
//   PUT   /orders/<id>   {"product": "teapot", "quantity": 2}: stored as "new"; safe to send again
//   PATCH /orders/<id>   {"status": "done", "parcel": "P-…", "packed_by": "…"}
//   GET   /orders/<id>
//   GET   /healthz       200, or 503 when PostgreSQL is out

'use strict';

const express = require('express');

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const COLUMNS = 'id, product, quantity, status, parcel, packed_by';

function createApp(db) {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json());

  app.get('/healthz', async (request, response) => {
    try {
      await db.query('SELECT 1');
      response.json({ postgresql: 'ok' });
    } catch (error) {
      console.log(`postgresql is out: ${error.message || error.code}`);
      response.status(503).json({ postgresql: 'out' });
    }
  });

  app.param('id', (request, response, next, id) => {
    if (UUID.test(id)) next();
    else response.status(404).json({ error: 'no such order' });
  });

  app.put('/orders/:id', async (request, response) => {
    const { product, quantity } = request.body || {};
    if (typeof product !== 'string' || !product || !Number.isInteger(quantity) || quantity < 1) {
      return response.status(422).json({ error: 'expected {"product": "…", "quantity": 1 or more}' });
    }
    await db.query(
      'INSERT INTO orders (id, product, quantity) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING',
      [request.params.id, product, quantity],
    );
    const { rows } = await db.query(`SELECT ${COLUMNS} FROM orders WHERE id = $1`, [request.params.id]);
    console.log(`order ${request.params.id}: ${rows[0].status}`);
    response.status(201).json(rows[0]);
  });

  app.patch('/orders/:id', async (request, response) => {
    const { status, parcel, packed_by: packedBy } = request.body || {};
    if (status !== 'done' || typeof parcel !== 'string' || typeof packedBy !== 'string') {
      return response.status(422).json({ error: 'expected {"status": "done", "parcel": "…", "packed_by": "…"}' });
    }
    const { rows } = await db.query(
      `UPDATE orders SET status = $2, parcel = $3, packed_by = $4 WHERE id = $1 RETURNING ${COLUMNS}`,
      [request.params.id, status, parcel, packedBy],
    );
    if (rows.length === 0) return response.status(404).json({ error: 'no such order' });
    console.log(`order ${request.params.id}: ${status}`);
    response.json(rows[0]);
  });

  app.get('/orders/:id', async (request, response) => {
    const { rows } = await db.query(`SELECT ${COLUMNS} FROM orders WHERE id = $1`, [request.params.id]);
    if (rows.length === 0) return response.status(404).json({ error: 'no such order' });
    response.json(rows[0]);
  });

  // What express.json refuses carries its own status (400, 413); anything else is PostgreSQL, or a bug of ours.
  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    const status = error.status || 503;
    console.log(`${request.method} ${request.path}: ${error.message || error.code}`);
    response.status(status).json({ error: status < 500 ? error.message : 'try again later' });
  });

  return app;
}

module.exports = { createApp };
