"""What an instance is made of, the same for a ScaleSet and a VirtualMachine: image, custom data, extensions.

An extension is a native sidecar, named as the author names it here. What two extensions of one instance can't both be
(one type, one name, first and last) is refused with their names; a circle of more than two in
`provisionAfterExtensions` is found by the operator, as CEL has no recursion.
"""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from scalesets.api.common import (
    LABEL_VALUE,
    MAX_EXTENSIONS,
    VERSION_NUMBER,
    ExtensionName,
    ObjectName,
    ProductName,
    SecretKeyRef,
    SecretRef,
)
from scalesets.api.schema import ANY_OBJECT, Model, Rule, Worded, immutable, map_list, ruled
from scalesets.api.template import OWN_CONTAINERS

ANOTHER = "create another {kind}"

Zone = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=LABEL_VALUE)]
WantedVersion = Annotated[
    str,
    StringConstraints(max_length=32, pattern=f"^(latest|{VERSION_NUMBER})$"),
    Worded("version must be latest or Major.Minor.Patch, such as 22.4.202611010"),
]
HandlerVersion = Annotated[
    str,
    StringConstraints(max_length=32, pattern=r"^[0-9]{1,10}(\.[0-9]{1,10}){0,2}$"),
    Worded("typeHandlerVersion must be Major, Major.Minor or Major.Minor.Patch, such as 1.0"),
]

SHORT_NAME = Rule(
    rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    message="metadata.name must be a DNS label of at most 52 characters: choose another",
    field=".metadata.name",
)
"""Pods, claims and upgrades are named after the object."""


class ImageReference(Model):
    """Where OS disks come from: a publisher's SKU, or a gallery image by name."""

    rules = (
        Rule(
            rule="has(self.galleryImage)"
            " ? !has(self.publisher) && !has(self.offer) && !has(self.sku)"
            " : has(self.publisher) && has(self.offer) && has(self.sku)",
            message="imageReference must have either publisher, offer and sku, or galleryImage",
            reason="FieldValueRequired",
        ),
        immutable("publisher", f"{ANOTHER} for another publisher"),
        immutable("offer", f"{ANOTHER} for another offer"),
        immutable("galleryImage", f"{ANOTHER} for another image"),
    )

    publisher: ProductName | None = None
    """Who publishes the image. Immutable."""
    offer: ProductName | None = None
    """A group of related images of the publisher. Immutable."""
    sku: ProductName | None = None
    """One of the offer, such as a major release. It can change, as an explicit change of the model."""
    gallery_image: ObjectName | None = None
    """Name of a GalleryImage, instead of publisher, offer and sku. Immutable."""
    version: WantedVersion = "latest"
    """latest, or one exact version."""


class CustomDataSource(Model):
    """Where custom data comes from."""

    secret_key_ref: SecretKeyRef
    """A key of a Secret in the same namespace."""


class WindowsConfiguration(Model):
    """What is said to Windows images."""

    enable_automatic_updates: bool = False
    """Windows' own updates; automatic OS image upgrades need false."""


class OSProfile(Model):
    """What is set up on every new OS disk."""

    rules = (
        Rule(
            rule="!has(self.customData) || !has(self.customDataFrom)",
            message="customData and customDataFrom exclude each other: remove one",
            field=".customDataFrom",
        ),
    )

    custom_data: Annotated[str, StringConstraints(min_length=1, max_length=65535)] | None = None
    """A shell script that runs on every new OS disk, in an init container with the image, the volume mounts and the
    variables of `os`."""
    custom_data_from: CustomDataSource | None = None
    """The script in a Secret, instead of customData."""
    windows_configuration: WindowsConfiguration = WindowsConfiguration()
    """For Windows images."""


class ProtectedSettings(Model):
    """Settings that are secret."""

    secret_ref: SecretRef
    """A Secret in the same namespace."""


