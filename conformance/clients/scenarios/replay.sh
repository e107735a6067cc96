# Recorded calls of real clients. replay SUITE SAMPLE: what is under test, and one of samples/, by name.
exec "$NODE" "$CLIENT_PROGRAMS/replay.mjs" "$1" "$CLIENTS/samples/$2.jsonl.gz"
