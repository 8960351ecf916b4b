CREATE TABLE products (
    name        text PRIMARY KEY,
    price_cents integer NOT NULL CHECK (price_cents > 0)
);

INSERT INTO products (name, price_cents) VALUES ('kettle', 4900), ('mug', 900), ('teapot', 2800);

CREATE TABLE orders (
    id          uuid PRIMARY KEY,
    product     text NOT NULL REFERENCES products (name),
    quantity    integer NOT NULL CHECK (quantity > 0),
    price_cents integer NOT NULL,
    placed_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX orders_placed_at ON orders (placed_at);
