"""The operator ends within the kubelet's usual grace, whatever the API server does then."""

from __future__ import annotations

import asyncio
from pathlib import Path

from builders import a_set, an_image
from faultproxy import UNAUTHORIZED, Delay, Fault, FaultProxy, Request
from operators import Operators
from scene import Scene

from scalesets.local.controlplane import ControlPlane


async def test_told_to_while_the_api_server_is_silent(
    own_operators: Operators, control_plane: ControlPlane, scene: Scene, tmp_path: Path
) -> None:
    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        operator = own_operators.new(kubeconfig=proxy.kubeconfig)
        await asyncio.to_thread(operator.start)
        await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
        await scene.until_ready()

        proxy.rule = lambda _: Delay(3600)
        proxy.cut_connections()
        await scene.until(lambda: proxy.injected["Delay"] >= 3, what="watches to be asked for again")
        assert await asyncio.to_thread(operator.stop, within=25) == 0


async def test_its_credentials_are_taken_away(
    own_operators: Operators, control_plane: ControlPlane, scene: Scene, tmp_path: Path
) -> None:
    """As `helm uninstall` does: the ServiceAccount goes before the pod."""

    def watches(request: Request) -> Fault | None:
        return UNAUTHORIZED if request.watch else None

    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        operator = own_operators.new(kubeconfig=proxy.kubeconfig)
        await asyncio.to_thread(operator.start)
        proxy.rule = watches
        proxy.cut_connections()
        await scene.until(lambda: not operator.running, within=25, what="the operator to end")
        assert "the API server doesn't accept the operator's credentials any more" in operator.output()
        assert operator.stop() != 0
        lease = await scene.api.get("Lease", "scaleset-system", "scaleset-operator")
        assert lease["spec"]["holderIdentity"] == "", "the next one may lead at once"
