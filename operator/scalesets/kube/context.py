"""What the writes of one decision rest on: the set as it was seen, and what it takes to make its pods."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from scalesets.engine.decision import PatchExtension
from scalesets.engine.view import Release, SetView
from scalesets.kube import catalogues, tracing
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import owner_kind
from scalesets.kube.memory import Memory
from scalesets.kube.names import Raw, plain_name
from scalesets.kube.seen import Key, Seen
from scalesets.kube.templates import Images, Template
from scalesets.kube.world import World

_MOST_TEMPLATES = 8


@dataclass(slots=True)
class Context:
    """One decision's surroundings. Actions that are performed a little later still hold on to it."""

    key: Key
    seen: Seen
    view: SetView
    memory: Memory
    part_of: tracing.Part | None = field(default_factory=tracing.part_of)  # the look that made the decision
    _images: dict[Release, Images | str] = field(default_factory=dict)
    _fresh: asyncio.Task[bool] | None = None

    @property
    def scale_set(self) -> Raw:
        """The set as it was when the decision was made."""
        return self.seen.scale_set

    @property
    def api_key(self) -> Key:
        """Namespace and name of the object itself."""
        return self.key[0], plain_name(self.key[1])

    @property
    def uid(self) -> str:
        """The set's UID."""
        return self.view.uid

    def images(self, release: Release) -> Images | str:
        """The images of a release; words when one is not known."""
        found = self._images.get(release)
        if found is None:
            model = self.view.models.get(release.model)
            if model is None:
                found = f"model {release.model} is not among the set's ControllerRevisions any more"
            else:
                found = catalogues.images_of(self.seen, model, release)
            self._images[release] = found
        return found

    def extension_images(self, action: PatchExtension) -> tuple[str, str, str]:
        """The image that an instance's extension has, that which it is patched to, and what is missing in words."""
        instance = self.view.instances.get(action.ordinal)
        release = instance.release if instance is not None else None
        model = (self.view.models.get(release.model) if release is not None else None) or self.view.model
        installed = dict(release.extensions).get(action.name, "") if release is not None else ""
        former, _ = catalogues.extension_image(self.seen, model, action.name, installed)
        return former, *catalogues.extension_image(self.seen, model, action.name, action.version)

    def template(self, model: str) -> Template:
        """The pod template of a model. Kept over decisions: its skeletons are what makes an instance cheap."""
        revision = self.seen.revisions[model]
        metadata = self.scale_set["metadata"]
        key = (
            model,
            revision["metadata"]["resourceVersion"],
            metadata["generation"],
            self.view.zones_backed,
            self.view.update_domain,
        )
        template: Template | None = self.memory.templates.get(key)
        if template is None:
            while len(self.memory.templates) >= _MOST_TEMPLATES:
                self.memory.templates.pop(next(iter(self.memory.templates)))
            template = Template(
                self.scale_set,
                revision,
                zones_backed=bool(self.view.zones_backed),
                update_domain=self.view.update_domain,
            )
            self.memory.templates[key] = template
        return template

    async def is_still_there(self, cluster: Cluster, world: World) -> bool:
        """Whether the set exists with this UID and isn't being deleted, by a fresh read, once per decision.

        A claim has no owner: made for a set that is gone, nobody would ever take it away.
        """
        if self._fresh is None:
            self._fresh = asyncio.create_task(self._look(cluster, world))
        return await asyncio.shield(self._fresh)

    async def _look(self, cluster: Cluster, world: World) -> bool:
        try:
            raw = await cluster.get(owner_kind(self.scale_set), *self.api_key)
        except Refusal as refusal:
            if refusal.outcome is Outcome.MISSING:
                world.store_of(owner_kind(self.scale_set)).vanished(self.api_key, self.uid)
                return False
            raise
        world.store_of(owner_kind(self.scale_set)).put(raw)
        metadata = raw["metadata"]
        return bool(metadata["uid"] == self.uid and not metadata.get("deletionTimestamp"))
