#!/bin/sh
# usage: make_images.sh <registry> <user> <password>
# Packs the host's Python into an image, and pushes variants of it that behave well or badly.
set -eu
registry=$1 user=$2 password=$3
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
# A configuration of its own: the host is not to know the registry's password, the release brings it.
export DOCKER_CONFIG=/opt/molecule/docker
printf '%s' "$password" | docker login --username "$user" --password-stdin "$registry" 2>/dev/null
for tag in good-1 good-2 ends lies refuses root; do
  docker tag "shop:$tag" "$registry/shop:$tag"
  docker push --quiet "$registry/shop:$tag"
done
rm -r "$DOCKER_CONFIG"
touch images-are-pushed
