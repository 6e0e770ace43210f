"""A local host behaves like a machine."""

from __future__ import annotations

import subprocess

import pytest
from testinfra.host import Host

from tests.waiting import wait

# One for all six, which are made alike.
testinfra_hosts = ["ansible://molecule-1"]


def docker(*arguments: str) -> str:
    """Ask the engine that the hosts run in."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def container_of(host: Host) -> str:
    return f"gym-{host.check_output('hostname')}"


def image_of(host: Host) -> str:
    return docker("inspect", "--format", "{{.Image}}", container_of(host))


def reachable(host: Host) -> bool:
    """Tell whether the host takes logins; testinfra raises what SSH says while it does not."""
    try:
        return bool(host.run("systemctl is-active systemd-user-sessions").rc == 0)
    except RuntimeError:
        return False


def test_it_is_up_without_a_failed_unit(host: Host) -> None:
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_it_is_no_other_machine(host: Host) -> None:
    identity = ["cat", "/etc/ssh/ssh_host_ed25519_key.pub", "/etc/machine-id"]
    names = docker("ps", "--filter", "label=gym.platform=molecule", "--format", "{{.Names}}").split()
    others = [docker("exec", name, *identity) for name in names if name != container_of(host)]
    assert len(others) == 5
    assert host.check_output(" ".join(identity)) not in others


def test_its_image_holds_no_key(host: Host) -> None:
    keys = "ls /etc/ssh/ssh_host_* /home/ansible/.ssh/* 2>/dev/null || true"
    assert docker("run", "--rm", "--network=none", image_of(host), "sh", "-c", keys) == ""


def test_its_image_starts_nothing_that_is_baked_in(host: Host) -> None:
    """Asked of the image, because other scenarios may have started services on the host."""
    baked = "redis-server patroni etcd haproxy pgbouncer docker"
    script = f"systemctl --root=/ is-enabled {baked} ssh || true"
    answers = docker("run", "--rm", "--network=none", image_of(host), "sh", "-c", script).split()
    assert answers == ["disabled"] * len(baked.split()) + ["enabled"]


def test_it_reboots_from_inside_and_keeps_its_files(host: Host) -> None:
    boot, name = host.check_output("cat /proc/sys/kernel/random/boot_id"), host.check_output("hostname")
    host.check_output("echo 192.0.2.7 kept.example >> /etc/hosts")
    try:
        host.run("shutdown -r now")
        wait(30, lambda: reachable(host) and host.check_output("cat /proc/sys/kernel/random/boot_id") != boot)
        assert host.check_output("getent hosts kept.example").startswith("192.0.2.7")
        assert host.check_output("hostname") == name
    finally:
        host.run("sed -i '/kept.example/d' /etc/hosts")


def test_a_killed_host_stays_down_until_it_is_started(host: Host) -> None:
    container = container_of(host)
    docker("kill", container)
    try:
        wait(30, lambda: docker("inspect", "--format", "{{.State.Status}}", container) == "exited")
        # The engine restarts what it restarts within 100 ms.
        with pytest.raises(AssertionError):
            wait(1, lambda: docker("inspect", "--format", "{{.State.Status}}", container) != "exited")
    finally:
        docker("start", container)
        wait(30, lambda: reachable(host))


def test_it_runs_containers_of_its_own(host: Host) -> None:
    was_running = host.service("docker").is_running
    host.check_output("systemctl start docker")
    try:
        # There is no registry to take an image from: one program and the two libraries that it needs are enough.
        libraries = "usr/lib/*-linux-gnu/libc.so.6 usr/lib/*-linux-gnu/ld-linux-*"
        host.check_output(f"cd / && tar -c lib lib64 usr/lib64 usr/bin/true {libraries} | docker import - probe")
        host.check_output("docker run --rm --network=none --memory=32m probe /usr/bin/true")
    finally:
        host.run("docker rmi --force probe")
        if not was_running:
            host.run("systemctl stop docker.socket docker.service containerd.service")
