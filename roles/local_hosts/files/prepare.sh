#!/bin/sh
# Runs in the new system once its packages are there, before it becomes the plain image.
set -e

useradd --create-home --shell /bin/bash ansible
install -d -o ansible -g ansible -m 0700 /home/ansible/.ssh
chmod 0440 /etc/sudoers.d/ansible
# Nobody logs in by password; `*` and not `!`, because sshd refuses the key of an account that is locked.
usermod --password '*' ansible

# The package sources are those of the machine that builds, where the network is theirs too.
update-ca-certificates >/dev/null

# What belongs to one machine and must not be shared by all.
rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/resolv.conf
: > /etc/machine-id

# There is neither a terminal nor a device nor a network card to manage in a container.
systemctl mask --quiet getty.target console-getty.service systemd-udevd.service systemd-networkd-wait-online.service \
    systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-remount-fs.service dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount
systemctl enable --quiet ssh.service cgroup-writable.service
