"""The pod template and an extension's container: Kubernetes' own schema (podschema.py) with what our kinds add to it.

The container `os` has no image, as it comes from `imageReference`. What makes an instance itself (its name, its node,
its zone, our labels) is not the template's to say, so it is refused when it says it. `maxItems` and `maxLength` are
where our rules look, to keep their cost in budget.
"""

from typing import Annotated, Any

from scalesets.api.common import DNS_LABEL
from scalesets.api.podschema import resolved
from scalesets.api.schema import Embedded, Rule, Schema

MAX_CONTAINERS = 32
MAX_ANNOTATION = 262_144
"""What all annotations of an object may have."""
OUR_DOMAIN = "scalesets.dev/"
OWN_CONTAINERS = ("os", "custom-data")


def pod_template_schema() -> Schema:
    """The schema of `template`."""
    schema = resolved("PodTemplateSpec")
    schema["required"] = ["spec"]
    rule_metadata(schema["properties"]["metadata"], longest=MAX_ANNOTATION)
    _rule_pod(schema["properties"]["spec"])
    return schema


def extension_container_schema() -> Schema:
    """The schema of `Extension.container`: a container without name and image: its user and the version give them."""
    schema = resolved("Container")
    del schema["required"]
    _bound_names(schema)
    add_rules(
        schema,
        Rule(
            rule="!has(self.name)",
            message="name must not be set: the container is named as its user names the extension; remove it",
            field=".name",
            reason="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.image)",
            message="image must not be set: it is taken from versions; remove it",
            field=".image",
            reason="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.restartPolicy) || self.restartPolicy == 'Always'",
            message="restartPolicy must be Always, as an extension is a sidecar; remove it",
            field=".restartPolicy",
        ),
    )
    add_rules(
        schema["properties"]["startupProbe"],
        Rule(
            rule="(has(self.initialDelaySeconds) ? self.initialDelaySeconds : 0)"
            " + (has(self.periodSeconds) ? self.periodSeconds : 10)"
            " * (has(self.failureThreshold) ? self.failureThreshold : 3) <= 300",
            message="startupProbe may take 300 s in all: lower initialDelaySeconds, periodSeconds or failureThreshold",
        ),
    )
    return schema


PodTemplate = Annotated[dict[str, Any], Embedded(pod_template_schema)]
ExtensionContainer = Annotated[dict[str, Any], Embedded(extension_container_schema)]


def rule_metadata(metadata: Schema, *, longest: int) -> None:
    """Bound labels and annotations (their values to `longest`), and refuse those that are the operator's."""
    metadata["properties"] |= {"labels": string_map(longest=63), "annotations": string_map(longest=longest)}
    for name in ("labels", "annotations"):
        add_rules(
            metadata,
            Rule(
                rule=f"!has(self.{name}) || self.{name}.all(key, !key.contains('{OUR_DOMAIN}'))",
                message=f"{name} of {OUR_DOMAIN} are the operator's own: remove them",
                field=f".{name}",
                reason="FieldValueForbidden",
            ),
        )


def _rule_pod(spec: Schema) -> None:
    fields = spec["properties"]
    for name in ("containers", "initContainers"):
        fields[name]["maxItems"] = MAX_CONTAINERS
        _bound_names(fields[name]["items"])
    for name, mend in (
        ("nodeName", "the scheduler places instances; use nodeSelector or affinity"),
        ("hostname", "the {kind} gives the name; set spec.serviceName to have the name as hostname"),
        ("hostnameOverride", "the {kind} gives the name; set spec.serviceName to have the name as hostname"),
        ("subdomain", "set spec.serviceName instead"),
        ("activeDeadlineSeconds", "an instance runs until it is replaced; remove it"),
    ):
        add_rules(
            spec,
            Rule(
                rule=f"!has(self.{name})",
                message=f"{name} must not be set: {mend}",
                field=f".{name}",
                reason="FieldValueForbidden",
            ),
        )
    add_rules(
        spec,
        Rule(
            rule="!has(self.restartPolicy) || self.restartPolicy == 'Always'",
            message="restartPolicy must be Always, as an instance runs until it is replaced; remove it",
            field=".restartPolicy",
        ),
        Rule(
            rule="self.containers.exists(c, c.name == 'os')",
            message="containers must have one named os: name the main container os and leave out its image",
            field=".containers",
            reason="FieldValueRequired",
        ),
        Rule(
            rule="self.containers.all(c, c.name != 'os' || !has(c.image))",
            message="containers can't give os an image: it comes from spec.imageReference; remove it",
            field=".containers",
            reason="FieldValueForbidden",
        ),
        Rule(
            rule="self.containers.all(c, c.name != 'os' || !has(c.restartPolicy) || c.restartPolicy == 'Always')",
            message="containers can't give os a restartPolicy other than Always: remove it",
            field=".containers",
        ),
        Rule(
            rule="self.containers.all(c, c.name == 'os' || has(c.image))",
            message="containers other than os must have an image: add it",
            field=".containers",
            reason="FieldValueRequired",
        ),
        Rule(
            rule="!has(self.initContainers) || self.initContainers.all(c, has(c.image))",
            message="initContainers must have an image: add it",
            field=".initContainers",
            reason="FieldValueRequired",
        ),
        Rule(
            rule=f"!has(self.initContainers) || self.initContainers.all(c, !(c.name in {list(OWN_CONTAINERS)}))",
            message="initContainers can't be named os or custom-data, which the operator uses itself: rename it",
            field=".initContainers",
        ),
        Rule(
            rule="self.containers.all(c, c.name != 'custom-data')",
            message="containers can't be named custom-data, which the operator uses itself: rename it",
            field=".containers",
        ),
    )


def _bound_names(container: Schema) -> None:
    container["properties"]["name"] |= {"minLength": 1, "maxLength": 63, "pattern": DNS_LABEL}
    container["properties"]["image"] |= {"minLength": 1, "maxLength": 512}
    container["properties"]["restartPolicy"] |= {"maxLength": 16}


def string_map(*, longest: int, most: int = 64) -> Schema:
    """A map of strings, bounded."""
    return {
        "type": "object",
        "maxProperties": most,
        "additionalProperties": {"type": "string", "maxLength": longest},
    }


def add_rules(schema: Schema, *rules: Rule) -> None:
    """Put rules on an object."""
    schema.setdefault("x-kubernetes-validations", []).extend(rule.as_schema() for rule in rules)
