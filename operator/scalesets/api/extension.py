"""Extension: a published extension, that instances carry as a native sidecar (E1, E11).

A ScaleSet or a VirtualMachine names it by publisher and type. `reportsApplicationHealth` makes its readiness the
application health signal (O3).
"""

from pydantic import Field

from scalesets.api.common import ProductName, PullSecrets
from scalesets.api.discovery import DiscoverySpec
from scalesets.api.schema import AGE, REASON, Column, Kind, Model, Resource
from scalesets.api.template import ExtensionContainer
from scalesets.api.versions import CatalogueStatus, OSType, PublishedVersions


class ExtensionSpec(Model):
    """An extension and its versions."""

    publisher: ProductName
    """Who publishes it."""
    type: ProductName
    """Its name among the publisher's extensions."""
    os_type: OSType = OSType.LINUX
    """The operating system that it is for: Linux or Windows."""
    supports_automatic_upgrade: bool = False
    """Whether automatic upgrade may be enabled for it."""
    reports_application_health: bool = False
    """Its container's readiness is the application health of the instance."""
    container: ExtensionContainer = Field(default={})
    """The sidecar, a container without name and image. Its start-up probe takes at most 300 s in all and must not ask
    the application. An edit reaches instances with their next model."""
    image_pull_secrets: PullSecrets = ()
    """Secrets to pull the images with, in the namespace of the instances."""
    versions: PublishedVersions = ()
    """The published versions; each is named Major.Minor.Patch."""
    discovery: DiscoverySpec | None = None
    """Finds further versions as tags of a repository; they are listed in `status.discovered`."""


class Extension(Resource):
    """An extension and its published versions. Instances carry it as a sidecar."""

    kind_info = Kind(
        name="Extension",
        plural="extensions",
        short_names=("vmext",),
        columns=(
            Column("Publisher", ".spec.publisher"),
            Column("Type", ".spec.type"),
            Column("Latest", ".status.latest[0].version"),
            Column("Automatic", ".spec.supportsAutomaticUpgrade", "boolean"),
            Column("OS", ".spec.osType", wide=True),
            REASON,
            AGE,
        ),
    )

    spec: ExtensionSpec
    """The extension and its versions."""
    status: CatalogueStatus = CatalogueStatus()
    """What the operator saw of them."""
