"""What the rooms need to know of the company they work for: settings, playbooks, words. Built once, read-only."""

from dataclasses import dataclass

from incident_center.config import Settings
from incident_center.playbooks import Catalogue, Library, load_catalogue, load_library


@dataclass(frozen=True)
class House:
    settings: Settings
    library: Library
    catalogue: Catalogue

    @property
    def company(self) -> str:
        return self.settings.company

    @property
    def zone(self) -> str:
        """The zone that pages and agents use when a reader has none of their own."""
        return self.settings.time_zone

    @property
    def languages(self) -> tuple[str, ...]:
        return self.library.languages

    def incident_url(self, incident_id: int) -> str:
        """Short, because every SMS carries it."""
        return f"{self.settings.public_url}/i/{incident_id}"


def build_house(settings: Settings) -> House:
    return House(
        settings=settings,
        library=load_library(settings.playbooks_dir),
        catalogue=load_catalogue(settings.templates_dir / "messages" / "words"),
    )
