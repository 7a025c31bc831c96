"""The life of a simulated pod, under virtual time (docs/rules.md, "Health": what machines play)."""

from __future__ import annotations

import pytest
from pod_bodies import PlayedPod, container, pod_body, probe, sidecar

from scalesets.local.machines.faults import Mode


def test_a_pod_without_readiness_probe_is_ready_when_started() -> None:
    pod = PlayedPod(pod_body())

    assert (pod.phase, pod.ready, pod.waits_for("os")) == ("Pending", False, "ContainerCreating")
    assert not pod.after(0.9).ready
    pod.after(0.2)

    assert (pod.phase, pod.ready) == ("Running", True)
    assert pod["os"]["started"] and pod["os"]["restartCount"] == 0 and pod["os"]["containerID"]


def test_a_readiness_probe_waits_for_its_initial_delay() -> None:
    pod = PlayedPod(pod_body(container(readinessProbe=probe(2, initialDelaySeconds=5))))

    pod.after(2)
    assert (pod.phase, pod["os"]["started"], pod.ready) == ("Running", True, False)
    assert pod.after(4.1).ready


def test_a_readiness_gate_holds_the_pod_back_until_its_condition_is_true() -> None:
    pod = PlayedPod(pod_body(readinessGates=[{"conditionType": "example/gate"}])).after(2)

    assert pod["os"]["ready"] and not pod.ready
    pod.pod.see_conditions([{"type": "example/gate", "status": "True"}])
    assert pod.ready


def test_init_containers_and_sidecars_start_one_after_the_other() -> None:
    body = pod_body(init=(container("custom-data"), sidecar("monitor"), sidecar("health")))
    pod = PlayedPod(body)

    started = []
    for _ in range(10):
        pod.after(0.5)
        started.append([name for name in ("custom-data", "monitor", "health", "os") if pod[name].get("containerID")])

    growing = [names for index, names in enumerate(started) if index == 0 or names != started[index - 1]]
    assert growing == [
        [],
        ["custom-data"],
        ["custom-data", "monitor"],
        ["custom-data", "monitor", "health"],
        ["custom-data", "monitor", "health", "os"],
    ]
    assert pod["custom-data"]["state"]["terminated"]["exitCode"] == 0
    assert pod["monitor"]["ready"] and pod["monitor"]["started"]
    assert pod.ready


def test_a_sidecar_whose_start_up_probe_fails_holds_the_next_ones_back_and_is_started_again() -> None:
    broken = sidecar("monitor", "x/monitor:2-broken", startupProbe=probe(2, failureThreshold=3))
    pod = PlayedPod(pod_body(init=(broken,))).after(5)

    assert (pod.phase, pod["monitor"]["started"], pod["monitor"]["restartCount"]) == ("Pending", False, 0)
    assert pod.waits_for("os") == "ContainerCreating"
    assert pod.after(3)["monitor"]["restartCount"] == 1


def test_a_sidecar_that_is_not_ready_makes_the_pod_unready() -> None:
    pod = PlayedPod(pod_body(init=(sidecar("monitor", "x/monitor:2-broken"),))).after(5)

    assert pod["os"]["ready"] and not pod["monitor"]["ready"]
    assert (pod.phase, pod.ready) == ("Running", False)


@pytest.mark.parametrize(
    ("tag", "phase", "reason"),
    [
        ("1-broken", "Running", ""),
        ("1-crash", "Running", "CrashLoopBackOff"),
        ("1-missing", "Pending", "ImagePullBackOff"),
    ],
)
def test_words_in_the_tag_say_how_a_container_fails(tag: str, phase: str, reason: str) -> None:
    pod = PlayedPod(pod_body(container(image=f"registry.example:5000/os:{tag}"))).after(60)

    assert (pod.phase, pod.waits_for("os"), pod.ready) == (phase, reason, False)


def test_a_word_in_the_name_of_an_image_means_nothing() -> None:
    assert PlayedPod(pod_body(container(image="broken.example:80/crash/missing:1.0.0@sha256:broken"))).after(2).ready