class InstalledExtension(Model):
    """An extension of each instance: a sidecar."""

    rules = (
        Rule(
            rule=f"!(self.name in {list(OWN_CONTAINERS)})",
            message="name can't be os or custom-data, which the operator uses itself: choose another",
            field=".name",
        ),
    )

    name: ExtensionName
    """Its name here, and of its container."""
    publisher: ProductName
    """Publisher of the Extension."""
    type: ProductName
    """Type of the Extension."""
    type_handler_version: HandlerVersion
    """The version to install: 1, 1.0 or 1.0.4. The major never changes by itself."""
    auto_upgrade_minor_version: bool = False
    """At creation, install the newest minor of the major instead."""
    enable_automatic_upgrade: bool = False
    """New versions of the installed major are rolled out automatically."""
    settings: Annotated[dict[str, Any], ANY_OBJECT] | None = None
    """Any object; reaches the extension as a file and as the variable EXTENSION_SETTINGS."""
    protected_settings_from: ProtectedSettings | None = None
    """Secret settings; reach the extension as files."""
    provision_after_extensions: Annotated[tuple[ExtensionName, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """Extensions beside it that must have started before it."""


_SAME_TYPE = "o.publisher == e.publisher && o.type == e.type"
_AFTER = "e.provisionAfterExtensions"
_WAITS_TOO = "o.name == n && has(o.provisionAfterExtensions) && e.name in o.provisionAfterExtensions"

# `says` uses format, since the API server can't estimate what `+` and join cost on a filtered list.
_ONE_OF_A_TYPE = Rule(
    rule=f"self.all(e, self.exists_one(o, {_SAME_TYPE}))",
    message="extensions must differ in publisher or type: remove one",
    says="'extensions %s must differ in publisher or type: remove one'"
    f".format([self.filter(e, !self.exists_one(o, {_SAME_TYPE})).map(e, e.name)])",
)
_NOT_AFTER_ITSELF = Rule(
    rule=f"self.all(e, !has({_AFTER}) || !(e.name in {_AFTER}))",
    message="provisionAfterExtensions can't name the extension itself: remove it",
    says="'provisionAfterExtensions can\\'t name the extension itself: remove it from %s'"
    f".format([self.filter(e, has({_AFTER}) && e.name in {_AFTER}).map(e, e.name)])",
)
_AFTER_KNOWN = Rule(
    rule=f"self.all(e, !has({_AFTER}) || {_AFTER}.all(n, self.exists(o, o.name == n)))",
    message="provisionAfterExtensions must name extensions that stand here: add them or remove their names",
    says="'provisionAfterExtensions must name extensions that stand here: add %s or remove their names'"
    f".format([self.map(e, has({_AFTER}) && !{_AFTER}.all(n, self.exists(o, o.name == n)),"
    f" {_AFTER}.filter(n, !self.exists(o, o.name == n)))])",
)
_NO_PAIR = Rule(
    rule=f"self.all(e, !has({_AFTER}) || {_AFTER}.all(n, n == e.name || !self.exists(o, {_WAITS_TOO})))",
    message="provisionAfterExtensions must not form a circle: remove one of the names",
    says="'provisionAfterExtensions must not form a circle: %s wait for each other; remove one of the names'"
    f".format([self.filter(e, has({_AFTER})"
    f" && {_AFTER}.exists(n, n != e.name && self.exists(o, {_WAITS_TOO}))).map(e, e.name)])",
)

InstalledExtensions = Annotated[
    tuple[InstalledExtension, ...],
    Field(max_length=MAX_EXTENSIONS),
    map_list("name"),
    ruled(_ONE_OF_A_TYPE, _NOT_AFTER_ITSELF, _AFTER_KNOWN, _NO_PAIR),
]

_A_CONTAINERS_NAME = (
    "(self.template.spec.containers.exists(c, c.name == e.name)"
    " || has(self.template.spec.initContainers)"
    " && self.template.spec.initContainers.exists(c, c.name == e.name))"
)
NAMES_OF_THEIR_OWN = Rule(
    rule=f"!has(self.extensions) || self.extensions.all(e, !{_A_CONTAINERS_NAME})",
    message="extensions must not be named as a container of the template: rename one",
    says="'extensions must not be named as a container of the template: rename one of those named %s'"
    f".format([self.extensions.filter(e, {_A_CONTAINERS_NAME}).map(e, e.name)])",
    field=".extensions",
)
"""A rule of the spec, where extensions and template stand side by side."""


def no_zone_beside(field: str) -> Rule:
    """A rule of the spec: where `field` says the zone, the template's node selector doesn't."""
    selector = "self.template.spec.nodeSelector"
    return Rule(
        rule=f"!has(self.{field}) || !has({selector}) || !('topology.kubernetes.io/zone' in {selector}"
        f" || 'failure-domain.beta.kubernetes.io/zone' in {selector})",
        message=f"nodeSelector must not choose a zone beside spec.{field}: remove one of the two",
        field=".template.spec.nodeSelector",
        reason="FieldValueForbidden",
    )
