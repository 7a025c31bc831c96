"""A watch that stays away while all else works: the operator ends and says why, instead of going on half blind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from builders import a_set, an_image
from faultproxy import UNAVAILABLE, Answer, Fault, FaultProxy, Request
from operators import Operators
from scene import Scene

from scalesets.local.controlplane import ControlPlane

FORBIDDEN = Answer(403, "Forbidden", "pods is forbidden: User may not watch")


@pytest.mark.parametrize(
    ("plural", "fault", "words"),
    [("pods", FORBIDDEN, "bind the ClusterRole"), ("persistentvolumeclaims", UNAVAILABLE, "injected")],
    ids=["pods are forbidden", "claims are never served"],
)
async def test_it_ends_after_a_while_and_works_once_the_watch_does(
    own_operators: Operators,
    control_plane: ControlPlane,
    scene: Scene,
    tmp_path: Path,
    plural: str,
    fault: Fault,
    words: str,
) -> None:
    def no_watch(request: Request) -> Fault | None:
        return fault if request.watch and request.path.endswith(f"/{plural}") else None

    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        operator = own_operators.new("--watch-patience=PT3S", kubeconfig=proxy.kubeconfig)
        await asyncio.to_thread(operator.start)
        proxy.rule = no_watch
        proxy.cut_connections()
        await scene.until(lambda: not operator.running, within=30, what="the operator to end")
        assert f"stopped: {plural} in all namespaces can't be watched for 3 s now" in operator.output()
        assert words in operator.output()
        assert "Traceback" not in operator.output()

        proxy.rule = None
        await asyncio.to_thread(operator.start)
        await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
        await scene.until_ready()