def test_slow_is_late() -> None:
    pod = PlayedPod(pod_body(container(image="x/os:1-slow")))

    assert not pod.after(3.9).ready
    assert pod.phase == "Running"
    assert pod.after(0.2).ready


def test_a_crash_loop_counts_restarts_with_growing_pauses() -> None:
    pod = PlayedPod(pod_body(container(image="x/os:1-crash")))

    counts = [pod.after(seconds)["os"]["restartCount"] for seconds in (1.1, 1, 2, 4, 8)]

    assert counts == [0, 1, 2, 3, 4]
    assert pod["os"]["lastState"]["terminated"]["exitCode"] == 1


def test_a_pod_that_is_never_restarted_fails_when_it_crashes() -> None:
    assert PlayedPod(pod_body(container(image="x/os:1-crash"), restartPolicy="Never")).after(2).phase == "Failed"


def using(kind: str, name: str, key: str = "", **more: object) -> dict[str, object]:
    """A container's field that names a Secret or ConfigMap."""
    if not key:
        return {"envFrom": [{f"{kind}Ref": {"name": name, **more}}]}
    return {"env": [{"name": "X", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key, **more}}}]}


class TestWhatAContainerNeeds:
    @pytest.mark.parametrize(
        ("field", "words"),
        [
            (using("secret", "keys"), 'secret "keys" not found'),
            (using("secret", "keys", "token"), 'secret "keys" not found'),
            (using("configMap", "words", "hello"), 'configmap "words" not found'),
        ],
    )
    def test_what_is_not_there_is_said_in_the_kubelets_words(self, field: dict[str, object], words: str) -> None:
        pod = PlayedPod(pod_body(container(**field))).after(3)

        assert pod["os"]["state"] == {"waiting": {"reason": "CreateContainerConfigError", "message": words}}
        assert (pod.phase, pod["os"]["started"], pod["os"]["restartCount"]) == ("Pending", False, 0)
        pod.objects["Secret", "keys"] = {"data": {"token": "eA=="}}
        pod.objects["ConfigMap", "words"] = {"data": {"hello": "you"}}
        assert pod.after(3).ready and pod["os"]["restartCount"] == 0

    def test_a_key_that_is_not_there(self) -> None:
        pod = PlayedPod(pod_body(container(**using("secret", "keys", "token"))))
        pod.objects["Secret", "keys"] = {"data": {"other": "eA=="}}
        pod.after(3)

        assert pod["os"]["state"]["waiting"]["message"] == "couldn't find key token in Secret default/keys"

    def test_what_is_optional_is_not_needed(self) -> None:
        assert PlayedPod(pod_body(container(**using("secret", "keys", "token", optional=True)))).after(2).ready

    def test_a_container_that_runs_does_not_look_again_but_a_patched_one_does(self) -> None:
        pod = PlayedPod(pod_body(init=(sidecar("monitor", "x/monitor:1", **using("secret", "keys")),)))
        pod.objects["Secret", "keys"] = {}
        assert pod.after(5).ready
        before = pod["monitor"]["containerID"]
        pod.objects.clear()
        assert pod.after(5).ready

        pod.patch("monitor", "x/monitor:2").after(3)
        assert pod.waits_for("monitor") == "CreateContainerConfigError" and not pod.ready
        assert pod["monitor"]["lastState"]["terminated"]["containerID"] == before and pod["os"]["ready"]
        pod.objects["Secret", "keys"] = {}
        assert pod.after(5).ready
        assert (pod["monitor"]["image"], pod["monitor"]["restartCount"]) == ("x/monitor:2", 1)

    def test_what_is_to_be_mounted_leaves_the_pod_where_it_is(self) -> None:
        volume = {"name": "keys", "secret": {"secretName": "keys"}}
        pod = PlayedPod(pod_body(volumes=[volume])).after(5)

        assert (pod.phase, pod.waits_for("os")) == ("Pending", "ContainerCreating")
        pod.objects["Secret", "keys"] = {}
        assert pod.after(5).ready
        pod.objects.clear()
        assert pod.set_mode("os", Mode.CRASH).set_mode("os", None).after(5).ready, "it is mounted already"

    def test_machines_that_are_started_again_go_on_trying(self) -> None:
        pod = PlayedPod(pod_body(container(**using("secret", "keys")))).after(3)
        pod.restart_of_the_machines()

        assert pod.after(1).waits_for("os") == "CreateContainerConfigError"
        pod.objects["Secret", "keys"] = {}
        assert pod.after(3).ready


