# A server that outlives the script that started it. DIR is its working directory: it holds `pid` and `log`, and a process
# counts as that server only while its working directory is DIR, so that a pid used again harms nobody. Linux only (/proc).

# A port that nothing answers on. Below the range that outgoing connections take theirs from.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); answers "$port"; do :; done
    echo "$port"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

running() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) && [[ /proc/$pid/cwd -ef $1 ]]
}

# launch DIR COMMAND...: in a session of its own, so that Ctrl-C does not reach it, and with nothing of the caller's kept open.
launch() {
    local dir=$1; shift
    (
        cd "$dir"
        echo "--- $(date -u +%FT%TZ) $*" >>log
        setsid "$@" </dev/null >>log 2>&1 &
        echo $! >pid
    )
}

# The log since the last launch.
latest_log() { awk '/^--- / { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$1/log"; }

logged() { latest_log "$1" | grep "$2" >/dev/null; }

# ready DIR TEST...: waits until TEST holds; fails when the server ends, or when two minutes are over.
ready() {
    local dir=$1 tries=0; shift
    until "$@"; do
        running "$dir" || [[ $tries -lt 5 ]] || return 1    # a process that was just forked may not be in DIR yet
        (( ++tries < 1200 )) || return 1
        sleep 0.1
    done
    running "$dir"
}

# start_on PORT DIR: calls `serve DIR PORT` of the script that sourced this. Without a port it takes a free one, and another
# one when somebody was faster. From the moment it served, DIR keeps its port and its data for every later start.
start_on() {
    local port=$1 dir=$2 tries=0
    if [[ -e $dir/served ]]; then
        port=$(cat "$dir/port")
        running "$dir" && { echo "127.0.0.1:$port"; return; }
    fi
    stop "$dir" KILL    # left behind by a start that was broken off
    while :; do
        echo "${port:-$(free_port)}" >"$dir/port"
        if serve "$dir" "$(cat "$dir/port")"; then
            touch "$dir/served"
            echo "127.0.0.1:$(cat "$dir/port")"
            return
        fi
        stop "$dir" KILL
        [[ -z $port ]] && (( ++tries < 5 )) && logged "$dir" 'Address already in use\|already bound\|in use by another process' || break
    done
    echo "${0##*/} did not start in $dir:" >&2
    latest_log "$dir" | tail -n 20 >&2
    return 1
}

# stop DIR [SIGNAL]: waits until it is gone. STOP and CONT freeze it and wake it up, and do not wait.
stop() {
    local dir=$1 signal=${2:-TERM} tries=0 pid
    running "$dir" || return 0
    pid=$(cat "$dir/pid")
    kill -s "$signal" "$pid" || { ! running "$dir"; return; }
    [[ $signal == STOP || $signal == CONT ]] && return
    kill -s CONT "$pid" 2>/dev/null || true
    while running "$dir"; do
        (( ++tries % 300 )) || kill -s KILL "$pid" 2>/dev/null || true    # 30 s were enough for a clean end
        sleep 0.1
    done
}

# directory DIR: makes it, and prints it as an absolute path.
directory() { mkdir -p "$1" && cd "$1" && pwd; }

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
