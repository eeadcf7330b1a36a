# What the scripts in this folder share; to be sourced.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
stasis=$PWD/.build/release/stasis

die() {
    echo "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$0 runs containers and must be root"
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

# Swift from PATH, else the distribution's.
find_swift() {
    command -v swift >/dev/null && return
    if apt-cache show swiftlang >/dev/null 2>&1; then
        need_packages swiftlang
    else
        die "Swift 6.3 is missing: get it from https://www.swift.org/install/linux/ and put its usr/bin into PATH"
    fi
}

build_packages=(git g++ libc6-dev libseccomp-dev libcap-dev)

# One static program, without any shared library.
#
# The -Xfrontend flag makes code ask for a generic type by function instead of by name. By name the runtime looks up
# each conformance that the type requires, and goes through all conformances of the program for it: 25 times per `run`.
build_release() {
    find_swift
    swift build -c release --static-swift-stdlib -Xswiftc -static-executable \
        -Xswiftc -Xfrontend -Xswiftc -disable-concrete-type-metadata-mangled-name-accessors --product stasis
}