class TestPatchedInPlace:
    """Old status for a while, then falsely ready for one start-up period, then the truth."""

    def a_running_pod(self) -> PlayedPod:
        extension = sidecar("monitor", "x/monitor:1", startupProbe=probe(4), readinessProbe=probe(2))
        return PlayedPod(pod_body(init=(extension, sidecar("health")))).after(10)

    def test_a_good_image_restarts_that_container_alone(self) -> None:
        pod = self.a_running_pod()
        before = {name: pod[name] for name in ("monitor", "health", "os")}

        pod.patch("monitor", "x/monitor:2").after(1.4)
        assert pod["monitor"] == before["monitor"] and pod.ready
        pod.after(0.2)

        after = pod["monitor"]
        assert after["image"] == "x/monitor:2" and after["containerID"] != before["monitor"]["containerID"]
        assert (after["restartCount"], after["ready"], after["started"]) == (1, True, True)
        assert after["lastState"]["terminated"]["containerID"] == before["monitor"]["containerID"]
        assert after["imageID"] == before["monitor"]["imageID"], "the same digest under another tag"
        assert all(pod[name] == before[name] for name in ("health", "os"))
        assert pod.after(60).ready

    def test_a_bad_image_looks_ready_for_one_start_up_period(self) -> None:
        pod = self.a_running_pod().patch("monitor", "x/monitor:2-broken")

        pod.after(1.6)
        assert pod["monitor"]["containerID"].endswith("monitor-1") and pod.ready
        assert pod.after(3.7).ready
        pod.after(0.4)
        assert not pod.ready and not pod["monitor"]["started"]

    def test_a_bad_image_is_found_out_with_a_new_transition_time_and_leaves_the_others_alone(self) -> None:
        pod = self.a_running_pod()
        others, since = [pod["health"], pod["os"]], pod.ready_since
        pod.patch("monitor", "x/monitor:2-broken").after(1.6)
        assert (pod.ready, pod.ready_since) == (True, since)

        pod.after(4)

        assert (pod.ready, pod["monitor"]["restartCount"]) == (False, 1)
        assert pod.ready_since > since
        assert [pod["health"], pod["os"]] == others

    @pytest.mark.parametrize(
        ("tag", "acts_after"),
        [("2-broken", 1.5 + 3 * 4), ("2", 1.5 + 4), ("2-slow", 1.5 + 4 + 3)],
        ids=["uses its budget up", "succeeds", "succeeds late"],
    )
    def test_the_way_back_waits_for_the_start_up_probe_also_while_falsely_started(
        self, tag: str, acts_after: float
    ) -> None:
        pod = self.a_running_pod().patch("monitor", f"x/monitor:{tag}").after(1.6)
        new = pod["monitor"]["containerID"]
        assert pod["monitor"]["started"]

        pod.patch("monitor", "x/monitor:1").after(acts_after - 1.6 - 0.1)
        assert pod["monitor"]["containerID"] == new
        pod.after(0.2)

        assert (pod["monitor"]["image"], pod["monitor"]["restartCount"]) == ("x/monitor:1", 2)
        assert pod["monitor"]["containerID"] != new
        assert pod.after(60).ready

    def test_without_a_start_up_probe_the_way_back_is_open_at_once(self) -> None:
        pod = self.a_running_pod().patch("health", "x/health:2-broken").after(4)
        assert not pod.ready

        assert pod.patch("health", "x/health:1").after(1.6).ready

    def test_only_sidecars_wait_for_their_start_up_probe(self) -> None:
        pod = PlayedPod(pod_body(container(startupProbe=probe(10)))).after(5).patch("os", "x/os:2-broken").after(3)

        assert pod.patch("os", "x/os:3").after(1.6)["os"]["image"] == "x/os:3"

    def test_a_patch_that_is_taken_back_before_it_is_seen_never_was(self) -> None:
        pod = self.a_running_pod()
        before = pod["monitor"]

        pod.patch("monitor", "x/monitor:2").after(1).patch("monitor", "x/monitor:1").after(60)

        assert pod["monitor"] == before

    def test_an_image_that_is_missing_leaves_the_former_containers_id_and_count(self) -> None:
        pod = self.a_running_pod()
        before = pod["monitor"]

        pod.patch("monitor", "x/monitor:2-missing").after(1.6)
        assert pod["monitor"]["containerID"] == before["containerID"]
        assert (pod["monitor"]["restartCount"], pod["monitor"]["ready"]) == (0, False)
        pod.patch("monitor", "x/monitor:1").after(1.6)

        assert pod["monitor"]["containerID"] != before["containerID"]
        assert (pod["monitor"]["restartCount"], pod.ready) == (1, True)

    def test_an_image_that_could_not_be_pulled_at_first_just_starts_when_it_is_mended(self) -> None:
        broken = PlayedPod(pod_body(init=(sidecar("monitor", "x/monitor:1-missing"),))).after(5)
        assert broken.waits_for("monitor") == "ImagePullBackOff"

        still = broken.patch("monitor", "x/monitor:2-broken").after(5)
        assert (still["monitor"]["restartCount"], still["monitor"]["ready"]) == (0, False)

        assert still.patch("monitor", "x/monitor:3").after(5).ready

    def test_the_way_back_waits_for_the_end_of_the_start_up_probe(self) -> None:
        pod = self.a_running_pod().patch("monitor", "x/monitor:2-broken").after(8)
        bad = pod["monitor"]["containerID"]

        pod.patch("monitor", "x/monitor:1").after(1.6)
        assert pod["monitor"]["containerID"] == bad and not pod.ready
        pod.after(12)

        assert pod["monitor"]["image"] == "x/monitor:1" and pod.ready

    @pytest.mark.parametrize(("tag", "reason"), [("2-crash", "CrashLoopBackOff"), ("2-missing", "ImagePullBackOff")])
    def test_an_image_that_does_not_start_is_seen_at_once(self, tag: str, reason: str) -> None:
        pod = self.a_running_pod().patch("monitor", f"x/monitor:{tag}").after(1.6)

        assert pod.waits_for("monitor") == reason and not pod.ready
        assert pod.patch("monitor", "x/monitor:3").after(1.6).ready

    def test_a_second_patch_before_the_first_is_seen_wins(self) -> None:
        pod = self.a_running_pod().patch("monitor", "x/monitor:2").after(1).patch("monitor", "x/monitor:3").after(1)

        assert (pod["monitor"]["image"], pod["monitor"]["restartCount"]) == ("x/monitor:3", 1)

    def test_before_its_first_start_a_container_just_starts_with_the_new_image(self) -> None:
        pod = PlayedPod(pod_body()).patch("os", "x/os:2").after(1.1)

        assert (pod["os"]["image"], pod["os"]["restartCount"], pod.ready) == ("x/os:2", 0, True)


