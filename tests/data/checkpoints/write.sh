#!/usr/bin/env bash
# write.sh HEADWATER NAME: writes the fixture NAME with that binary: a state, a changelog and dead letters, as a run leaves them that is
# killed at its third start, once it has read all of its streams and before its checkpoint of that is whole.
set -euo pipefail
headwater=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$here/job.toml" "$here/history.jsonl" "$dir"
mkdir "$dir/stream"
# So many lines of the two partitions are there at each start: up to one arrival.
for lines in "19 7" "34 13" "1000 1000"; do
  read -r first second <<<"$lines"
  head -n "$first" "$here/stream/0.jsonl" >"$dir/stream/0.jsonl"
  head -n "$second" "$here/stream/1.jsonl" >"$dir/stream/1.jsonl"
  "$headwater" run --until-end --workers 2 "$dir/job.toml"
done
cd "$dir/state"
newest=$(ls checkpoints | sort -n | tail -1)
grep -q '"finished":true' "checkpoints/$newest/manifest.json"
rm -r "checkpoints/$newest" ledger lock plan.json
cd ..
rm -rf "${here:?}/$2"
mkdir "$here/$2"
cp -r state changes.jsonl dead_letters.jsonl "$here/$2"
