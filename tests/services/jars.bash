# Java programs from Maven's central repository: their jars (or archives of them) are fetched once, and kept under ~/.cache/headwater/jars.
cache=${XDG_CACHE_HOME:-~/.cache}/headwater/jars

# version POM: of the program that the pom is for.
version() { sed -n 's:.*<\([a-z0-9]*\)\.version>\(.*\)</\1\.version>.*:\2:p' "$1"; }

# fetch_jars POM JARS WHAT: several services may be started at once on a new machine. One of them fetches at a time, since they
# share Maven's repository, and what it fetched appears whole.
fetch_jars() {
    local pom=$1 jars=$2 what=$3 archive
    [[ -d $jars ]] && return
    mkdir -p "$cache"
    (
        flock 9
        [[ -d $jars ]] && exit
        rm -rf "$jars.part"
        echo "fetching $what (once)" >&2
        mvn --batch-mode --strict-checksums --file "$pom" dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$jars.part" >"$jars.log" 2>&1 || { cat "$jars.log" >&2; exit 1; }
        for archive in "$jars.part"/*.tar.gz; do
            [[ ! -e $archive ]] || { tar -xzf "$archive" -C "$jars.part" && rm "$archive"; } || exit 1
        done
        mv "$jars.part" "$jars"
    ) 9>"$cache/lock"
}
