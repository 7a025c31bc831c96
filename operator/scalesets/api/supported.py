"""The extensions that support automatic upgrade, as published (E11): the list as data.

`supported_extensions.json` has a row for each, with the publisher and type that it has on each operating system, as
Microsoft's page "Automatic Extension Upgrade for virtual machines and scale sets" lists them
(learn.microsoft.com/azure/virtual-machines/automatic-extension-upgrade, "Supported extensions"). The types of Guest
Configuration are spelled as on its own page; that list writes `ConfigurationForLinux`, so case doesn't count here.
Ready manifests are in `examples/extensions/supported.yaml`. An extension that isn't listed may say of itself that it
supports automatic upgrade (`Extension.spec.supportsAutomaticUpgrade`); what that says counts.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from scalesets.api.versions import OSType


@dataclass(frozen=True, slots=True)
class SupportedExtension:
    """One extension for one operating system."""

    name: str
    """Its name for people; the same for all operating systems."""
    publisher: str
    type: str
    os_type: OSType


@cache
def supported_extensions() -> tuple[SupportedExtension, ...]:
    """The list, in its order."""
    rows = json.loads(files(__package__).joinpath("supported_extensions.json").read_bytes())
    return tuple(
        SupportedExtension(row["name"], each["publisher"], each["type"], OSType(each["osType"]))
        for row in rows
        for each in row["extensions"]
    )


def is_supported(publisher: str, type_: str) -> bool:
    """Whether an extension stands on the list."""
    wanted = (publisher.casefold(), type_.casefold())
    return any((each.publisher.casefold(), each.type.casefold()) == wanted for each in supported_extensions())
