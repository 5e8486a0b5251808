"""A stand-in for the Hugging Face Hub: real HTTP on loopback, real headers, sparse weights, faults on demand."""

from tests.hub.content import Repo, Sparse, header_of, safetensors_file
from tests.hub.server import Fault, HubStandIn

__all__ = ["Fault", "HubStandIn", "Repo", "Sparse", "header_of", "safetensors_file"]
