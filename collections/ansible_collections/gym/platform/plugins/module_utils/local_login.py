"""How local hosts are logged in to: the key, the file that lets it in, and whether somebody answers."""

from __future__ import annotations

import io
import socket
import subprocess
import tarfile
import time
from pathlib import Path


def authorized_key(key: bytes) -> bytes:
    """Pack the public key as the one file that lets it in; the image gives its directory to `ansible` already."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        # 1000: the first user of the image, made by its prepare.sh.
        for path, mode, content in ((".ssh", 0o700, None), (".ssh/authorized_keys", 0o600, key)):
            entry = tarfile.TarInfo(f"home/ansible/{path}")
            entry.uid = entry.gid = 1000
            entry.mode = mode
            entry.mtime = int(time.time())
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b""))
    return stream.getvalue()


def ensure_key(directory: Path, comment: str) -> bool:
    """Make the key once; it appears under its name only when it is complete."""
    key = directory / "id_ed25519"
    if key.is_file() and key.with_suffix(".pub").is_file():
        return False
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = directory / "new"
    new.unlink(missing_ok=True)
    new.with_suffix(".pub").unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(new)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    # The public half first: with both names there, both are whole.
    new.with_suffix(".pub").replace(key.with_suffix(".pub"))
    new.replace(key)
    return True


def banner(address: str) -> bool:
    """Tell whether an SSH server introduces itself at the address."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
