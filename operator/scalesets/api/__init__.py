"""The API of the group scalesets.dev: what users write and what the operator answers (docs/api.md).

One module per kind (`scaleset`, `virtualmachine`, `availabilityset`, `galleryimage`, `extension`, `rollingupgrade`)
and some that they share: `instance` is what an instance is made of, `fleet_status` what all that have instances say.
The Pydantic models are the one source: `python -m scalesets.api.generate` makes the CRDs of `crds/` from them.
"""
