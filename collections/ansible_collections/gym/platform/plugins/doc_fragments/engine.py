"""What is said once of every module that works with the Docker engine of this machine."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of module_utils/local_engine.ENGINE."""

    DOCUMENTATION = r"""
options:
  socket:
    description: The engine's Unix socket.
    type: path
    default: /var/run/docker.sock
"""
