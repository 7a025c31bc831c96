"""Random statuses as the engine may write them, for round trips through the API's dicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from scalesets.engine.view import (
    Batch,
    BatchOutcome,
    Code,
    Condition,
    ExtensionTarget,
    LastUpgrade,
    Progress,
    Release,
    SetStatus,
    StartedBy,
    Target,
    TargetOutcome,
    UpgradeStatus,
)

words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=40)
hashes = st.text("0123456789abcdef", min_size=1, max_size=10)
versions = st.builds("{}.{}.{}".format, *[st.integers(0, 99)] * 3)
reasons = st.sampled_from(["", "WaitingForApproval", "Paused", "PauseTime", "Unhealthy"])
times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
seconds = times.map(lambda t: t.replace(microsecond=0))
ordinals = st.frozensets(st.integers(0, 40), max_size=12)
extensions = st.dictionaries(st.sampled_from(["health", "monitor", "agent"]), versions).map(
    lambda found: tuple(sorted(found.items()))
)
releases = st.builds(Release, versions, hashes, extensions)
records = st.lists(releases, min_size=1, max_size=3).flatmap(
    lambda few: st.dictionaries(st.integers(0, 40), st.sampled_from(few), max_size=20)
)
conditions = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "Reconciling", "Stalled", "Progressing", "LastUpgradeSucceeded"]),
    status=st.sampled_from([True, False, None]),
    reason=st.sampled_from(["Ready", "ScalingOut"]),
    message=words,
    since=seconds,
)
last_upgrades = st.builds(
    LastUpgrade,
    name=hashes,
    version=versions | st.just(""),
    outcome=st.sampled_from([c for c in Code if c.final]),
    completed=times,
    code=reasons,
    reason=words,
    started_by=st.sampled_from(StartedBy),
    model=hashes,
    enabled_time=st.none() | times,
    retry_delay=st.none() | st.integers(0, 7200).map(lambda s: timedelta(seconds=s)),
)
last_extension_upgrades = st.builds(
    LastUpgrade,
    name=hashes,
    version=versions,
    outcome=st.sampled_from([c for c in Code if c.final]),
    completed=times,
    code=reasons,
    reason=words,
    model=hashes | st.just(""),
    retry_delay=st.none() | st.integers(0, 300_000).map(lambda s: timedelta(seconds=s)),
)
installed = st.lists(
    st.tuples(hashes, versions | st.just(""), st.sampled_from(["Enabled", "Disabled", "NotSupported"])),
    max_size=3,
    unique_by=lambda each: each[0],
).map(tuple)


def _with_last_upgrades(status: SetStatus) -> st.SearchStrategy[SetStatus]:
    """Only of extensions that are there: those of others are forgotten."""
    names = [name for name, _, _ in status.extensions]
    some = st.dictionaries(st.sampled_from(names), last_extension_upgrades) if names else st.just({})
    return some.map(lambda found: replace(status, last_extension_upgrades=found))


set_statuses = st.builds(
    SetStatus,
    observed_generation=st.integers(0, 9),
    replicas=st.integers(0, 99),
    ready_replicas=st.integers(0, 99),
    upgraded_replicas=st.integers(0, 99),
    latest_model_replicas=st.integers(0, 99),
    location=st.sampled_from(["", "westeurope"]),
    zones_backed=st.sampled_from([None, True, False]),
    current_model=hashes | st.just(""),
    image_version=versions | st.just(""),
    current_upgrade=hashes | st.just(""),
    upgrade_attempts=st.integers(0, 9),
    faulted_os_versions=st.lists(versions, max_size=20).map(tuple),
    last_os_upgrade=st.none() | last_upgrades,
    last_model_upgrade=st.none() | last_upgrades,
    enabled_time=st.none() | times,
    first_enabled_time=st.none() | times,
    record=records,
    extensions=installed,
    conditions=st.lists(conditions, max_size=5, unique_by=lambda c: c.type).map(tuple),
).flatmap(_with_last_upgrades)
batches = st.builds(
    Batch,
    number=st.integers(1, 9),
    zone=st.sampled_from(["", "1", "2"]),
    update_domain=st.integers(0, 4),
    start=times,
    members=records,
    extension=st.sampled_from(["", "health", "monitor"]),
    unhealthy_before=ordinals,
    failed=ordinals,
    not_created=ordinals,
    rolled_back=ordinals,
    roll_back_time=st.none() | times,
    roll_back_failed=ordinals,
    completed=st.none() | times,
    outcome=st.sampled_from(BatchOutcome),
)
counts = st.integers(0, 99)
targets = st.builds(
    Target,
    model=hashes,
    image_version=versions | st.just(""),
    image=st.sampled_from(["", "Canonical/jammy/22_04-LTS", "my-image"]),
    extensions=extensions,
)
extension_targets = st.builds(
    ExtensionTarget,
    name=st.sampled_from(["health", "monitor", "agent"]),
    to=versions,
    former=versions | st.just(""),
    outcome=st.sampled_from(TargetOutcome),
    successful=counts,
    failed=counts,
    error_code=reasons,
    error=words,
)
upgrade_statuses = st.builds(
    UpgradeStatus,
    code=st.sampled_from(Code),
    target=targets,
    start=times,
    scope=ordinals,
    skipped=ordinals,
    last_action=st.sampled_from(["Start", "Cancel"]),
    last_action_time=st.none() | times,
    completed=st.none() | times,
    progress=st.builds(Progress, counts, counts, counts, counts),
    rolled_back=counts,
    roll_back_failed=counts,
    roll_back_error=words,
    error_code=reasons,
    error=words,
    waiting=reasons,
    waiting_message=words,
    batches=st.lists(batches, max_size=4).map(tuple),
    extensions=st.lists(extension_targets, max_size=4).map(tuple),
)
