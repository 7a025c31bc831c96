"""The models as readers: tolerant, typed, quick; and their times and durations."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from api_objects import a_set, a_small_set, an_upgrade, changed
from pydantic import TypeAdapter

from scalesets.api.common import Condition, Duration, format_duration, format_second, format_time
from scalesets.api.policy import UpgradeMode
from scalesets.api.rollingupgrade import RollingUpgrade, UpgradeType
from scalesets.api.scaleset import ScaleSet
from scalesets.api.schema import camel


def test_a_reader_sees_the_defaults_of_an_object_that_was_never_stored() -> None:
    spec = ScaleSet.model_validate(a_small_set()).spec

    assert spec.replicas == 1
    assert spec.upgrade_policy.mode is UpgradeMode.ROLLING
    assert spec.upgrade_policy.rolling_upgrade_policy.health_timeout == timedelta(minutes=5)
    assert spec.zones == spec.extensions == spec.volume_claim_templates == ()


def test_fields_of_a_newer_crd_are_ignored() -> None:
    newer = changed(a_set(), {"spec.novelty": {"a": 1}, "spec.upgradePolicy.novelty": True, "status.novelty": [1]})

    assert ScaleSet.model_validate(newer).spec == ScaleSet.model_validate(a_set()).spec


def test_template_claims_and_settings_stay_as_they_were_written() -> None:
    body = a_set()
    spec = ScaleSet.model_validate(body).spec

    assert spec.template == body["spec"]["template"]
    assert list(spec.volume_claim_templates) == body["spec"]["volumeClaimTemplates"]
    assert spec.extensions[1].settings == {"port": 8080, "nested": {"list": [1, "two"]}}


def test_a_body_is_what_the_api_server_takes() -> None:
    upgrade = RollingUpgrade.model_validate(an_upgrade())

    assert upgrade.spec.type is UpgradeType.OS_IMAGE
    assert upgrade.spec.body() == {
        "scaleSet": "web",
        "type": "OSImage",
        "startedBy": "User",
        "extensions": [],
        "instances": [],
        "approvedInstances": [],
        "cancel": False,
    }


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT5M", timedelta(minutes=5)),
        ("PT1H30M", timedelta(hours=1, minutes=30)),
        ("P3D", timedelta(days=3)),
        ("P1DT12H", timedelta(days=1, hours=12)),
        ("PT0S", timedelta(0)),
        ("PT0.5S", timedelta(milliseconds=500)),
        ("PT59.999S", timedelta(seconds=59, milliseconds=999)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    adapter = TypeAdapter(Duration)

    assert adapter.validate_python(text) == duration
    assert format_duration(duration) == adapter.dump_python(duration) == text


def test_times() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=-5))) + timedelta(microseconds=5)

    assert format_time(noon) == format_second(elsewhere) == "2026-11-22T12:00:00Z"
    assert format_time(elsewhere) == "2026-11-22T12:00:00.000005Z"
    condition = Condition.model_validate({"type": "Ready", "status": "True", "lastTransitionTime": elsewhere})
    assert condition.body()["lastTransitionTime"] == "2026-11-22T12:00:00Z"


def test_json_names() -> None:
    assert camel("enable_automatic_os_upgrade") == "enableAutomaticOSUpgrade"
    assert camel("os_rolling_upgrade_deferral") == "osRollingUpgradeDeferral"
    assert camel("last_os_upgrade") == "lastOSUpgrade"


def test_a_set_is_read_in_well_under_a_millisecond() -> None:
    body = a_set()
    begin = time.process_time()
    for _ in range(200):
        ScaleSet.model_validate(body)

    assert (time.process_time() - begin) / 200 < 0.001
