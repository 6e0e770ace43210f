"""What is said once of every module that has a part in a drill."""

from __future__ import annotations

import textwrap

# module_utils/drill_clients.PLACE, which is said of the live database and of a restored one.
_PLACE = textwrap.indent(
    """\
suboptions:
  addresses:
    description: Addresses, any of which will do; none where the name leads there.
    type: list
    elements: str
    required: true
  port:
    description: The port of the writer.
    type: int
    required: true
  hostname:
    description: The name in the certificates.
    type: str
    required: true
  name:
    description: The database.
    type: str
    required: true
  authority:
    description: The authority's certificate.
    type: path
    required: true
""",
    " " * 8,
)


class ModuleDocFragment:
    """The options of module_utils/drill_book.DRILL, of drill_clients.CLIENTS, and of what has a place like theirs."""

    DOCUMENTATION = r"""
options:
  drill:
    description: What the names of the drill's files begin with.
    type: path
    required: true
"""

    CLIENTS = rf"""
options:
  database:
    description: How the database is reached, and who writes.
    type: dict
    suboptions:
      place:
        description: Where the database takes clients in.
        type: dict
        required: true
{_PLACE}
      owner:
        description: The user who may make a schema.
        type: str
        required: true
      owner_password:
        description: The password of O(database.owner).
        type: str
        required: true
      user:
        description: The user who writes.
        type: str
        required: true
      password:
        description: The password of O(database.user).
        type: str
        required: true
  cache:
    description: How the cache is reached, and who writes.
    type: dict
    suboptions:
      sentinels:
        description: Address and port of each Sentinel.
        type: list
        elements: list
        required: true
      primary:
        description: The name by which the Sentinels know the primary.
        type: str
        required: true
      prefix:
        description: What the keys of the user begin with.
        type: str
        required: true
      user:
        description: The user who writes.
        type: str
        required: true
      password:
        description: The password of O(cache.user).
        type: str
        required: true
      authority:
        description: The authority's certificate.
        type: path
        required: true
"""

    RESTORED = rf"""
options:
  restored:
    description: A database that was restored to a moment; all markers from before have to be there, none from after.
    type: dict
    suboptions:
      place:
        description: Where it takes clients in.
        type: dict
        required: true
{_PLACE}
      until:
        description: The moment, as C(2030-01-31T12:00:00Z). Without one nothing was restored, and nothing is there.
        type: str
        required: true
"""
