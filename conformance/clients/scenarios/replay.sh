# Recorded calls of real clients. replay SUITE SAMPLE [chained]: what is under test, one of samples/, by name, and whether
# each list is given as one chain.
exec "$NODE" --single-threaded "$CLIENT_PROGRAMS/replay.mjs" "$1" "$CLIENTS/samples/$2.jsonl.gz" "${3-}"
