# Recorded calls of real clients. replay SAMPLE: one of samples/, by name.
exec "$NODE" "$CLIENT_PROGRAMS/replay.mjs" "$CLIENTS/samples/$1.jsonl.gz"
