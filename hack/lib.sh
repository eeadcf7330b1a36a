# What the scripts in this folder share; to be sourced.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stasis=$PWD/.build/release/stasis
suites=$PWD/.build/suites

die() {
    echo "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$0 runs containers and must be root"
}

# The mirror that apt has its packages from.
debian_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE 's/^URIs: *([^ ]*).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]*).*/\2/p' | head -n 1
}

# Installs the named packages that are missing. Some bring a service along (redis-server): policy-rc.d keeps it from starting.
need_packages() {
    local package missing=() policy=/usr/sbin/policy-rc.d own_policy=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    need_root
    echo "installing ${missing[*]}" >&2
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        own_policy=yes
    fi
    local done=yes
    {
        apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
    } </dev/null >&2 || done=
    [ -z "$own_policy" ] || rm -f $policy
    [ "$done" ] || die "apt-get could not install ${missing[*]}"
}

# Debian's crit into .build/crit: tests decode images with it. The package is not installed, since it has a program named
# criu too, which clients of stasis would find.
fetch_crit() {
    local folder=$PWD/.build/crit
    [ ! -e "$folder/usr/bin/crit" ] || return 0
    mkdir -p "$folder"
    (cd "$folder" && { apt-get download -q criu || { apt-get update -q && apt-get download -q criu; }; }) >&2
    dpkg-deb --fsys-tarfile "$folder"/criu_*.deb | tar -C "$folder" -x ./usr/lib/python3 ./usr/bin/crit
}

# suite_apt SUITE PROGRAM ARGUMENT…: apt-get or apt-cache for another suite of Debian's than this machine's, from the same
# mirror and with lists of its own.
suite_apt() {
    local suite=$1 program=$2 folder=$suites/$1
    shift 2
    if [ ! -e "$folder/sources.list" ]; then
        mkdir -p "$folder/lists"
        echo "deb $(debian_mirror) $suite main" >"$folder/sources.list"
    fi
    "$program" -q -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder" -o APT::Sandbox::User=root "$@"
}

# The C library of Debian forky into .build/forky: workloads run on it as well as on this machine's.
fetch_forky() {
    local folder=$PWD/.build/forky
    [ ! -e "$folder/usr/lib/x86_64-linux-gnu/libc.so.6" ] || return 0
    mkdir -p "$folder"
    suite_apt forky apt-get update >&2
    (cd "$folder" && suite_apt forky apt-get download libc6) >&2
    dpkg-deb --fsys-tarfile "$folder"/libc6_*.deb | tar -C "$folder" -x \
        ./usr/lib/x86_64-linux-gnu/libc.so.6 ./usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
    rm "$folder"/libc6_*.deb
}

# Swift from PATH, else the distribution's.
find_swift() {
    command -v swift >/dev/null && return
    if apt-cache show swiftlang >/dev/null 2>&1; then
        need_packages swiftlang lld
    else
        die "Swift 6.3 is missing: get it from https://www.swift.org/install/linux/ and put its usr/bin into PATH"
    fi
}

build_packages=(git g++ libc6-dev libseccomp-dev libcap-dev)

# One static program, without any shared library.
#
# The -Xfrontend flag makes code ask for a generic type by function instead of by name. By name the runtime looks up
# each conformance that the type requires, and goes through all conformances of the program for it: 25 times per `run`.
# With a section for each function the linker leaves out what is never called: fewer pages to touch, a fifth less of
# processor time per `run` (lld without the sections: nothing; the sections with gold were not measured). Those that a
# container's life calls it puts side by side (hack/order): another twelfth less, and a quarter of the peak memory.
build_release() {
    find_swift
    swift build -c release --static-swift-stdlib -Xswiftc -static-executable -Xswiftc -use-ld=lld \
        -Xswiftc -Xfrontend -Xswiftc -function-sections \
        -Xswiftc -Xfrontend -Xswiftc -disable-concrete-type-metadata-mangled-name-accessors \
        -Xlinker "--symbol-ordering-file=$PWD/hack/order.d/functions" -Xlinker --no-warn-symbol-ordering \
        --product stasis
}

# place_files ROOT PREFIX: everything that belongs to an installation, beneath ROOT. The build must have been made.
place_files() {
    local root=$1 prefix=$2 share=$1$2/share page
    install -D -m 755 "$stasis" "$root$prefix/sbin/stasis"
    # Without symbols it is less than half as large. The section takes 48 bytes, the last of them NUL.
    local commit
    commit=$(git rev-parse HEAD)$([ -z "$(git status --porcelain --untracked-files=no)" ] || echo -dirty)
    objcopy --strip-all --update-section .stasis.commit=<(printf '%s' "$commit" | dd bs=48 conv=sync status=none) \
        "$root$prefix/sbin/stasis"

    mkdir -p "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
    "$stasis" --generate-completion-script bash >"$share/bash-completion/completions/stasis"
    "$stasis" --generate-completion-script zsh >"$share/zsh/site-functions/_stasis"
    "$stasis" --generate-completion-script fish >"$share/fish/vendor_completions.d/stasis.fish"

    # swift-argument-parser's own tool writes the pages; `man stasis checkpoint` looks for stasis-checkpoint.
    swift build --product generate-manual >&2
    local pages
    pages=$(mktemp -d)
    "$(swift build --show-bin-path)/generate-manual" "$stasis" --multi-page --section 8 --output-directory "$pages"
    rm "$pages/stasis.help.8"
    for page in "$pages"/*; do
        sed -i -e '/^\.Xr stasis\.help /d' -e 's/^\(\.Xr stasis\)\./\1-/' -e 's/^\(\.Dt STASIS\)\./\1-/' "$page"
        install -D -m 644 "$page" "$share/man/man8/$(basename "$page" | sed 's/^stasis\.\(.*\.8\)$/stasis-\1/')"
    done
    rm -r "$pages"

    # Lists replace podman's own, so these name its default runtimes too. With the name in them, podman reads the
    # errors that stasis writes to --log. What its manual calls runtime_supports_nocgroups, podman 4.3 reads without the s.
    local configuration=$root/etc/containers/containers.conf.d/50-stasis.conf
    mkdir -p "$(dirname "$configuration")"
    cat >"$configuration" <<EOF
[engine]
runtime_supports_json = ["crun", "crun-vm", "runc", "kata", "runsc", "youki", "krun", "ocijail", "stasis"]
runtime_supports_nocgroup = ["crun", "crun-vm", "krun", "stasis"]
runtime_supports_nocgroups = ["crun", "crun-vm", "krun", "stasis"]

[engine.runtimes]
stasis = ["$prefix/sbin/stasis"]
EOF
}
