"""Where things lie that the modules here share."""

from pathlib import Path

NAMESPACES = Path(__file__).parents[2] / "tools" / "namespaces.sh"
NODE = Path(__file__).with_name("node.sh")
_PLUGIN_PLACES = [Path("/usr/lib/cni"), Path("/opt/cni/bin")]
CNI_PLUGINS = next((place for place in _PLUGIN_PLACES if (place / "bridge").exists()), _PLUGIN_PLACES[0])
