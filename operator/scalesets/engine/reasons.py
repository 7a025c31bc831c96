"""Why an upgrade, or one extension of it, ended early or must be tried again: the codes that users read in
``status.error.code`` and ``lastUpgrade.code`` (docs/rules.md, "Checks, stops, roll-back").
"""

CANCELLED_BY_USER = "CancelledByUser"
TARGET_WITHDRAWN = "TargetWithdrawn"
SUPERSEDED = "Superseded"
MODE_CHANGED = "ModeChanged"
OPTED_OUT = "OptedOut"
NOT_ELIGIBLE = "NotEligible"
SET_RECREATED = "SetRecreated"
IN_AVAILABILITY_SET = "InAvailabilitySet"

INSTANCES_FAILED = "InstancesFailed"
"""Some instances failed, within the limit: the extension is tried on them again after a while (E4)."""
