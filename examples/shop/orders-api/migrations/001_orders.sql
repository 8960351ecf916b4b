CREATE TABLE orders (
    id         uuid PRIMARY KEY,
    product    text NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    status     text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'done')),
    parcel     text,
    packed_by  text,
    created_at timestamptz NOT NULL DEFAULT now()
);
