# Starts and stops a throw-away PostgreSQL. Sourced by scripts; sets PG_BIN and PG_PORT.
#
# The server refuses to run as root, so root starts it as the user nobody. It listens on a free port of 127.0.0.1, trusts
# every local connection, and is deleted with its data by postgres_stop.

# postgres_bin prints the folder with initdb and postgres.
postgres_bin() {
  local folder
  for folder in "${KNEO_TEST_PG_BIN:-}" "$(dirname "$(readlink -f "$(command -v postgres || echo /none/none)")")" \
    $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
    if [ -n "$folder" ] && [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then
      echo "$folder"
      return 0
    fi
  done
  return 1
}

_as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$PG_DIR" "$@"
  else
    "$@"
  fi
}

postgres_start() {
  PG_BIN="$(postgres_bin)" || { echo "no PostgreSQL server binaries found (set KNEO_TEST_PG_BIN)" >&2; return 1; }
  PG_DIR="$(mktemp -d /tmp/kneo-pg-XXXXXX)"
  PG_PORT="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  if [ "$(id -u)" = 0 ]; then chown 65534:65534 "$PG_DIR"; fi
  (
    cd "$PG_DIR" || exit 1
    _as_postgres timeout 60s "$PG_BIN/initdb" -D "$PG_DIR/data" -U postgres -A trust -E UTF8 --no-locale --no-sync > "$PG_DIR/initdb.log" 2>&1 &&
      _as_postgres "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -w -t 60 -l "$PG_DIR/server.log" start \
        -o "-F -k $PG_DIR -p $PG_PORT -c listen_addresses=127.0.0.1 -c max_connections=400 -c full_page_writes=off" > "$PG_DIR/ctl.log" 2>&1
  ) || { echo "PostgreSQL did not start:" >&2; tail -n 20 "$PG_DIR"/*.log >&2; return 1; }
  echo "PostgreSQL $("$PG_BIN/postgres" -V | awk '{print $3}') on port $PG_PORT"
}

postgres_stop() {
  [ -n "${PG_DIR:-}" ] || return 0
  (cd / && _as_postgres timeout 60s "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -m immediate -w stop > /dev/null 2>&1)
  rm -rf "$PG_DIR"
  PG_DIR=""
}
