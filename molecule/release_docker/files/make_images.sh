#!/bin/sh
# usage: make_images.sh <registry> <user:password>
# Packs the host's Python into an image, and pushes variants of it that behave well or badly.
set -eu
registry=$1 credentials=$2
cd /opt/molecule
libraries=$(ldd /usr/bin/python3 /usr/lib/python3*/lib-dynload/*.so | grep -o '/[^ ]*' | grep -v ':$' | sort -u)
# shellcheck disable=SC2086  # a list of files
tar --create --dereference --hard-dereference --exclude='*/__pycache__' --exclude='*/test' --exclude='config-3*' \
  /usr/bin/python3 /usr/lib/python3.[0-9]* $libraries /opt/molecule/service.py 2>/dev/null |
  docker import --change 'ENTRYPOINT ["/usr/bin/python3", "/opt/molecule/service.py"]' --change 'USER 10001' - shop:good-1
variant() {
  printf 'FROM shop:good-1\n%s\n' "$2" | docker build --quiet --tag "shop:$1" - 2>/dev/null
}
variant good-2 'LABEL second=true'
variant ends 'ENV FAULT=ends'
variant lies 'ENV FAULT=lies'
variant refuses 'ENV FAULT=refuses'
variant root 'USER 0'
for tag in good-1 good-2 ends lies refuses root; do
  skopeo copy --quiet --dest-cert-dir /etc/docker/certs.d/"$registry" --dest-creds "$credentials" \
    "docker-daemon:shop:$tag" "docker://$registry/shop:$tag"
done
touch images-are-pushed
