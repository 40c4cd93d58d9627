# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving the network policies: read addresses, start all probes at once, wait for their answers, remove them in any case."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import _edges as edges
from . import _kinds as kinds
from . import _network_judge as judge
from . import _network_pods as pods
from . import _objects as objects
from . import _policies
from . import _throwaway as throwaway
from ._api import Api, Clock, attempt
from ._checks import SKIPPED, Check
from ._edges import Map
from ._errors import ApiError, PlatformError, Refused
from ._network_plan import Elsewhere, Found, Plan, Source, plan
from ._objects import Object

POLL_SECONDS = 0.5
#: Addresses of one workload that are tried: all of many copies would prove no more.
COPIES = 2
#: Deployments whose image has Python, ours first.
IMAGES = ("mcp-monitoring", "mcp-orchestrator", "twisterlab-api")
#: Services of other namespaces that most clusters have, beside their DNS.
ELSEWHERE = (("kube-system", "kube-dns"), ("kube-system", "metrics-server"))


@dataclass(frozen=True)
class Options:
    """How it is tried.

    Attributes:
        image: of the probes; empty is one that runs here already.
        seconds: how long one connection may take.
        settle: how long the policies may take to hold for a new pod.
        start: how long a probe may take to start.
    """

    image: str = ""
    seconds: float = 2.0
    settle: float = 60.0
    start: float = 60.0


