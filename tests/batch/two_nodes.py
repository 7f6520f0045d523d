"""A Ray cluster of two nodes of one processor each, for a test; says its address, and loses a node when told to.

python two_nodes.py      then, on standard input: "lose", and the end of it ends the cluster
"""

import sys

from ray.cluster_utils import Cluster


def started():
    """Start the two; on a busy machine Ray gives up on itself, and is started again."""
    for attempts_left in (4, 3, 2, 1, 0):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            second = cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes(60)
        except Exception:
            cluster.shutdown()
            if not attempts_left:
                raise
        else:
            return cluster, second
    raise AssertionError


cluster, second = started()
print(cluster.address, flush=True)  # noqa: T201
for line in sys.stdin:
    if line.strip() == "lose":
        cluster.remove_node(second, allow_graceful=False)
        print("lost", flush=True)  # noqa: T201
cluster.shutdown()
