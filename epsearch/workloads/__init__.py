"""What a study trains: the declarative protocol, and the built-in workloads by kind."""

from epsearch.workloads.create import create_workload, load_dataset, model_maker
from epsearch.workloads.protocol import Workload

__all__ = ["Workload", "create_workload", "load_dataset", "model_maker"]