class TestRules:
    def test_unready_strikes_a_ready_pod_and_healing_brings_it_back(self) -> None:
        pod = PlayedPod(pod_body()).after(2)

        assert not pod.set_mode("os", Mode.UNREADY).ready
        assert pod.phase == "Running"
        assert pod.set_mode("os", None).after(1.1).ready
        assert pod["os"]["restartCount"] == 0

    def test_never_ready_leaves_a_ready_pod_alone(self) -> None:
        assert PlayedPod(pod_body()).after(2).set_mode("os", Mode.NEVER_READY).after(60).ready

    def test_crash_strikes_what_runs_and_healing_ends_the_back_off(self) -> None:
        pod = PlayedPod(pod_body()).after(2).set_mode("os", Mode.CRASH).after(20)

        assert pod.waits_for("os") == "CrashLoopBackOff" and pod["os"]["restartCount"] >= 3
        assert pod.set_mode("os", None).after(1.1).ready

    def test_missing_heals_when_the_image_is_there(self) -> None:
        pod = PlayedPod(pod_body(), modes={"os": Mode.MISSING}).after(20)

        assert pod.waits_for("os") == "ImagePullBackOff"
        assert pod.set_mode("os", None).after(1.1).ready

    def test_stop_ends_the_pod_for_good(self) -> None:
        pod = PlayedPod(pod_body(init=(sidecar("monitor"),))).after(5).set_mode("os", Mode.STOP)

        assert (pod.phase, pod.ready) == ("Failed", False)
        assert pod.set_mode("os", None).after(60).phase == "Failed"

    def test_nothing_is_patched_in_a_pod_that_ended(self) -> None:
        pod = PlayedPod(pod_body()).after(2).patch("os", "x/os:2").set_mode("os", Mode.STOP)

        assert pod.pod.next_due is None
        assert pod.patch("os", "x/os:3").pod.next_due is None

    def test_healing_starts_no_container_before_its_turn(self) -> None:
        held = sidecar("monitor", "x/monitor:1-broken", startupProbe=probe(10))
        pod = PlayedPod(pod_body(init=(held,)), modes={"os": Mode.NEVER_READY}).after(3)

        pod.set_mode("os", None).after(5)

        assert not pod["os"].get("containerID")


