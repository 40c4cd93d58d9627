# SPDX-License-Identifier: GPL-3.0-or-later
"""The release: plan, try new images, apply in order, prune, record. One step a call, so that nobody waits in silence.

    start -> (smoke)* -> apply -> (the caller waits for the data tiers) -> rest -> (prune) -> done

Every step plans again from what the cluster says, so a run may be interrupted anywhere and simply run again. `start`
runs into `apply`, `rest` and `prune` by itself when there is nothing to wait for or to announce: a release that
changes nothing is one call.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from . import _compare as compare
from . import _kinds as kinds
from . import _lease, _namespace, _plan, _sealed, _secrets, _sizing, _smoke, _vault
from . import _objects as objects
from ._api import MANAGER, Api, Clock, attempt, each
from ._errors import ApiError, LeaseLost, PlatformError, Refused
from ._health import add_logs, read_events
from ._judge import BROKEN, READY, Check, Judge, Snapshot, brief
from ._objects import Object
from ._plan import CHANGE, CREATE, SAME, Inventory, Step
from ._record import Records, Summary, newest, number_of, status_of, summary_of
from ._stage import Component

START, SMOKE, APPLY, REST, PRUNE = "start", "smoke", "apply", "rest", "prune"
SMOKE_POLL_SECONDS = 1.0
SMOKE_TURN_SECONDS = 8.0


@dataclass
class Options:
    """What a release is asked to do.

    Attributes:
        namespace: where to.
        supplied: the user's secret values.
        sizing: `refuse`, `warn` or `off`.
        check_mode: only say what would happen.
        keep_lease: leave the hold to the health check that follows.
        diff: whether differences are wanted.
        smoke_timeout: seconds that a new image may take to start, its download included.
        version: the collection's version, for the record.
        action: what it is for, for the record.
        contract: try every changed image first, with its probes and metrics.
    """

    namespace: str
    supplied: dict[str, str]
    sizing: str = "refuse"
    check_mode: bool = False
    keep_lease: bool = False
    diff: bool = False
    smoke_timeout: float = 300.0
    version: str = ""
    action: str = "deploy"
    contract: bool = False


@dataclass
class Progress:
    """What a release has done so far; plain data that goes from one call to the next.

    Attributes:
        phase: the next step.
        created, changed, deleted, kept, restarted, taken: titles of objects.
        waiting: components to be waited for before `rest`.
        announced: titles that the next prune deletes.
        memory: of the judge of throw-away pods.
        elapsed: seconds spent on throw-away pods.
        started: the server's time at the beginning.
    """

    phase: str = START
    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    elapsed: float = 0.0
    started: str = ""
    fresh: bool = False

    @property
    def touched(self) -> bool:
        """Whether the cluster is another now."""
        return bool(self.created or self.changed or self.deleted or self.restarted)


def pack(progress: Progress, next_step: str) -> str:
    """Progress and the next step as a text in which the masking of secret values finds nothing to mask."""
    return base64.b64encode(json.dumps([vars(progress), next_step]).encode()).decode()


def unpack(text: str) -> tuple[Progress, str]:
    """The inverse of `pack`."""
    progress, next_step = json.loads(base64.b64decode(text))
    return Progress(**progress), str(next_step)


@dataclass
class Answer:
    """What one call of the release came to.

    Attributes:
        progress: to be handed to the next call.
        next: the next step; empty when the release is done.
        say: a line for people, if there is something to say.
        diff: differences of this call.
        warnings: sentences.
        release: the record to conclude after judging; 0 when there is none.
        running: the record of what runs now; 0 when there is none.
        unseen: kinds that may not be listed and so were not pruned.
        total: how many objects the release holds.
        authorities: public certificate of each private authority, by the name of its Secret.
    """

    progress: Progress
    next: str = ""
    say: str = ""
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    release: int = 0
    running: int = 0
    unseen: list[str] = field(default_factory=list)
    total: int = 0
    authorities: dict[str, str] = field(default_factory=dict)


class Release:
    """One release of one namespace.

    Args:
        api: the cluster.
        clock: the time.
        holder: who releases.
        staged: what this run staged.
        options: what is asked.
        progress: from the call before.
        dead: says of a holder whether its process has ended.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        holder: _lease.Holder,
        staged: list[Component],
        options: Options,
        progress: Progress | None = None,
        dead: Callable[[str, str], bool] = _lease.is_dead,
    ) -> None:
        self._api, self._clock, self._holder, self._staged, self._options = api, clock, holder, staged, options
        self._lease = _lease.Lease(api, options.namespace, holder, dead)
        self._records = Records(api, options.namespace)
        self._answer = Answer(progress or Progress())
        self._redact: Callable[[str], str] = lambda text: text
        self._steps: list[Step] = []
        self._live = Inventory()
        self._desired: list[Object] = []
        self._vault: _vault.Vault | None = None
        self._declarations: list[_secrets.Declaration] = []
        self._sealed = _sealed.Sealed()

    # -- the steps --------------------------------------------------------------------------------------------------

    def run(self) -> Answer:
        """Do the next step and all that follow it without a pause.

        Raises:
            Refused: nothing was touched.
            PlatformError: something went wrong; what was done until then is recorded as a failed release.
        """
        if not self._staged:
            raise Refused(
                "Nothing is staged, so there is nothing to release: run the tier roles in the same play before role release "
                "(a release of nothing never means to remove everything)."
            )
        progress = self._answer.progress
        if self._options.check_mode:
            return self._rehearse()
        namespace = self._ensure_namespace()
        if progress.phase == START:
            self._lease.acquire()
        else:
            self._lease.renew()
        self._lease.keep()
        try:
            progress.started = progress.started or self._api.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            self._run(namespace)
        except LeaseLost:
            # The newest record is that of the run which holds it now.
            raise
        except PlatformError as error:
            self._fail(str(error))
            raise
        finally:
            self._lease.stop()
        if not self._answer.next and not self._options.keep_lease:
            self._lease.end()
        return self._answer

    def _run(self, namespace: Object) -> None:
        progress, answer = self._answer.progress, self._answer
        if progress.phase == SMOKE:
            self._smoke()
            if answer.next:
                return
        self._plan(namespace)
        if progress.phase == START:
            if not progress.fresh:
                self._size()
            self._answer.warnings += _plan.ingress_conflicts(self._api, self._steps, self._options.namespace)
            if self._start_smoke():
                return
            progress.phase = APPLY
        if progress.phase == APPLY:
            self._write_secret()
            self._write_sealed()
            first = self._first_components()
            self._apply([step for step in self._steps if self._component(step) in first])
            progress.waiting = self._changed_data(first)
            progress.phase = REST
            if progress.waiting:
                answer.next = REST
                answer.say = f"{', '.join(progress.waiting)} changed; waiting for them before the rest"
                return
        if progress.phase == REST:
            self._apply([step for step in self._steps if step.apply])
            gone, kept = _plan.superfluous(self._live, self._desired, {item.component for item in self._staged})
            progress.kept = [objects.title(obj) for obj in kept]
            progress.phase = PRUNE
            if gone:
                progress.announced = [objects.title(obj) for obj in gone]
                answer.next = PRUNE
                answer.say = f"no longer rendered, removed next: {objects.sentence_list(progress.announced, 40)}"
                return
        if progress.phase == PRUNE and progress.announced:
            self._prune()
        self._finish()

    def give_up(self, reason: str) -> None:
        """Record that the release failed after it had begun, and end the hold; nothing when another run holds it."""
        try:
            self._lease.renew()
        except LeaseLost:
            return
        self._fail(reason)

    # -- namespace and plan -----------------------------------------------------------------------------------------

    def _ensure_namespace(self) -> Object:
        """The namespace, made by this run when it was absent; empty when we may not read it."""
        found = self._read_namespace()
        if found is not None:
            return found
        mine = self._absent_namespace()
        # Whatever can be refused without a namespace is refused before there is one.
        self._collect(None)
        self._steps = _plan.offline(self._desired, self._api)
        self._size()
        self._answer.warnings += _plan.ingress_conflicts(self._api, self._steps, self._options.namespace)
        found = self._api.apply(mine)
        self._answer.progress.created.append(objects.title(mine))
        self._answer.progress.fresh = True
        self._difference(None, found)
        return found

    def _read_namespace(self) -> Object | None:
        """The namespace, None when there is none, empty when we may not read it.

        Raises:
            Refused: it is not for us.
        """
        try:
            found = self._api.get(kinds.NAMESPACE, self._options.namespace)
        except ApiError as error:
            if error.status == 403:
                return {}
            raise
        _namespace.state(found, self._options.namespace)
        return found

    def _absent_namespace(self) -> Object:
        mine = self._staged_namespace()
        if mine is None:
            raise Refused(
                f"The namespace {self._options.namespace} does not exist, and this run does not stage it: "
                "deploy all tiers (without --tags), or add the tag base."
            )
        return mine

    def _staged_namespace(self) -> Object | None:
        for item in self._staged:
            for obj in item.objects:
                if obj["kind"] == "Namespace" and objects.name(obj) == self._options.namespace:
                    return obj
        return None

    def _collect(self, namespace: Object | None) -> None:
        """Desired objects, inventory and secrets; `namespace` is None when it does not exist."""
        options = self._options
        found = _plan.placed([obj for item in self._staged for obj in item.objects], options.namespace, self._api)
        self._declarations = _secrets.parse([secret for item in self._staged for secret in item.secrets])
        if namespace is not None:
            mine = bool(namespace) and objects.is_ours(namespace)
            # A namespace that was lent to us is used as it is.
            found = [obj for obj in found if obj["kind"] != "Namespace" or mine]
            self._live = _plan.inventory(self._api, options.namespace, found)
            if mine:
                self._live.live[objects.key(namespace)] = namespace
            self._answer.unseen = self._live.unseen
            _plan.check_data(found, self._live, options.namespace)
            _plan.check_major(found, self._live)
        self._desired = found
        self._answer.total = len(found)
        needed = (
            self._declarations
            or self._declared_sealed()
            or any(objects.secret_keys(objects.pod_spec(obj), _secrets.SECRET_NAME) for obj in found)
        )
        if needed:
            self._vault = _vault.decide(
                self._api, options.namespace, self._declarations, options.supplied, exists=namespace is not None
            )
            self._prepare()
            self._seal(exists=namespace is not None)

    def _declared_sealed(self) -> list[tuple[str, Object]]:
        """Pairs of a component and what it wants in a Secret of its own."""
        return [(item.component, one) for item in self._staged for one in item.sealed]

    def _seal(self, exists: bool = True) -> None:
        """Decide the Secrets that are made from the one."""
        declared = self._declared_sealed()
        if declared and self._vault is not None:
            values, now = self._vault.resolution.values, self._api.now()
            self._sealed = _sealed.decide(self._api, self._options.namespace, declared, values, now, exists)
            self._answer.authorities = self._sealed.authorities

    def _prepare(self) -> None:
        """Put the Secret's consequences into the desired objects."""
        assert self._vault is not None  # noqa: S101 - told to mypy
        values = self._vault.resolution.values
        hidden = _secrets.confidential(values) + _secrets.confidential(self._vault.before)
        self._redact = _secrets.redactor(hidden)
        _plan.check_references(self._desired, values)
        for obj in self._desired:
            notes = (objects.template(obj) or {}).get("metadata", {}).get("annotations") or {}
            for key in [key for key in notes if key.startswith("checksum/secret-")]:
                del notes[key]
        _plan.add_checksums(self._desired, self._live, values)

    def _plan(self, namespace: Object) -> None:
        self._collect(namespace)
        if self._vault is None:
            _plan.add_checksums(self._desired, self._live, {})
        self._steps = _plan.make(self._api, self._desired, self._live, self._answer.progress.fresh)
        self._answer.warnings += [step.left for step in self._steps if step.left]

    def _rehearse(self) -> Answer:
        """Check mode: the whole plan, without a lease and without a write."""
        answer, progress, options = self._answer, self._answer.progress, self._options
        namespace = self._read_namespace()
        if namespace is None:
            self._absent_namespace()
            self._collect(None)
            self._steps = _plan.offline(self._desired, self._api)
            answer.say = f"namespace {options.namespace} does not exist; the server cannot be asked about what would be made in it"
        else:
            self._plan(namespace)
            gone, kept = _plan.superfluous(self._live, self._desired, {item.component for item in self._staged})
            progress.deleted, progress.kept = [objects.title(obj) for obj in gone], [objects.title(obj) for obj in kept]
            for obj in gone:
                self._difference(obj, None)
        self._size()
        answer.warnings += _plan.ingress_conflicts(self._api, self._steps, options.namespace)
        for step in self._steps:
            self._note(step, step.result if step.result is not None else step.desired)
        tried = sorted(
            {
                image
                for step in self._steps
                if step.action == CHANGE and _smoke.needed(step.desired, step.live, options.contract)
                for image in objects.images(objects.pod_spec(step.desired))
            }
        )
        if tried:
            answer.say = f"would first start {objects.sentence_list(tried)} in a throw-away pod"
        if self._vault is not None and self._vault.changed:
            self._note_secret()
        for item in self._sealed.writes:
            self._note_sealed(item)
        return answer

    # -- before anything is touched ----------------------------------------------------------------------------------

    def _size(self) -> None:
        """Refuse what cannot fit, when a workload of this release is new or another."""
        if self._options.sizing == "off":
            return
        changed = [
            step
            for step in self._steps
            if step.action != SAME
            and step.kind.name
            in ("Deployment", "StatefulSet", "DaemonSet", "Job", "HorizontalPodAutoscaler", "Cluster")
        ]
        if not changed:
            return
        try:
            nodes = self._api.list(kinds.NODE)
            pods = self._api.list(kinds.POD)
        except ApiError as error:
            if error.status != 403:
                raise
            self._answer.warnings.append(
                "Whether the release fits on the nodes was not checked: no permission to list nodes and pods of all namespaces."
            )
            return
        staged = {item.component for item in self._staged}
        namespace = self._options.namespace

        def is_replaced(pod: Object) -> bool:
            if objects.meta(pod).get("namespace") != namespace:
                return False
            if objects.is_instance(pod):
                return any(obj["kind"] == kinds.CLUSTER.name for obj in self._desired)
            return objects.is_ours(pod) and objects.component(pod) in staged

        report = _sizing.check(_sizing.wants(self._desired), _sizing.nodes(nodes, pods, is_replaced))
        if report.refusals and self._options.sizing == "refuse":
            raise Refused("The release does not fit: " + " ".join(report.refusals))
        self._answer.warnings += [*report.refusals, *report.warnings]

    def _start_smoke(self) -> bool:
        contract = self._options.contract
        wanted = [
            step.desired
            for step in self._steps
            if step.action == CHANGE and _smoke.needed(step.desired, step.live, contract)
        ]
        if not wanted:
            return False
        _smoke.remove_all(self._api, self._options.namespace)
        pods = [_smoke.pod_of(obj, self._options.namespace, contract) for obj in wanted]
        each(pods, self._create_smoke)
        self._answer.progress.phase = SMOKE
        self._answer.next = SMOKE
        images = sorted({image for pod in pods for image in objects.images(pod["spec"])})
        self._answer.say = f"starting {objects.sentence_list(images)} in a throw-away pod first"
        return True

    def _create_smoke(self, pod: Object) -> None:
        try:
            self._api.create(pod)
        except ApiError as error:
            if error.status != 409:
                raise Refused(
                    f"The new image cannot be tried in a throw-away pod, so nothing was changed: {error.message}"
                ) from error

    def _smoke(self) -> None:
        """Look at the throw-away pods for a moment; afterwards they are good, bad or looked at again."""
        progress = self._answer.progress
        judge = Judge(grace=10.0, memory=progress.memory)
        begun = self._clock.time()
        while True:
            spent = self._clock.time() - begun
            checks = self._judge_smoke(judge, progress.elapsed + spent)
            bad = [check for check in checks if check.state == BROKEN]
            if bad:
                self._refuse_smoke(bad)
            if all(check.state == READY for check in checks):
                _smoke.remove_all(self._api, self._options.namespace)
                # The images are known to start: plan again and go on.
                progress.phase, progress.memory, progress.elapsed = APPLY, {}, 0.0
                return
            if progress.elapsed + spent >= self._options.smoke_timeout:
                self._refuse_smoke([check for check in checks if check.state != READY])
            if spent >= SMOKE_TURN_SECONDS:
                progress.elapsed += spent
                self._answer.next = SMOKE
                self._answer.say = "; ".join(
                    f"{check.title} {check.reason}" for check in checks if check.state != READY
                )
                return
            self._clock.sleep(SMOKE_POLL_SECONDS)

    def _judge_smoke(self, judge: Judge, now: float) -> list[Check]:
        namespace = self._options.namespace
        pods = self._api.list(kinds.POD, namespace, labels=f"{objects.SMOKE}=true,{objects.OURS_SELECTOR}")
        if not pods:
            raise PlatformError(
                f"The throw-away pods in namespace {namespace} were removed by somebody else: run again."
            )
        server = self._api.now().timestamp()
        checks = []
        memory: dict[str, float] = {}
        for pod in pods:
            # Each pod has a judge of its own, or one would forget what the other remembers.
            own = Judge(
                judge.grace,
                {key: value for key, value in judge.memory.items() if objects.meta(pod).get("uid", "") in key},
            )
            checks.append(_smoke.judge(pod, own, Snapshot({}), now, server))
            memory.update(own.memory)
        judge.memory.clear()
        judge.memory.update(memory)
        return checks

    def _refuse_smoke(self, bad: list[Check]) -> None:
        namespace = self._options.namespace
        add_logs(self._api, namespace, bad)
        parts = []
        for check in bad:
            text = f"{check.component}: {check.reason}" + (f" (image {check.image})" if check.image else "")
            text += self._probed(check)
            if check.logs:
                text += "; last log lines: " + " | ".join(check.logs[-5:])
            parts.append(text)
        _smoke.remove_all(self._api, namespace)
        raise Refused(
            "The new image does not start, so nothing was changed and everything keeps running. " + "; ".join(parts)
        )

    def _probed(self, check: Check) -> str:
        """What the kubelet was answered when it asked a throw-away pod, if it asked."""
        if not self._options.contract:
            return ""
        told = [
            str(event.get("message", ""))
            for event in read_events(self._api, self._options.namespace)
            if event.get("reason") == "Unhealthy"
            and (event.get("involvedObject") or {}).get("name") == check.title.partition("/")[2]
        ]
        return f"; {brief(told[-1])}" if told else ""

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write_secret(self) -> None:
        if self._vault is None or not self._vault.changed:
            return
        self._lease.check()
        before = dict(self._vault.resolution.values)
        self._vault = _vault.write(
            self._api, self._options.namespace, self._vault, self._declarations, self._options.supplied
        )
        if self._vault.resolution.values != before:
            # Somebody else's values won the race: the pods must be told those.
            self._prepare()
            self._steps = _plan.make(self._api, self._desired, self._live, self._answer.progress.fresh)
            self._seal()
        self._note_secret()

    def _write_sealed(self) -> None:
        for item in self._sealed.writes:
            self._lease.check()
            _sealed.write(self._api, self._options.namespace, item)
            self._note_sealed(item)

    def _note_sealed(self, item: _sealed.Write) -> None:
        progress, title = self._answer.progress, f"Secret/{item.name}"
        (progress.created if item.live is None else progress.changed).append(title)
        if item.live is not None and item.why:
            self._answer.warnings.append(f"{title} was made anew: {item.why}")

    def _note_secret(self) -> None:
        assert self._vault is not None  # noqa: S101 - told to mypy
        progress = self._answer.progress
        title = f"Secret/{_secrets.SECRET_NAME}"
        (progress.created if self._vault.live is None else progress.changed).append(title)
        self._answer.warnings += self._vault.warnings
        if self._options.diff:
            salted = {**self._vault.before, _secrets.SALT_KEY: self._vault.resolution.values[_secrets.SALT_KEY]}
            before = "" if self._vault.live is None else _secrets.describe(salted)
            after = _secrets.describe(self._vault.resolution.values)
            header = title if self._vault.live is not None else f"{title} (absent)"
            self._answer.diff.append({"before_header": header, "after_header": title, "before": before, "after": after})

    def _apply(self, steps: list[Step]) -> None:
        """Apply in the order of kinds; objects of one order at once."""
        todo = [step for step in steps if step.apply]
        for order in sorted({step.kind.order for step in todo}):
            self._lease.check()
            problems = []
            for step, _none, error in attempt([step for step in todo if step.kind.order == order], self._apply_one):
                if error:
                    problems.append(error)
                else:
                    step.apply = False
            if problems:
                raise problems[0] if len(problems) == 1 else PlatformError("; ".join(str(error) for error in problems))

    def _apply_one(self, step: Step) -> None:
        if step.remake:
            self._api.delete(step.kind, objects.name(step.desired), self._options.namespace, propagation="Foreground")
            self._await_gone(step)
        self._hand_over_replicas(step)
        try:
            result = self._api.apply(step.desired, force=bool(step.taken))
        except ApiError as error:
            if error.status != 409 or step.taken:
                raise PlatformError(f"{objects.title(step.desired)}: {_plan.sentence(error, step)}") from error
            # Changed by somebody since the plan: what is rendered here is what is wanted.
            step.taken = [str(cause.get("field", "")) for cause in error.causes]
            result = self._api.apply(step.desired, force=True)
        if step.live is not None and step.result is None and compare.same(step.live, result):
            step.action = SAME
        self._unstick(step, result)
        self._note(step, result)

    def _await_gone(self, step: Step) -> None:
        for _turn in range(60):
            if self._api.get(step.kind, objects.name(step.desired), self._options.namespace) is None:
                return
            self._clock.sleep(1.0)
        raise PlatformError(
            f"{objects.title(step.desired)} is not gone a minute after it was deleted: look for its finalizers and run again."
        )

    def _hand_over_replicas(self, step: Step) -> None:
        """Leave the number of pods as it is when an autoscaler takes it over from the manifest.

        A field that nobody applies any more goes back to its default: one pod.
        """
        if (
            step.live is None
            or step.kind.name not in ("Deployment", "StatefulSet")
            or "replicas" in (step.desired.get("spec") or {})
        ):
            return
        owned = (compare.owned_fields(step.live, MANAGER) or {}).get("f:spec") or {}
        replicas = (step.live.get("spec") or {}).get("replicas")
        if "f:replicas" not in owned or replicas is None:
            return
        metadata = {"name": objects.name(step.desired), "namespace": self._options.namespace}
        body = {
            "apiVersion": step.kind.api_version,
            "kind": step.kind.name,
            "metadata": metadata,
            "spec": {"replicas": replicas},
        }
        self._api.apply(body, force=True, manager=f"{MANAGER}-replicas")

    def _unstick(self, step: Step, result: Object) -> None:
        """Remove the broken pod of an ordered StatefulSet: its controller would wait for it for ever."""
        if step.kind is not kinds.STATEFUL_SET or step.action != CHANGE:
            return
        if (result.get("spec") or {}).get("podManagementPolicy", "OrderedReady") != "OrderedReady":
            return
        uid = objects.meta(result).get("uid")
        for pod in self._api.list(kinds.POD, self._options.namespace):
            conditions = {
                item.get("type"): item.get("status") for item in (pod.get("status") or {}).get("conditions") or []
            }
            if (
                objects.owner(pod).get("uid") == uid
                and conditions.get("Ready") != "True"
                and not objects.meta(pod).get("deletionTimestamp")
            ):
                self._api.delete(
                    kinds.POD, objects.name(pod), self._options.namespace, uid=str(objects.meta(pod).get("uid", ""))
                )
                self._answer.progress.restarted.append(objects.title({**pod, "kind": "Pod"}))

    def _prune(self) -> None:
        """Delete what was announced and is still superfluous."""
        progress = self._answer.progress
        gone, _kept = _plan.superfluous(self._live, self._desired, {item.component for item in self._staged})
        chosen = [obj for obj in gone if objects.title(obj) in progress.announced]
        chosen.sort(key=lambda obj: -self._api.kind(obj["apiVersion"], obj["kind"]).order)
        for obj in chosen:
            self._lease.check()
            kind = self._api.kind(obj["apiVersion"], obj["kind"])
            namespace = self._options.namespace if kind.namespaced else None
            if self._api.delete(kind, objects.name(obj), namespace, uid=str(objects.meta(obj).get("uid", ""))):
                progress.deleted.append(objects.title(obj))
                self._difference(obj, None)
        progress.announced = []
        self._take_back_replicas(chosen)

    def _take_back_replicas(self, gone: list[Object]) -> None:
        """Set the number of pods once more when an autoscaler has gone: it may have set its own after the manifest was applied."""
        scaled = {
            f"{target.get('kind')}/{target.get('name')}"
            for obj in gone
            if obj.get("kind") == kinds.AUTOSCALER.name
            for target in [(obj.get("spec") or {}).get("scaleTargetRef") or {}]
        }
        for step in self._steps:
            if objects.title(step.desired) in scaled and "replicas" in (step.desired.get("spec") or {}):
                self._apply_one(step)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        progress = self._answer.progress
        if progress.touched:
            self._answer.running = self._answer.release = self._record("applied")
            return
        last = newest(self._records.all())
        if last is None:
            return
        self._answer.running = number_of(last)
        if self._unrecorded(last):
            self._answer.running = self._answer.release = self._record("applied")
        # A release that was never judged healthy is judged by this run, if that looks at all that it touched.
        elif status_of(last) != "healthy" and self._covers(last):
            self._answer.release = number_of(last)

    def _unrecorded(self, last: Object) -> bool:
        """Whether a run was cut off between its last change and its record, so that what runs is on no record."""
        recorded = {
            item.component: item.objects for item in self._records.components(self._records.read(number_of(last)))
        }
        return any(recorded.get(item.component, item.objects) != item.objects for item in self._released())

    def _covers(self, last: Object) -> bool:
        """Whether this run stages whatever a release staged."""
        touched = summary_of(self._records.read(number_of(last)) or {}).get("components") or []
        return set(touched) <= {item.component for item in self._staged}

    def _record(self, status: str, reason: str = "") -> int:
        progress = self._answer.progress
        released = self._released()
        summary = Summary(
            number=0,
            status=status,
            user=self._holder.identity.partition(" pid=")[0],
            started=progress.started,
            components=sorted(item.component for item in self._staged),
            created=progress.created,
            changed=progress.changed,
            deleted=progress.deleted,
            reason=self._redact(reason),
            version=self._options.version,
            action=self._options.action,
        )
        return self._records.write(summary, released)

    def _released(self) -> list[Component]:
        """The staged components with what was really applied: namespaces and checksums included."""
        final = {objects.key(obj): obj for obj in self._desired}
        return [
            Component(
                item.component, [final.get(objects.key(obj), obj) for obj in item.objects], item.secrets, item.needs
            )
            for item in self._staged
        ]

    def _fail(self, reason: str) -> None:
        """Record a failure when something was done, and let go of the hold; never hide the reason by a second error."""
        progress = self._answer.progress
        try:
            # A namespace alone is no release.
            if (
                [title for title in progress.created if not title.startswith("Namespace/")]
                or progress.changed
                or progress.deleted
            ):
                self._record("failed", reason)
            self._lease.end()
        except PlatformError as error:
            self._answer.warnings.append(f"The failure could not be recorded: {error}")

    # -- small things ---------------------------------------------------------------------------------------------------

    def _component(self, step: Step) -> str:
        return objects.component(step.desired)

    def _first_components(self) -> set[str]:
        """What is applied first: whatever needs nothing, and the data tiers among it are what others need."""
        return {item.component for item in self._staged if not item.needs}

    def _changed_data(self, first: set[str]) -> list[str]:
        """The data tiers that this run changed and that others wait for."""
        needed = {need for item in self._staged for need in item.needs}
        touched = {
            self._component(step)
            for step in self._steps
            if step.action != SAME
            and step.kind.name in ("Deployment", "StatefulSet", "DaemonSet", "Job", "PersistentVolumeClaim", "Cluster")
        }
        later = any(step.apply for step in self._steps if self._component(step) not in first)
        return sorted(first & needed & touched) if later else []

    def _note(self, step: Step, after: Object) -> None:
        """Remember what was (or would be) done with one object."""
        progress = self._answer.progress
        title = objects.title(step.desired)
        if step.taken:
            progress.taken.append(f"{title}: {'; '.join(step.taken[:4])}")
        if step.action == SAME:
            return
        listed = progress.created if step.action == CREATE else progress.changed
        if title not in listed:
            listed.append(title)
        if step.live is None or not compare.same(step.live, after):
            self._difference(step.live, after)

    def _difference(self, before: Object | None, after: Object | None) -> None:
        if self._options.diff:
            self._answer.diff.append(compare.difference(before, after, self._redact))


def summary(answer: Answer) -> str:
    """What a release did, in one line."""
    done = answer.progress
    numbers = (
        f"{answer.total} objects, {len(done.created)} created, {len(done.changed)} changed, {len(done.deleted)} removed"
    )
    return numbers + (f", {len(done.restarted)} pods restarted" if done.restarted else "")
