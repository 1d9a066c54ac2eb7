-- How many contacts one call of the token may affect; none means any number.
ALTER TABLE ledger.credentials ADD COLUMN max_affected bigint;
