"""The pages about clusters."""

from __future__ import annotations

from typing import Final

from redkite.manual.page import Example, Page

_NOT_WELL: Final = ((3, "something is not well"),)
_WRONG: Final = ((3, "the file has mistakes"),)
_VARIABLES: Final = (
    ("REDKITE_CLUSTER_CONFIG", "the config, where --config names none"),
    ("REDKITE_CLUSTER_ETCD, REDKITE_CLUSTER_LOG …", "any key of it, in capitals, with REDKITE_CLUSTER_ before it"),
)

CLUSTER_PAGES: Final[dict[str, Page]] = {
    "cluster": Page(
        "run a cluster of several machines",
        """\
A cluster is many nodes over shared parts: etcd holds what exists, Kafka or Pulsar the log, S3 or a
store like it the data. Clients notice nothing: they connect to any of its proxies on port 19530.

It needs more libraries: pip install 'redkite[cluster]', and 'redkite[ray]' to run it on Ray.""",
        (
            Example("redkite cluster up --local", "a whole cluster on this machine, to try"),
            Example("redkite cluster status"),
            Example("redkite cluster scale query=4"),
            Example("redkite cluster down"),
        ),
        variables=_VARIABLES,
    ),
    "cluster up": Page(
        "bring a cluster up",
        """\
Starts the nodes that the config asks for, and comes back when each is ready. With --local they are
processes of this machine, and parts that the config does not name (etcd, a broker, a store of
objects) are started, too; what cannot be had here is named, with the command that brings it.
Otherwise Ray runs the nodes: one that is running (--ray-address), or one that is started here.

Somebody looks after the nodes from then on: one that ends is started again. Given once more, it
brings up what is missing.""",
        (
            Example("redkite cluster up --local"),
            Example("redkite cluster up --local --log pulsar --objects s3 --set query=3 --port 19531"),
            Example("redkite cluster up --config cluster.toml --ray-address auto"),
        ),
        variables=(
            *_VARIABLES,
            ("REDKITE_BROKERS", "folder with the jars of brokers that --local starts"),
        ),
    ),
    "cluster status": Page(
        "show the nodes of a cluster, and what is wrong",
        """\
Asks etcd which nodes live, and each of them how it is: its role, version and channels, who leads,
and every reason for which something is not well.""",
        (
            Example("redkite cluster status"),
            Example("redkite cluster status --channels --json"),
            Example("redkite cluster status --config cluster.toml", "of a cluster that was not started from here"),
        ),
        statuses=_NOT_WELL,
        variables=_VARIABLES,
    ),
    "cluster scale": Page(
        "change how many nodes there are",
        """\
Starts nodes, or has some hand over what they have and end: those that were drained before, then the
newest. Comes back when all of it is done. Requests go on meanwhile.""",
        (
            Example("redkite cluster scale query=4"),
            Example("redkite cluster scale query=2 proxy=2"),
        ),
        variables=_VARIABLES,
    ),
    "cluster drain": Page(
        "have a node hand over what it has",
        """\
Has a node give its channels and segments to others, and comes back when nothing is left. The node
stays, and is asked nothing: then its machine can be taken away. Started again, it is a new one.""",
        (Example("redkite cluster drain 3"), Example("redkite cluster drain 10.0.0.7:7001 --seconds 60")),
        variables=_VARIABLES,
    ),
    "cluster restart": Page(
        "put a new node in the place of each",
        """\
With --rolling one node after another: a new one is ready before the old one hands over and ends, so
no request fails. That is how a new version, certificate or setting gets to all nodes. Without it,
all end and start again at once.""",
        (
            Example("redkite cluster restart --rolling"),
            Example("redkite cluster restart --rolling --role query --role proxy"),
        ),
        variables=_VARIABLES,
    ),
    "cluster down": Page(
        "end a cluster",
        """\
Ends every node, and the parts that were started with it. What was acknowledged stays: the next
`redkite cluster up` finds it.""",
        (
            Example("redkite cluster down"),
            Example("redkite cluster down --delete-data", "and forget everything"),
        ),
        variables=_VARIABLES,
    ),
    "cluster node": Page(
        "be one node of a cluster",
        """\
Runs one node in this process, for those who start processes themselves: systemd, Kubernetes.
SIGTERM has it hand over what it has, and ends it then; SIGINT ends it at once.""",
        (
            Example("redkite cluster node --role query --config cluster.toml"),
            Example("redkite cluster node --role streaming --config cluster.toml --address 10.0.0.7:7001"),
        ),
        variables=_VARIABLES,
    ),
    "cluster supervise": Page(
        "look after the nodes of this machine",
        """\
Starts what a state folder says is wanted and not there, again and again. `redkite cluster up` begins
it; when it was killed, this goes on with what it left.""",
        (Example("redkite cluster supervise --state redkite-cluster"),),
    ),
    "cluster config": Page(
        "show or check the config of a cluster",
        """\
Shows every key with its value and where that comes from; or names every mistake in a file. With
--reach it also asks the parts whether they answer.""",
        (
            Example("redkite cluster config --config cluster.toml"),
            Example("redkite cluster config --config cluster.toml --check --reach"),
        ),
        statuses=_WRONG,
        variables=_VARIABLES,
    ),
}
