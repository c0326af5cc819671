"""Jobs: pods that run to their end. The rules are those of pkg/controller/job, without indexes and success policies."""

from __future__ import annotations

from reroll.sandbox import conditions
from reroll.sandbox.clockwork import Clockwork, with_status
from reroll.sandbox.kinds import JOB, POD
from reroll.sandbox.pods import active, create_pod, delete_pod, is_ending, is_ready, owned
from reroll.sandbox.storage import Object

_BACKOFF_LIMIT = 6


def is_finished(job: Object) -> bool:
    """It completed or failed, and will not act again."""
    return conditions.is_true(job, "Complete") or conditions.is_true(job, "Failed")


class Jobs:
    """The Job controller."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._storage = clockwork.storage
        self._ends: dict[str, dict[str, str]] = {}
        """By uid of the Job, how its pods ended, by their uid: they count though they may be deleted."""

    def sync(self, namespace: str, name: str) -> None:
        """Take one Job's next step, and tell its status."""
        job = self._storage.find(JOB, namespace, name)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return
        if is_finished(job):
            self._expire(job)
            return
        spec, status = job["spec"], dict(job.get("status") or {})
        held = list(status.get("conditions") or [])
        pods = owned(self._storage, POD, job)
        ends = self._ends.setdefault(job["metadata"]["uid"], {})
        for pod in pods:
            phase = pod.get("status", {}).get("phase")
            if phase in ("Succeeded", "Failed"):
                ends[pod["metadata"]["uid"]] = phase
        counts = list(ends.values())
        succeeded, failed = counts.count("Succeeded"), counts.count("Failed")
        running = active(pods)
        now = self._storage.timestamp()
        suspended = spec.get("suspend") is True
        was_suspended = conditions.is_true(job, "Suspended")
        if suspended:
            status.pop("startTime", None)
            if not was_suspended:
                held = conditions.put(held, "Suspended", "True", "JobSuspended", "Job suspended", now)
        else:
            if was_suspended:
                held = conditions.put(held, "Suspended", "False", "JobResumed", "Job resumed", now)
            status.setdefault("startTime", now)
        failure = self._failure(job, status, failed + sum(map(_restarts, running)))
        completions = spec.get("completions")
        enough = succeeded >= completions if completions is not None else bool(succeeded) and not running
        wanted = 0
        if failure:
            held = conditions.put(held, "Failed", "True", *failure, now)
        elif enough and not suspended:
            reached = ("CompletionsReached", "Reached expected number of succeeded pods", now)
            held = conditions.put(held, "SuccessCriteriaMet", "True", *reached)
            held = conditions.put(held, "Complete", "True", *reached)
            status["completionTime"] = now
        elif not suspended:
            wanted = _wanted(spec, succeeded, len(running))
        running = self._fit(job, running, wanted)
        status |= {
            "active": len(running),
            "ready": sum(map(is_ready, running)),
            "succeeded": succeeded,
            "failed": failed,
            "conditions": held,
        }
        told = with_status(job, status)
        ending = sum(map(is_ending, owned(self._storage, POD, job)))
        told["status"] |= {"ready": status["ready"], "terminating": ending, "uncountedTerminatedPods": {}}
        self._storage.update(JOB, told, subresource="status")
        if is_finished(told):
            self._ends.pop(job["metadata"]["uid"])
            self._expire(told)

    def _failure(self, job: Object, status: Object, failures: int) -> tuple[str, str] | None:
        """Why the Job is given up, in (reason, message)."""
        spec = job["spec"]
        if failures > spec.get("backoffLimit", _BACKOFF_LIMIT):
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if spec.get("activeDeadlineSeconds") is not None and "startTime" in status:
            deadline = conditions.seconds(status["startTime"]) + spec["activeDeadlineSeconds"]
            rest = deadline - self._storage.now()
            if rest <= 0:
                return "DeadlineExceeded", "Job was active longer than specified deadline"
            self._clockwork.touch_in(rest, JOB, job["metadata"]["namespace"], job["metadata"]["name"])
        return None

    def _fit(self, job: Object, running: list[Object], wanted: int) -> list[Object]:
        """Create or delete pods until as many run."""
        name = job["metadata"]["name"]
        uid = job["metadata"]["uid"]
        labels = {f"{prefix}job-name": name for prefix in ("", "batch.kubernetes.io/")}
        labels |= {f"{prefix}controller-uid": uid for prefix in ("", "batch.kubernetes.io/")}
        for pod in running[wanted:]:
            delete_pod(self._storage, pod)
        made = [
            create_pod(self._storage, JOB, job, job["spec"]["template"], stem=f"{name}-", labels=labels)
            for _ in range(wanted - len(running))
        ]
        return running[:wanted] + made

    def _expire(self, job: Object) -> None:
        """Delete a finished Job when its ttlSecondsAfterFinished have passed."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        held = job["status"]["conditions"]
        done = conditions.find(held, "Complete") or conditions.find(held, "Failed") or {}
        rest = conditions.seconds(done.get("lastTransitionTime")) + ttl - self._storage.now()
        meta = job["metadata"]
        if rest <= 0:
            self._storage.delete(JOB, meta["namespace"], meta["name"])
        else:
            self._clockwork.touch_in(rest, JOB, meta["namespace"], meta["name"])


def _wanted(spec: Object, succeeded: int, running: int) -> int:
    """How many pods are to run at once."""
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is not None:
        return min(parallelism, int(completions) - succeeded)
    # A work queue: when one pod has ended well, the others come to their end, and none is begun.
    return min(parallelism, running) if succeeded else parallelism


def _restarts(pod: Object) -> int:
    """Containers of a running pod that failed and were started again (restartPolicy OnFailure)."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return sum(int(one.get("restartCount", 0)) for one in statuses)
