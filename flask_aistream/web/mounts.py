"""Where an application registered its ``AIStream`` blueprints."""

from __future__ import annotations

from dataclasses import dataclass

from flask_aistream.web.registry import ProviderRegistry
from flask_aistream.web.registry import RegisteredProvider


@dataclass(frozen=True, slots=True)
class Mount:
    """One registration of a blueprint.

    :param prefix: Its ``url_prefix`` without a slash at the end; may hold URL variables.
    """

    prefix: str
    registry: ProviderRegistry


class Mounts(dict[str, Mount]):
    """The registrations of an application, by the name they have in endpoints."""

    def have(self, registry: ProviderRegistry) -> bool:
        return any(mount.registry is registry for mount in self.values())

    def cover(self, path: str) -> bool:
        """Whether ``path`` is below a prefix. A registration without a prefix covers nothing: the other
        paths of the application would be below it too."""
        prefixes = (mount.prefix for mount in self.values())
        return any(prefix and path.startswith(f"{prefix}/") for prefix in prefixes)

    def name_for(self, provider: str) -> str:
        """Name of a registration that has this provider; of any, if none has."""
        having = (name for name, mount in self.items() if provider in mount.registry)
        return next(having, next(iter(self)))

    def providers_named(self, name: str) -> list[RegisteredProvider]:
        """The providers of this name, one for each blueprint that has one."""
        registries = {mount.registry for mount in self.values() if name in mount.registry}
        return [registry.find(name) for registry in registries]
