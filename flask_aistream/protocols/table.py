"""Every wire protocol, by name."""

from __future__ import annotations

from flask_aistream.protocols.base import Dialect
from flask_aistream.protocols.native import NATIVE

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (NATIVE,)}
