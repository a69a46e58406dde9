#!/usr/bin/env bash
# write.sh HEADWATER NAME [collections]: writes the fixture NAME with that binary: a state, a changelog and dead letters, as a run of the
# job here (or of the one in that directory) leaves them that is killed at its third start, once it has read all of its streams and before
# its checkpoint of that is whole.
set -euo pipefail
headwater=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# So many lines of each stream are there at each start: up to one arrival.
case ${3-} in
  "")
    inputs="job.toml history.jsonl stream"
    streams="stream/0.jsonl stream/1.jsonl"
    starts=("19 7" "34 13" "1000 1000")
    ;;
  collections)
    inputs="job.toml orders visits shops limits.jsonl"
    streams="orders/stream/0.jsonl orders/stream/1.jsonl visits/0.jsonl shops/stream/0.jsonl"
    starts=("15 13 15 7" "27 23 23 9" "1000 1000 1000 1000")
    ;;
esac
cd "$here/${3-}"
for input in $inputs; do cp -r "$input" "$dir"; done
for lines in "${starts[@]}"; do
  read -ra lines <<<"$lines"
  for stream in $streams; do
    head -n "${lines[0]}" "$stream" >"$dir/$stream"
    lines=("${lines[@]:1}")
  done
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
