"""Whatever is patched, however it fails, and whenever the machines are started again: what always holds of a pod."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pod_bodies import PlayedPod, container, pod_body, probe, sidecar

from scalesets.local.machines.faults import Mode

GOOD = "x/monitor:99"
IMAGES = [f"x/monitor:{number}{word}" for number in (1, 2) for word in ("", "-broken", "-slow", "-crash", "-missing")]
MODES = [None, Mode.NEVER_READY, Mode.UNREADY, Mode.CRASH, Mode.MISSING, Mode.SLOW]
SECONDS = st.sampled_from([0.0, 0.3, 1.0, 1.6, 4.0, 13.0, 40.0])

patches = st.tuples(st.just("patch"), st.sampled_from(IMAGES), SECONDS)
modes = st.tuples(st.just("mode"), st.sampled_from(MODES), SECONDS)
restarts = st.tuples(st.just("restart"), st.none(), SECONDS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(patches, patches, modes, restarts), max_size=8), st.sampled_from(IMAGES), st.booleans())
def test_a_pod_lives_on_and_ends_on_its_image(steps: list[tuple[str, object, float]], first: str, probes: bool) -> None:
    started = {"startupProbe": probe(4)} if probes else {}
    extensions = (sidecar("monitor", first, **started), sidecar("health"))
    pod = PlayedPod(pod_body(container(readinessProbe=probe(2)), init=extensions)).after(30)
    last = pod["monitor"]

    for what, value, seconds in steps:
        if what == "patch":
            pod.patch("monitor", str(value))
        elif what == "mode":
            pod.set_mode("monitor", value)  # type: ignore[arg-type]
        else:
            pod.restart_of_the_machines()
        pod.after(seconds)

        now = pod["monitor"]
        assert pod.pod.next_due is None or pod.pod.next_due > pod.now, "it would go round and round"
        assert now["restartCount"] >= last["restartCount"]
        if last.get("containerID"):
            another = now["containerID"] != last["containerID"]
            assert another == (now["restartCount"] > last["restartCount"])
        for other in ("health", "os"):
            assert pod[other]["restartCount"] == 0
        last = now

    pod.set_mode("monitor", None).patch("monitor", GOOD).after(120)
    assert pod.ready and pod["monitor"]["image"] == GOOD
    before = pod["monitor"]
    assert pod.after(600)["monitor"] == before