class TestTakenOver:
    """The machines' process was started again: a pod goes on as its status says."""

    @pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5, 2.5, 10.0])
    def test_a_pod_goes_on_from_wherever_it_was(self, seconds: float) -> None:
        pod = PlayedPod(pod_body(init=(container("custom-data"), sidecar("monitor")))).after(seconds)
        ids = {name: pod[name].get("containerID") for name in ("monitor", "os")}

        pod.restart_of_the_machines()

        assert pod.after(10).ready
        for name, before in ids.items():
            assert pod[name]["restartCount"] == 0
            assert before in (None, pod[name]["containerID"])

    def test_readiness_keeps_its_transition_time(self) -> None:
        pod = PlayedPod(pod_body()).after(10)
        since = pod.ready_since

        pod.restart_of_the_machines()

        assert pod.after(10).ready_since == since

    def test_an_unready_sidecar_starts_nothing_anew(self) -> None:
        pod = PlayedPod(pod_body(init=(sidecar("monitor"),))).after(10).set_mode("monitor", Mode.UNREADY)
        before = pod["os"]

        pod.restart_of_the_machines()

        assert pod.after(10)["os"] == before

    def test_a_crash_loop_goes_on_counting(self) -> None:
        pod = PlayedPod(pod_body(container(image="x/os:1-crash"))).after(10)
        before = pod["os"]["restartCount"]

        pod.restart_of_the_machines()

        assert pod.after(5)["os"]["restartCount"] > before

    @pytest.mark.parametrize("seconds", [1.6, 5.0, 5.6, 8.0])
    def test_a_bad_image_that_was_patched_is_found_out(self, seconds: float) -> None:
        extension = sidecar("monitor", "x/monitor:1", startupProbe=probe(4))
        pod = PlayedPod(pod_body(init=(extension,))).after(10).patch("monitor", "x/monitor:2-broken").after(seconds)

        pod.restart_of_the_machines()

        assert not pod.after(5).ready
        assert pod.patch("monitor", "x/monitor:1").after(14).ready

    def test_an_image_patched_meanwhile_is_noticed(self) -> None:
        pod = PlayedPod(pod_body()).after(5).patch("os", "x/os:2")

        pod.restart_of_the_machines()

        assert pod.after(3)["os"]["image"] == "x/os:2"
        assert pod["os"]["restartCount"] == 1
