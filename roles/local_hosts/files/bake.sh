#!/bin/sh
# Installs what all roles need into the plain image. Arguments: Debian packages. /bake/<role>/ holds the wheels and the
# requirements of a role that runs in its own Python environment.
set -e
export DEBIAN_FRONTEND=noninteractive

enabled() { systemctl --root=/ list-unit-files --state=enabled --no-legend --no-pager | cut -d ' ' -f 1 | sort; }

printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
enabled > /bake/before

apt-get -q update
apt-get -q -y --no-install-recommends install "$@"
apt-get clean

for role in /bake/*/; do
    [ -e "$role/requirements.txt" ] || continue
    name=$(basename "$role")
    python3 -m venv "/opt/$name"
    "/opt/$name/bin/pip" --quiet --disable-pip-version-check install --no-index --no-deps --require-hashes \
        --find-links "$role" --requirement "$role/requirements.txt"
done

# Which host runs what is for the roles to say: whatever a package enabled is off, and a host boots into SSH alone.
enabled > /bake/after
comm -13 /bake/before /bake/after | xargs --no-run-if-empty systemctl --root=/ disable --quiet

rm -rf /bake/before /bake/after /usr/sbin/policy-rc.d /etc/ssh/ssh_host_*
: > /etc/machine-id
