"""From a map of token logits to findings: where, how large, in which lung."""

from imaging.localization.find import Localization, find_findings, tracking_uid

__all__ = ["Localization", "find_findings", "tracking_uid"]
