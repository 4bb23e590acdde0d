#!/bin/sh
# nginx in front of an endpoint: waits for the token, reloads when there is another.
#
#   sh proxy.sh NGINX.CONF TOKEN_FILE
#
# TOKEN_FILE is what `python -m serve --nginx-token-file` writes and NGINX.CONF includes. Ends with
# nginx; TERM, INT and QUIT (which the image's STOPSIGNAL is) let it answer what it has taken first.
set -eu
config=$1 token=$2

trap 'exit 0' TERM INT QUIT
until [ -s "$token" ]; do sleep 1; done

# Read before nginx reads it: what is written in between then is another.
seen=$(cksum < "$token")
nginx -e stderr -c "$config" -g 'daemon off;' &
nginx=$!
trap 'kill -QUIT "$nginx" 2> /dev/null || true' TERM INT QUIT

while kill -0 "$nginx" 2> /dev/null; do
    sleep 1 &
    wait $! || true  # not in the foreground: a signal is heeded at once
    # Not there while the endpoint starts again: nginx keeps what it has.
    now=$(cksum 2> /dev/null < "$token") || continue
    if [ "$now" != "$seen" ]; then
        kill -HUP "$nginx" 2> /dev/null || true
        seen=$now
    fi
done
wait "$nginx"
