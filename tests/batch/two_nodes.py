"""A Ray cluster of two nodes of one processor each, for a test; says its address, and loses a node when told to.

python two_nodes.py      then, on standard input: "lose", and the end of it ends the cluster
"""

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)  # noqa: T201
for line in sys.stdin:
    if line.strip() == "lose":
        cluster.remove_node(second, allow_graceful=False)
        print("lost", flush=True)  # noqa: T201
cluster.shutdown()
