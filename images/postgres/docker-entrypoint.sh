#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the data directory if there is none, then become the server. Environment as in the upstream image:
# POSTGRES_USER, POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_DB, POSTGRES_INITDB_ARGS, PGDATA.
#
# A new data directory is made in $PGDATA/.initdb and moved into place when it is complete, PG_VERSION last:
# a pod killed in the middle leaves a directory that the next start makes anew or finishes moving.
set -euo pipefail
shopt -s dotglob nullglob

say() { printf 'docker-entrypoint: %s\n' "$*" >&2; }
refuse() { say "$*"; exit 1; }

password() {
    if [[ -n ${POSTGRES_PASSWORD_FILE:-} ]]; then
        [[ -z ${POSTGRES_PASSWORD:-} ]] || refuse 'POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: set one of them'
        [[ -r $POSTGRES_PASSWORD_FILE ]] || refuse "POSTGRES_PASSWORD_FILE: $POSTGRES_PASSWORD_FILE cannot be read"
        printf '%s' "$(<"$POSTGRES_PASSWORD_FILE")"
    else
        printf '%s' "${POSTGRES_PASSWORD:-}"
    fi
}

# The temporary server listens on a socket in the new directory only: nobody else can reach it.
run_init_scripts() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                say "running $file"
                if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
            *.sql) say "running $file"; "${client[@]}" --dbname "$database" --file "$file" ;;
            *.sql.gz) say "running $file"; gunzip -c "$file" | "${client[@]}" --dbname "$database" ;;
            *) [[ $(basename "$file") == ..* ]] || say "ignoring $file" ;;
        esac
    done
}

make_database() {
    local new=$1 user=${POSTGRES_USER:-postgres} secret
    database=${POSTGRES_DB:-$user}
    secret=$(password)
    [[ -n $secret ]] || refuse 'no password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE'
    [[ $secret != *$'\n'* ]] || refuse 'the password holds a line break: write one line'
    say "making a new data directory for user $user, database $database"
    # the arguments of a user are words, split as the upstream image does it
    eval 'initdb --pgdata="$new" --username="$user" --pwfile=<(printf "%s\n" "$secret") --encoding=UTF8' \
        '--auth-local=trust --auth-host=scram-sha-256 --set listen_addresses="*"' "${POSTGRES_INITDB_ARGS:-}" >&2
    # local connections (kubectl exec) are trusted as in the upstream image; the network always needs the password
    printf '\nhost all all all scram-sha-256\n' >>"$new/pg_hba.conf"
    export PGHOST=$new PGUSER=$user PGDATABASE=$database
    client=(psql --set ON_ERROR_STOP=1 --no-psqlrc --no-password --quiet)
    pg_ctl --pgdata="$new" --silent --wait --options="-c listen_addresses='' -c unix_socket_directories='$new'" start >&2
    if [[ $database != postgres ]]; then
        printf 'CREATE DATABASE :"name";\n' | "${client[@]}" --dbname postgres --set name="$database"
    fi
    [[ ! -d /docker-entrypoint-initdb.d ]] || run_init_scripts
    pg_ctl --pgdata="$new" --silent --wait --mode=fast stop >&2
    unset PGHOST PGUSER PGDATABASE
}

put_in_place() {
    local new=$1 entry
    for entry in "$new"/*; do
        case $(basename "$entry") in
            .complete | PG_VERSION) ;;
            *) mv --no-target-directory "$entry" "$PGDATA/$(basename "$entry")" ;;
        esac
    done
    sync
    mv "$new/PG_VERSION" "$PGDATA/PG_VERSION"
    sync
    rm -rf "$new"
}

prepare() {
    local new=$PGDATA/.initdb entry found
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" 2>/dev/null || true
    if [[ -s $PGDATA/PG_VERSION ]]; then
        found=$(<"$PGDATA/PG_VERSION")
        [[ $found == "$PG_MAJOR" ]] || refuse "$PGDATA was made by PostgreSQL $found and this is $PG_MAJOR: back up with the old version and restore into a new volume"
        rm -rf "$new" # all that is left of a move that was interrupted at its very end
        return
    fi
    if [[ ! -e $new/.complete ]]; then
        for entry in "$PGDATA"/*; do
            case $(basename "$entry") in
                .initdb | lost+found) ;;
                *) refuse "$PGDATA is not empty and not a data directory (it holds $(basename "$entry")): empty it, or set PGDATA to a folder below the volume" ;;
            esac
        done
        [[ ! -e $new ]] || say 'removing what an interrupted start left behind'
        rm -rf "$new"
        make_database "$new"
        sync
        : >"$new/.complete"
        sync
    fi
    put_in_place "$new"
    say 'the data directory is complete'
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
if [[ ${1:-} == postgres ]]; then
    [[ $(id -u) != 0 ]] || refuse 'PostgreSQL does not run as root: run the container as another user, for example 10001'
    prepare
    unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
fi
exec "$@"
