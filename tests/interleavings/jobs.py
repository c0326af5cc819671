"""The controller of Jobs, and who else has a hand in them: finalizers that hold a deleted one, and the TTL."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.interleavings.pods import Act, Pods, condition, ready
from tests.interleavings.server import Key, Object, Server, going

MANAGER = "kube-controller-manager"


class Jobs:
    def __init__(self, server: Server, pods: Pods) -> None:
        self._server, self._pods = server, pods
        self.slow: set[str] = set()
        """Uids of Jobs whose finalizer is not taken away yet."""

    def acts(self) -> Iterator[Act]:
        living = set()
        for job in self._server.all("jobs"):
            meta = job["metadata"]
            living.add(meta["uid"])
            if going(job):
                yield Act(f"job {meta['name']} loses its finalizers", partial(self._release, job))
            elif not finished(job) and not job["spec"].get("suspend"):
                yield from self._run(job)
        for pod in self._server.all("pods"):
            owner = pod["metadata"]["ownerReferences"][0]
            if owner["kind"] == "Job" and owner["uid"] not in living and not going(pod):
                name = pod["metadata"]["name"]
                yield Act(f"pod {name} is collected", partial(self._collect, name))

    def _run(self, job: Object) -> Iterator[Act]:
        meta = job["metadata"]
        pods = self._server.owned("pods", meta["uid"])
        if not pods:
            yield Act(f"job {meta['name']} starts its pod", partial(self._start, job))

    def ends(self) -> Iterator[Act]:
        """Jobs whose pod has run can come to their end: when, a play decides."""
        for job in self._server.all("jobs"):
            if finished(job) or going(job):
                continue
            if any(ready(pod) for pod in self._server.owned("pods", job["metadata"]["uid"])):
                yield Act(f"job {job['metadata']['name']} is complete", partial(self._end, job))

    def expires(self) -> Iterator[Act]:
        """Finished Jobs with a TTL are deleted some time."""
        for job in self._server.all("jobs"):
            if finished(job) and job["spec"].get("ttlSecondsAfterFinished") is not None and not going(job):
                name = job["metadata"]["name"]
                yield Act(f"job {name} is deleted by its TTL", partial(self._expire, name))

    def _start(self, job: Object) -> None:
        self._pods.create(job, job["spec"]["template"], {})

    def _end(self, job: Object) -> None:
        for pod in self._server.owned("pods", job["metadata"]["uid"]):
            status = {**pod["status"], "phase": "Succeeded"}
            self._server.update_status("pods", pod["metadata"]["name"], status)
        status = {"conditions": [condition("Complete", "True", "")], "succeeded": 1}
        self._server.update_status("jobs", job["metadata"]["name"], status)

    def _expire(self, name: str) -> None:
        self._server.delete("jobs", name)

    def _release(self, job: Object) -> None:
        self._server.remove(Key("jobs", job["metadata"]["name"]))

    def _collect(self, pod: str) -> None:
        self._server.delete("pods", pod)


def finished(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