class Proof:
    """One run.

    Args:
        api: the cluster.
        clock: the time.
        network: the map.
        options: how it is tried.
        new_word: makes the part of the pods' names that tells runs apart.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        network: Map,
        options: Options,
        new_word: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        self._api, self._clock, self._map, self._options, self._new_word = api, clock, network, options, new_word
        #: Why a probe gave no answer, and why one may not be made where others are at home.
        self._silent: dict[str, str] = {}
        self._denied: dict[str, str] = {}

    def run(self) -> list[Check]:
        """All checks.

        Raises:
            Refused: there is no image with Python, or the namespace cannot be used.
            PlatformError: the cluster does not answer, or a right is missing.
        """
        begun = self._clock.time()
        remove_all(self._api, self._map)
        like = self._like()
        planned = plan(self._map, self._found())
        started = self._start(planned, like)
        try:
            found = self._answers(started)
        finally:
            self._remove(started)
        refused = {name: replace(planned.sources[name], missing=why) for name, why in self._denied.items()}
        planned = replace(planned, sources={**planned.sources, **refused})
        answers = judge.Answers(found, self._silent, self._options.seconds, self._clock.time() - begun)
        return judge.Judgement(planned, answers, *self._policies()).checks()

    # -- what the cluster says -------------------------------------------------------------------------------------

    def _like(self) -> Object:
        for name in IMAGES:
            found = self._api.get(kinds.DEPLOYMENT, name, self._map.namespace)
            if found is not None:
                return found
        if self._options.image:
            return {}
        raise Refused(
            f"Namespace {self._map.namespace} has none of the Deployments {', '.join(IMAGES)}, whose image has Python; deploy one of them, or "
            "name an image in verify_probe_image."
        )

    def _found(self) -> Found:
        space, missing = self._map.namespace, {}
        services = {
            objects.name(item): str(item["spec"]["clusterIP"])
            for item in self._api.list(kinds.SERVICE, space, labels=objects.OURS_SELECTOR)
            if item["spec"].get("clusterIP") not in (None, "", "None")
        }
        ready = [
            pod
            for pod in self._api.list(kinds.POD, space, labels=f"{objects.OURS_SELECTOR},twisterlab.io/serving=true")
            if _ready(pod)
        ]
        by_workload: dict[str, tuple[str, ...]] = {}
        for pod in ready:
            known = by_workload.setdefault(objects.labels(pod).get(objects.NAME, ""), ())
            by_workload[objects.labels(pod).get(objects.NAME, "")] = (*known, pod["status"]["podIP"])[:COPIES]
        for tier in self._map.tiers.values():
            if objects.PART_OF not in tier.labels:
                chosen = ",".join(f"{key}={value}" for key, value in tier.selects.items())
                of_tier = [pod for pod in self._api.list(kinds.POD, space, labels=chosen) if _ready(pod)]
                by_workload[tier.workload] = tuple(pod["status"]["podIP"] for pod in of_tier)[:COPIES]
        nodes = sorted({str(pod["status"]["hostIP"]) for pod in ready if pod["status"].get("hostIP")})[:COPIES]
        elsewhere = None
        try:
            elsewhere = self._elsewhere()
        except ApiError as error:
            missing["elsewhere"] = _denied(error, "services", "kube-system")
        peers: dict[str, tuple[str, ...]] = {}
        for name, peer in self._map.peers.items():
            if (
                name not in (edges.DNS, edges.INGRESS)
                and peer.namespaces
                and any(edge.target == name for edge in self._map.edges)
            ):
                try:
                    peers[name] = self._labelled(peer)
                except ApiError as error:
                    missing[name] = _denied(error, "pods", peer.namespaces[0])
        ingress = self._map.peers.get(edges.INGRESS)
        if ingress and ingress.namespaces and not ingress.pod_labels:
            missing |= self._may_start_in(ingress.namespaces[0])
        return Found(services, by_workload, tuple(nodes), peers, elsewhere, missing)

    def _elsewhere(self) -> Elsewhere | None:
        for space, name in ELSEWHERE:
            found = self._api.get(kinds.SERVICE, name, space) or {}
            for port in found.get("spec", {}).get("ports") or []:
                # DNS is an edge of its own.
                if port.get("protocol", "TCP") == "TCP" and port["port"] != 53:
                    inside = port.get("targetPort", port["port"])
                    number = int(inside) if str(inside).isdigit() else 0
                    return Elsewhere(f"{name}.{space}", str(found["spec"]["clusterIP"]), int(port["port"]), number)
        return None

    def _labelled(self, peer: edges.Peer) -> tuple[str, ...]:
        chosen = ",".join(f"{key}={value}" for key, value in peer.pod_labels.items())
        ready = [pod for pod in self._api.list(kinds.POD, peer.namespaces[0], labels=chosen) if _ready(pod)]
        return tuple(pod["status"]["podIP"] for pod in ready)[:COPIES]

    def _may_start_in(self, namespace: str) -> dict[str, str]:
        try:
            absent = self._api.get(kinds.NAMESPACE, namespace) is None
        except ApiError:
            # Whether a pod can be made there will be seen.
            return {}
        return {edges.INGRESS: f"there is no namespace {namespace}"} if absent else {}

    def _policies(self) -> tuple[list[str] | None, list[str]]:
        """Policies of the map that are not there (None when nobody may look), and those of the namespace that are not of the map."""
        wanted = [policy["name"] for policy in _policies.policies(self._map)]
        try:
            there = [objects.name(item) for item in self._api.list(kinds.POLICY, self._map.namespace)]
        except ApiError as error:
            if error.status != 403:
                raise
            return None, []
        return [name for name in wanted if name not in there], [name for name in there if name not in wanted]

    # -- the probes ------------------------------------------------------------------------------------------------

    def _start(self, planned: Plan, like: Object) -> dict[str, Object]:
        """Make all pods at once; those that could not be made are in `_silent`."""
        word = self._new_word()
        wanted = [
            (source, self._pod(planned, source, like, f"probe-{source.name}-{word}"))
            for source in planned.sources.values()
            if not source.missing and planned.attempts(source.name)
        ]
        started = {}
        try:
            for (source, pod), _made, error in attempt(wanted, lambda item: self._api.create(item[1])):
                if error is None:
                    started[source.name] = pod
                elif (
                    isinstance(error, ApiError)
                    and error.status in (403, 404)
                    and source.namespace != self._map.namespace
                ):
                    self._denied[source.name] = f"no permission to start a pod in namespace {source.namespace}"
                elif isinstance(error, PlatformError):
                    self._silent[source.name] = f"cannot be made: {error}"
                else:
                    raise error
        except BaseException:
            self._remove({source.name: pod for source, pod in wanted})
            raise
        return started

    def _pod(self, planned: Plan, source: Source, like: Object, name: str) -> Object:
        task = planned.task(source.name, self._options.seconds, self._options.settle)
        # An interrupted run must not leave it running.
        life = int(self._options.start + self._options.settle) + 60
        return pods.pod_of(like, source.namespace, name, self._options.image, source.labels, task, life)

    def _answers(self, started: Mapping[str, Object]) -> dict[str, dict[str, Any]]:
        """Wait until every probe has answered or failed, or the time is over."""
        found: dict[str, dict[str, Any]] = {}
        begun = self._clock.time()
        last = begun + self._options.start + self._options.settle + 2 * self._options.seconds
        names = {source: objects.name(pod) for source, pod in started.items()}
        while started.keys() - found.keys() - self._silent.keys():
            live = {
                (namespace, objects.name(pod)): pod
                for namespace in {str(pod["metadata"]["namespace"]) for pod in started.values()}
                for pod in self._api.list(kinds.POD, namespace, labels=pods.selector(self._map.namespace))
            }
            late = self._clock.time() > last
            for source, name in names.items():
                if source in found or source in self._silent:
                    continue
                pod = live.get((str(started[source]["metadata"]["namespace"]), name))
                answer = pods.answer_of(pod) if pod else None
                trouble = "" if answer else throwaway.trouble(pod)
                if answer:
                    found[source] = answer
                # What finds no image or node at first may find it in a moment, what has ended will not.
                elif trouble and (late or "exit code" in trouble or "is gone" in trouble or "failed" in trouble):
                    self._silent[source] = trouble
                elif late:
                    self._silent[source] = f"did not answer within {self._clock.time() - begun:.0f} s"
            self._clock.sleep(POLL_SECONDS)
        return found

    def _remove(self, started: Mapping[str, Object]) -> None:
        attempt(
            list(started.values()),
            lambda pod: self._api.delete(kinds.POD, objects.name(pod), str(pod["metadata"]["namespace"])),
        )


def remove_all(api: Api, network: Map) -> list[str]:
    """Remove every probe, those of interrupted runs included; their names."""
    peer = network.peers.get(edges.INGRESS)
    removed = []
    for namespace in (network.namespace, *(peer.namespaces[:1] if peer else ())):
        try:
            found = api.list(kinds.POD, namespace, labels=pods.selector(network.namespace), metadata_only=True)
        except ApiError as error:
            # In the ingress' namespace we may be nobody; then there is no probe of ours either.
            if error.status not in (403, 404) or namespace == network.namespace:
                raise
            continue
        for pod in found:
            if api.delete(kinds.POD, objects.name(pod), namespace):
                removed.append(objects.name(pod))
    return removed


def nothing(reason: str) -> list[Check]:
    """The report of a run that tries nothing."""
    return [Check("edges", SKIPPED, reason, 0.0, judge.TAG)]


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return is_ready and bool(pod["status"].get("podIP")) and not objects.meta(pod).get("deletionTimestamp")


def _denied(error: ApiError, what: str, namespace: str) -> str:
    if error.status == 403:
        return f"no permission to read {what} of namespace {namespace}"
    return f"{what} of namespace {namespace} cannot be read: {error}"
