"""What is said once of every module that speaks to Patroni or to its store."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of module_utils/patroni.IDENTITY, and of its API besides."""

    DOCUMENTATION = r"""
options:
  certificate:
    description: The certificate that this host shows.
    type: path
    required: true
  certificate_key:
    description: The key of O(certificate).
    type: path
    required: true
  certificate_authority:
    description: The authority whose certificates are trusted.
    type: path
    required: true
"""

    API = r"""
options:
  username:
    description: The user for requests that change something.
    type: str
    required: true
  password:
    description: The password of O(username).
    type: str
    required: true
"""
