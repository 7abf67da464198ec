"""Online change detectors, each with a promised run length; pure, and compatible with river's protocol."""

from detectors.categorical import CategoricalMixture
from detectors.cluster import ClusterEffect
from detectors.falling import SelfStartingFall
from detectors.mean_shift import LogNormalMeanShift
from detectors.mixture import MixtureShiryaevRoberts
from detectors.protocol import Detector, Estimate
from detectors.reverse import ReverseTest
from detectors.river_adapter import RiverDetector
from detectors.self_starting import SelfStartingMixture
from detectors.stratified import StratifiedMixture

__all__ = [
    "CategoricalMixture",
    "ClusterEffect",
    "Detector",
    "Estimate",
    "LogNormalMeanShift",
    "MixtureShiryaevRoberts",
    "ReverseTest",
    "RiverDetector",
    "SelfStartingFall",
    "SelfStartingMixture",
    "StratifiedMixture",
]
