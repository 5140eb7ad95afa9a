-- Whoever runs this exists for some minutes only; what it makes belongs to the application.
SET ROLE app_owner;

CREATE TABLE IF NOT EXISTS accounts (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE
);
