"""Changes of objects and requests that the API server logged -> the user who made each, or that it is not certain. Pure.

A user is named only where every request in the log that can have made the change is theirs. That needs the whole log: of every API
server, with every write of the kinds in it. What the requests say decides:

- a version: the answer names uid and resourceVersion of the change (level RequestResponse);
- a creation: the answer was 201 for that name, in the second that the object calls its creation;
- a deletion: a deletion or eviction of that name, a deletion of its collection, or of its whole kind, while that object was there: none
  that was answered before its last write. Of one that waited for finalizers, in the second that the object calls its deletion: who asked
  for it, not who finished it. Of kinds whose objects end by themselves it is never said.

A change by an update whose answer is not in the log (level Metadata) is not joined: the log does not tell which version a request made, nor
whether it changed anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from archiver.history.span.bounds import Told
from archiver.kubernetes.audit_events import Request

_Place = tuple[str, str, str]
"""Kind, namespace, name."""
_SECOND = 1_000_000
_APART = 300 * _SECOND
"""How far the clocks of an archiver and an API server may be apart. Where it matters, more only leaves more undecided."""
_ENDING = frozenset({"events", "events.events.k8s.io"})
"""The API server itself lets these end, and logs no request."""
_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


class RequestMakers:
    """What a whole audit log says, asked change by change."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._versions: dict[tuple[str, str], list[Request]] = defaultdict(list)
        """Writes whose answer names what they made, by uid and version."""
        self._others: dict[_Place, list[Request]] = defaultdict(list)
        """Writes of which that is not known."""
        self._creations: dict[_Place, list[Request]] = defaultdict(list)
        self._deletions: dict[_Place, list[Request]] = defaultdict(list)
        """Of a collection without the name; of a definition, which takes its objects along, by the kind alone."""
        for each in requests:
            place = (each.resource, each.namespace, each.name)
            if each.does == "delete":
                self._deletions[(each.name, "", "") if each.resource == _DEFINITIONS and each.name else place].append(each)
                continue
            if each.creates:
                self._creations[place].append(each)
            if each.uid and each.version:
                self._versions[each.uid, each.version].append(each)
            else:
                self._others[place].append(each)

    def user(self, told: Told) -> tuple[str, str]:
        """Who made the change, and what is said where that is not certain."""
        users = sorted({each.user for each in self._candidates(told)})
        if len(users) > 1:
            return "", f"by the audit log, any of {len(users)} users may have made it"
        return (users[0], "") if users else ("", "")

    def _candidates(self, told: Told) -> list[Request]:
        match told.change.operation:
            case "deleted" | "absent" if told.created:
                return self._deleting(told)
            case "added" if told.created:
                return self._creating(told)
            case "modified":
                return self._making(told)
        return []

    def _making(self, told: Told) -> list[Request]:
        change = told.change
        found = self._versions.get((change.uid, change.resource_version), [])
        # One that changed nothing answers with the version that was there: it cannot have made that if another one was done before.
        found = [each for each in found if not any(other.done < each.received for other in found)]
        if not found:
            return []
        latest = max(each.done for each in found)
        others = self._others.get(_place(told), [])
        return found + [each for each in others if told.created <= each.done and each.received <= latest]

    def _creating(self, told: Told) -> list[Request]:
        change = told.change
        kind, namespace, name = _place(told)
        # Where the server chose the name, only the answer has it.
        found = [each for one in (name, "") for each in self._creations.get((kind, namespace, one), [])]
        return [each for each in found if each.uid in ("", change.uid) and _second(each.received) <= told.created <= each.done]

    def _deleting(self, told: Told) -> list[Request]:
        change, deleting = told.change, told.deleting
        place = _place(told)
        kind, namespace, _ = place
        if kind in _ENDING:
            return []
        places = {place, (kind, namespace, ""), (kind, "", "")}
        found = [each for one in places for each in self._deletions.get(one, [])]
        found = [each for each in found if each.resource == _DEFINITIONS or not each.name or each.uid in ("", change.uid)]
        if deleting:
            return [each for each in found if _second(each.received) <= deleting <= each.done]
        # By both: what an object says of its writes its clients may have said, and what was received may have been on its way for long.
        alive = max(told.created, min(told.written, told.seen - _APART))
        heard = (change.happened_until or change.time) + _APART
        # What began when the name was another object's already was about that one.
        later = [each.done for each in self._creations.get(place, []) if each.certain and each.received >= told.created + _SECOND]
        return [
            each for each in found if alive <= each.done and each.received <= heard and not any(done <= each.received for done in later)
        ]


def _place(told: Told) -> _Place:
    """As requests call it: the core group has no name."""
    return told.change.kind.rstrip("."), told.change.namespace, told.change.name


def _second(moment: int) -> int:
    return moment - moment % _SECOND
