"""What every shared store promises to several processes: inherit ``AcrossContract``."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import typing as t
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.run import Run
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import TooManyRuns
from flask_aistream.providers.table import Chunks
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import OutboxRow
from flask_aistream.stores.shared.engine import DEAD_SECONDS
from flask_aistream.stores.shared.engine import Segment
from flask_aistream.stores.shared.replica import ReplicaLog
from flask_aistream.stores.shared.store import SharedStore
from flask_aistream.testing import DEADLINE
from tests.core.samples import EVENTS
from tests.doubles import ManualClock
from tests.providers.test_values import CONVERTED
from tests.server.servers import wait_for
from tests.stores.contract import at_once
from tests.stores.contract import begin
from tests.stores.contract import follow
from tests.stores.contract import queue
from tests.stores.contract import run_of
from tests.stores.shared import Stores

NOTICE_SECONDS = 1.0
"""After another process has ended a run, its owner knows."""

FOLLOW_SECONDS = 0.05


class AfterRelease:
    """A lock that calls back once, in another thread's place, after its first release.

    :param callback: May use the lock.
    """

    def __init__(self, lock: t.Any, callback: Callable[[], None]) -> None:
        self._lock = lock
        self._callback: Callable[[], None] | None = callback

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class AcrossContract:
    @pytest.fixture
    def here(self, stores: Stores) -> SharedStore:
        return stores.make(name="here")

    @pytest.fixture
    def there(self, stores: Stores) -> SharedStore:
        return stores.make(name="there")

    def test_every_event_comes_back_as_it_was(self, here: SharedStore, there: SharedStore) -> None:
        log = made(here)
        said = [event for event in EVENTS if not isinstance(event, ev.TERMINAL)]
        for event in said:
            log.append(event)
        log.end(ev.Failed("code", "Broken.", 502))
        _, *rest = follow(there.open(log.run.id))
        assert rest == [*said, ev.Failed("code", "Broken.", 502)]
        assert there.open(log.run.id).run == log.run

    def test_values_come_back_as_they_were_normalized(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        values = [param.values[0] for param in CONVERTED]
        said = [event for value in values for event in Chunks().events(ev.Data("value", value))]
        log = made(here)
        for event in said:
            log.append(event)
        log.end(ev.Finished())
        assert follow(there.open(log.run.id))[1:-1] == said

    def test_a_reader_elsewhere_sees_all_while_it_is_written(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)

        def work(number: int) -> list[ev.Event]:
            if number == 0:
                for count in range(3000):
                    log.append(str(count))
                    if count % 100 == 0:
                        time.sleep(0.001)
                log.end(ev.Finished())
            return follow((here if number % 2 else there).open(log.run.id))

        for seen in at_once(work):
            assert seen[1:] == [*map(str, range(3000)), ev.Finished()]

    def test_a_reader_elsewhere_is_woken_soon(self, here: SharedStore, there: SharedStore) -> None:
        log = made(here)
        foreign = there.open(log.run.id)
        waits = []
        for number in range(20):
            woken = threading.Event()
            foreign.notify(number, woken.set)
            if number == 0:  # Until it really follows.
                time.sleep(0.05)
            said = time.monotonic()
            log.append("x")
            assert woken.wait(5)
            waits.append(time.monotonic() - said)
        assert sorted(waits)[len(waits) // 2] < FOLLOW_SECONDS

    def test_the_owner_of_a_run_ended_elsewhere_learns_it_though_it_is_silent(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        lost = threading.Event()
        log.on_lost(lost.set)
        log.append("so far")
        wait_for(lambda: log.tail == 1, "the record")
        assert there.open(log.run.id).end(ev.Stopped())
        assert lost.wait(NOTICE_SECONDS)
        assert list(log.read(0).events) == ["so far", ev.Stopped()]
        assert not log.end(ev.Finished())

    def test_a_callback_that_raises_delays_no_other_answer(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)

        def fail() -> t.NoReturn:
            raise RuntimeError("can't start new thread")

        log.on_lost(fail)
        assert there.open(log.run.id).end(ev.Stopped())
        wait_for(lambda: log.ended, "the news")
        found: list[str | None] = []
        asking = threading.Thread(target=lambda: found.append(here.latest("talk")), daemon=True)
        asking.start()
        asking.join(DEADLINE)
        assert found == [None]

    def test_nothing_is_written_after_an_end_from_elsewhere(
        self, here: SharedStore, there: SharedStore, stores: Stores
    ) -> None:
        log = made(here)
        ender = there.open(log.run.id)

        def work(number: int) -> None:
            if number == 1:
                wait_for(lambda: log.tail > 500, "some records")
                assert ender.end(ev.Stopped())
                return
            try:
                while True:
                    log.append("x")
            except LogEnded:
                pass

        at_once(work, 2)
        told = [follow(held) for held in (log, ender, stores.make(name="third").open(log.run.id))]
        assert told[0] == told[1] == told[2]
        assert told[0][-1] == ev.Stopped()

    def test_one_of_many_in_all_processes_ends_a_run(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        for _ in range(20):
            run_id = made(here).run.id
            logs = [(here if n % 2 else there).open(run_id) for n in range(6)]
            won = at_once(lambda n, logs=logs: logs[n].end(ev.Stopped(str(n))), 6)  # type: ignore[misc]
            assert won.count(True) == 1
            assert {log.read(0).events[-1] for log in logs} == {ev.Stopped(str(won.index(True)))}

    def test_a_key_belongs_to_one_in_all_processes(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        for turn in range(20):
            runs = [run_of("chat", key=f"k{turn}") for _ in range(6)]

            def create(number: int, runs: list[Run] = runs) -> tuple[ReplicaLog, bool]:
                return (here if number % 2 else there).create(runs[number], [str(number)])

            made = at_once(create, 6)
            assert [new for _, new in made].count(True) == 1
            assert len({log.run.id for log, _ in made}) == 1
            assert len({tuple(log.read(-1).events) for log, _ in made}) == 1

    def test_a_conversation_and_a_key_are_found_from_elsewhere(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log, _ = begin(here, chat="talk", key="k")
        assert there.latest("talk") == log.run.id
        found = there.started("k")
        assert found is not None
        assert found.run == log.run

    def test_runs_of_an_owner_are_counted_in_all_processes(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        logs = [begin(store, owner="ann")[0] for store in (here, here, there)]
        begin(there, owner="bob", owner_limit=1)
        for store in (here, there):
            with pytest.raises(TooManyRuns):
                begin(store, owner="ann", owner_limit=3)
        here.open(logs[2].run.id).end(ev.Stopped())
        begin(here, owner="ann", owner_limit=3)

    def test_applications_of_different_names_see_nothing_of_each_other(
        self, stores: Stores
    ) -> None:
        one, two = (stores.make(name=name, namespace=name, max_runs=1) for name in ("a:b", "a"))
        mine, _ = begin(one, owner="ann", key="k", chat="talk")
        ended, queued = made(one), queue(one)
        assert ended.end(ev.Finished())
        for run_id in (mine.run.id, ended.run.id, queued.id):
            with pytest.raises(RunNotFound):
                two.open(run_id)
            assert two.adopt(run_id, 1) is None
            assert two.drop(run_id)
        two.leave_chat("talk", mine.run.id)
        assert (two.started("k"), two.latest("talk")) == (None, None)
        assert (two.claim([]), two.orphans(queued=0)) == ([], [])
        theirs = [
            begin(two, owner="ann", key="k", chat="talk", owner_limit=number)[0] for number in (1,)
        ]
        theirs += [made(two) for _ in range(2)]
        for log in theirs:
            log.end(ev.Stopped())
            two.delivered(log.run.id)
        two.sweep()
        assert [row.run for row in one.claim([])] == [ended.run.id]
        assert [orphan.log.run.id for orphan in one.orphans(queued=0)] == [queued.id]
        assert (one.latest("talk"), follow(one.open(ended.run.id))[-1]) == (
            mine.run.id,
            ev.Finished(),
        )
        stores.kill(one)
        for _ in range(2):
            time.sleep(DEAD_SECONDS)
            assert two.orphans(queued=0) == []

    def test_the_runs_of_a_dead_process_are_found_and_ended_once(
        self, stores: Stores, here: SharedStore, there: SharedStore
    ) -> None:
        third = stores.make(name="third")
        log = made(here)
        log.append("so far")
        reader = there.open(log.run.id)
        wait_for(lambda: log.tail == 1, "the record")
        kept = made(there)
        stores.kill(here)
        killed = time.monotonic()
        found: list[Log] = []

        def orphaned() -> bool:
            found[:] = [orphan for store in (there, third) for orphan, _ in store.orphans()]
            time.sleep(0.1)
            return len(found) == 2

        wait_for(orphaned, "the orphan")
        assert DEAD_SECONDS - 1 < time.monotonic() - killed < 5.0
        assert [orphan.run.id for orphan in found] == [log.run.id] * 2
        assert [o.end(ev.Interrupted("owner-lost")) for o in found].count(True) == 1
        assert follow(reader)[1:] == ["so far", ev.Interrupted("owner-lost")]
        assert [there.orphans(), third.orphans(), kept.ended] == [[], [], False]

    def test_what_a_dead_process_has_claimed_is_claimed_once_by_another(
        self, stores: Stores, here: SharedStore, there: SharedStore
    ) -> None:
        third = stores.make(name="third")
        mine, foreign, delivered = made(here), made(there), made(here)
        mine.append("so far")
        assert mine.end(ev.Finished(), claim=True)
        assert here.open(foreign.run.id).end(ev.Stopped(), claim=True)
        assert delivered.end(ev.Finished(), claim=True)
        here.delivered(delivered.run.id)
        assert (there.claim([]), third.claim([])) == ([], [])
        assert {it.run for it in here.claim([])} == {mine.run.id, foreign.run.id}
        stores.kill(here)
        claimed: list[OutboxRow] = []

        def found() -> bool:
            for store in (there, third):
                assert store.orphans() == []
                claimed.extend(store.claim([it.run for it in claimed]))
                for row in claimed:
                    store.delivered(row.run)
            time.sleep(0.1)
            return len(claimed) >= 2

        wait_for(found, "the rows of a dead process")
        assert {it.run for it in claimed} == {mine.run.id, foreign.run.id}
        assert [it.attempt for it in claimed] == [2, 2]
        for store in (there, third):
            for row in claimed:
                store.delivered(row.run)
            store.flush()
            assert (store.orphans(), store.claim([])) == ([], [])

    def test_a_row_that_no_process_claims_may_be_claimed_by_any_and_expires_with_its_run(
        self, stores: Stores
    ) -> None:
        clock = ManualClock()
        here, there = (stores.make(name=name, clock=clock, retain=60) for name in ("here", "there"))
        first, second = made(here), made(here)
        assert first.end(ev.Finished())
        assert [it.run for it in there.claim([])] == [first.run.id]
        assert second.end(ev.Finished())
        clock.advance(70)
        there.sweep()
        assert here.claim([]) == []

    def test_a_run_whose_end_is_being_delivered_is_not_dropped_for_room(
        self, stores: Stores
    ) -> None:
        here, there = (stores.make(name=name, max_runs=0) for name in ("here", "there"))
        log = made(here)
        log.end(ev.Finished(), claim=True)
        there.sweep()
        assert there.open(log.run.id).ended
        here.delivered(log.run.id)
        here.flush()
        there.sweep()
        with pytest.raises(RunNotFound):
            there.open(log.run.id)

    @pytest.mark.parametrize("late", [False, True], ids=["before the answer", "after it"])
    @pytest.mark.parametrize("call", ["create", "adopt"])
    def test_a_run_whose_asker_was_broken_off_is_left_to_others(
        self, here: SharedStore, there: SharedStore, call: str, late: bool
    ) -> None:
        run = run_of("chat")
        if call == "adopt":
            assert there.create(run, ["a"])[0].release()
        with broken_off(here, late), pytest.raises(BrokenOff):
            here.create(run, ["a"]) if call == "create" else here.adopt(run.id, 1)
        here.flush()
        ((_, epoch),) = there.orphans()
        heir = there.adopt(run.id, epoch)
        assert heir is not None
        heir.end(ev.Finished())
        assert follow(here.open(run.id)) == ["a", ev.Finished()]

    @pytest.mark.parametrize("late", [False, True], ids=["before the answer", "after it"])
    def test_an_end_whose_caller_gave_up_is_in_the_outbox(
        self, here: SharedStore, there: SharedStore, late: bool
    ) -> None:
        log = here.open(made(there).run.id)
        with broken_off(here, late), pytest.raises(BrokenOff):
            log.end(ev.Stopped(), claim=True)
        here.flush()
        assert here.orphans() == []
        assert [it.run for it in here.claim([])] == [log.run.id]

    def test_a_queued_run_is_adopted_elsewhere(self, here: SharedStore, there: SharedStore) -> None:
        run = run_of("chat", request="{}")
        queued, _ = here.create(run, ["a"], owned=False)
        log = there.adopt(run.id)
        assert log is not None
        assert log.run == run
        log.append("b")
        log.end(ev.Finished())
        assert follow(queued) == ["a", "b", ev.Finished()]

    def test_one_of_many_in_all_processes_adopts_a_run(
        self, here: SharedStore, there: SharedStore, stores: Stores
    ) -> None:
        third = stores.make(name="third")
        for _ in range(20):
            run_id = made(here).run.id

            def adopt(number: int, run_id: str = run_id) -> ReplicaLog | None:
                return (third if number % 2 else there).adopt(run_id, 1)

            (log,) = [log for log in at_once(adopt, 6) if log is not None]
            assert (log.owned, log.epoch) == (True, 2)

    def test_a_silent_former_owner_learns_that_it_is_fenced(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        lost = threading.Event()
        log.on_lost(lost.set)
        log.append("a")
        wait_for(lambda: log.tail == 1, "the record")
        heir = there.adopt(log.run.id, 1)
        assert heir is not None
        assert lost.wait(NOTICE_SECONDS)
        assert (log.owned, log.epoch, log.ended) == (False, 2, False)
        with pytest.raises(LogEnded):
            log.append("too late")
        assert not log.end(ev.Finished(), epoch=1)
        heir.append("b")
        heir.end(ev.Finished())
        assert follow(log)[1:] == follow(heir)[1:] == ["a", "b", ev.Finished()]

    def test_nothing_of_the_last_owner_is_written_after_an_adoption(
        self, here: SharedStore, there: SharedStore, stores: Stores
    ) -> None:
        log = made(here)
        lost = threading.Event()
        log.on_lost(lost.set)

        def work(number: int) -> None:
            if number == 1:
                wait_for(lambda: log.tail > 500, "some records")
                heir = there.adopt(log.run.id, 1)
                assert heir is not None
                for count in range(500):
                    heir.append(f"heir {count}")
                assert lost.wait(NOTICE_SECONDS)
                assert heir.end(ev.Finished())
            elif number == 2:
                follow(log)
            else:
                with contextlib.suppress(LogEnded):
                    for count in itertools.count():
                        log.append(str(count))

        at_once(work, 3)
        third = stores.make(name="third").open(log.run.id)
        told = [follow(held) for held in (log, there.open(log.run.id), third)]
        assert told[0] == told[1] == told[2]
        first = told[0].index("heir 0")
        assert told[0][1:first] == [str(count) for count in range(first - 1)]
        assert told[0][first:] == [*(f"heir {count}" for count in range(500)), ev.Finished()]

    def test_a_former_owner_can_still_stop_a_run(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        log.append("a")
        wait_for(lambda: log.tail == 1, "the record")
        heir = there.adopt(log.run.id, 1)
        assert heir is not None
        heir.append("b")
        wait_for(lambda: heir.tail == 2, "the record")
        assert log.end(ev.Stopped())
        assert follow(heir)[1:] == follow(log)[1:] == ["a", "b", ev.Stopped()]

    def test_a_run_may_come_back_to_its_first_owner(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        log.append("a")
        lost = threading.Event()
        log.on_lost(lost.set)
        wait_for(lambda: log.tail == 1, "the record")
        heir = there.adopt(log.run.id, 1)
        assert heir is not None
        heir.append("b")
        wait_for(lambda: heir.tail == 2, "the record")
        assert lost.wait(NOTICE_SECONDS)
        again = here.adopt(log.run.id, 2)
        assert again is log
        again.append("c")
        again.end(ev.Finished())
        assert follow(heir)[1:] == follow(log)[1:] == ["a", "b", "c", ev.Finished()]

    def test_a_released_run_is_an_orphan_at_once_and_has_all_records(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        reader = there.open(log.run.id)
        for number in range(500):
            log.append(str(number))
        assert log.release()
        with pytest.raises(LogEnded):
            log.append("too late")
        assert [log.owned, log.end(ev.Finished(), epoch=1), log.release()] == [False] * 3
        ((_, epoch),) = there.orphans()
        heir = there.adopt(log.run.id, epoch)
        assert heir is not None
        heir.end(ev.Finished())
        said = [*map(str, range(500)), ev.Finished()]
        assert follow(reader)[1:] == follow(log)[1:] == said

    def test_a_run_that_is_being_released_is_not_ended_by_its_owner(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        wake_up = sleep(here)
        released: list[bool] = []
        releasing = threading.Thread(target=lambda: released.append(log.release()))
        releasing.start()
        wait_for(lambda: refuses(log), "the release to begin")
        # The provider, which could not say any more, has come to its end in this very moment.
        ended: list[bool] = []
        ending = threading.Thread(
            target=lambda: ended.append(log.end(ev.Finished(), epoch=log.epoch))
        )
        ending.start()
        ending.join(0.05)
        wake_up()
        for thread in (releasing, ending):
            thread.join(DEADLINE)
        assert (released, ended) == ([True], [False])
        assert [orphan.log.run.id for orphan in there.orphans()] == [log.run.id]

    def test_a_run_that_could_not_be_released_can_be_ended(self, here: SharedStore) -> None:
        log = made(here)
        here.writer.unavailable = True
        assert not log.release()
        here.writer.unavailable = False
        assert log.end(ev.Interrupted(), epoch=log.epoch)

    def test_a_released_run_that_came_back_at_once_can_be_ended(self, here: SharedStore) -> None:
        log = made(here)
        ask = here.writer.ask

        def ask_and_dawdle(*question: t.Any) -> t.Any:
            here.writer.ask = ask  # type: ignore[method-assign]
            answer = ask(*question)
            assert here.adopt(log.run.id, 1) is log
            return answer

        here.writer.ask = ask_and_dawdle  # type: ignore[assignment]
        assert log.release()
        log.append("a")
        assert log.end(ev.Finished(), epoch=log.epoch)

    def test_an_outcome_that_follows_from_a_stop_does_not_replace_it(
        self, here: SharedStore
    ) -> None:
        log = made(here)
        outcomes: list[bool] = []

        def provider() -> None:  # Its append is refused, since the run is about to be stopped.
            with pytest.raises(LogEnded):
                log.append("a")
            outcomes.append(log.end(ev.Failed("provider_error", "…"), epoch=log.epoch))

        log._lock = AfterRelease(log._lock, provider)
        assert log.end(ev.Stopped("client"))
        assert outcomes == [False]
        assert log.terminal == ev.Stopped("client")

    def test_who_has_seen_more_than_the_store_has_kept_sees_the_end(
        self, here: SharedStore
    ) -> None:
        log = here._log(run_of("chat"), 1)
        log.apply([Segment(0, ["a", "b", "c"])])
        woken = threading.Event()
        log.notify(2, woken.set)
        # A failover has lost the last two, and their owner was lost with them.
        assert log.apply([Segment(1, [ev.Interrupted("owner-lost")])])
        assert woken.wait(0)
        assert list(log.read(2).events) == [ev.Interrupted("owner-lost")]

    def test_a_reader_that_waits_for_the_end_hears_of_it_elsewhere(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        foreign, news, end = there.open(log.run.id), threading.Event(), threading.Event()
        foreign.notify(0, news.set)
        foreign.notify_end(end.set)
        log.append("a")
        assert news.wait(DEADLINE)
        assert not end.is_set()
        foreign.notify(1, news.set)
        log.end(ev.Finished())
        assert end.wait(DEADLINE)

    def test_an_end_is_for_the_owner_it_was_meant_for(
        self, here: SharedStore, there: SharedStore, stores: Stores
    ) -> None:
        log = made(here)
        late = stores.make(name="third").open(log.run.id)
        heir = there.adopt(log.run.id, 1)
        assert heir is not None
        # Two survivors found it orphaned: one has adopted it, the other is about to end it.
        assert not late.end(ev.Interrupted("owner-lost"), epoch=1)
        heir.append("a")
        heir.end(ev.Finished())
        assert follow(late)[1:] == ["a", ev.Finished()]

    def test_a_run_is_forgotten_everywhere(self, stores: Stores) -> None:
        clock = ManualClock()
        here, there = (stores.make(name=name, clock=clock, retain=60) for name in ("here", "there"))
        log, _ = begin(here, key="k", chat="talk")
        log.end(ev.Finished())
        elsewhere = there.open(log.run.id)
        clock.advance(70)
        there.sweep()
        for store in (here, there):
            with pytest.raises(RunNotFound):
                store.open(log.run.id)
        assert (here.started("k"), here.latest("talk")) == (None, None)
        assert elsewhere.read(-1).ended

    def test_a_run_that_was_ended_and_dropped_while_its_owner_slept_is_not_restored(
        self, stores: Stores
    ) -> None:
        clock = ManualClock()
        here, there = (stores.make(name=name, clock=clock, retain=60) for name in ("here", "there"))
        silent, speaking, ending = logs = [made(here) for _ in range(3)]
        wake_up = sleep(here)
        wait_for(lambda: len(there.orphans()) == len(logs), "its process to count as dead")
        for orphan in there.orphans():
            assert orphan.log.end(ev.Interrupted("owner-lost"), epoch=orphan.epoch)
        clock.advance(70)
        there.sweep()
        speaking.append("more")
        ended: list[bool] = []
        end = threading.Thread(target=lambda: ended.append(ending.end(ev.Finished())))
        end.start()
        wait_for(lambda: refuses(ending), "the end to begin")
        wake_up()
        end.join(DEADLINE)
        assert ended == [False]
        for log in logs:
            wait_for(lambda log=log: log.ended, "the owner to learn of its end")  # type: ignore[misc]
            assert list(log.read(0).events) == [ev.Interrupted("owner-lost")]
            with pytest.raises(RunNotFound):
                there.open(log.run.id)
        assert refuses(silent)

    @pytest.mark.parametrize("bounds", [{"max_events": 100}, {"log_bytes": 600}], ids=str)
    def test_a_trimmed_log_tells_the_gap_elsewhere_too(
        self, stores: Stores, bounds: dict[str, int]
    ) -> None:
        here, there = (stores.make(name=name, **bounds) for name in ("here", "there"))
        log = made(here)
        for number in range(1000):
            log.append(str(number))
            if number % 50 == 0:
                here.flush()  # A round of its own.
        living = stores.make(name="third").open(log.run.id).read(-1)
        assert living.first > 0
        assert living.last >= 900
        log.end(ev.Finished())
        page = there.open(log.run.id).read(-1)
        assert page.first > 0
        assert page.last == 1001
        assert list(page.events) == [*(str(n) for n in range(page.first - 1, 1000)), ev.Finished()]

    def test_a_run_of_another_process_without_readers_is_not_followed(
        self, here: SharedStore, there: SharedStore
    ) -> None:
        log = made(here)
        foreign = there.open(log.run.id)
        foreign.notify(0, lambda: None)
        wait_for(lambda: followed(there) == {log.run.id}, "it to be followed")
        del foreign
        wait_for(lambda: followed(there) == set(), "it to be unfollowed")


class BrokenOff(BaseException):
    """As gevent's ``Timeout``."""


@contextlib.contextmanager
def broken_off(store: SharedStore, late: bool) -> Iterator[None]:
    """Who waits for this store is broken off."""
    make = store.process.waiter

    class BreakingOff:
        def __init__(self) -> None:
            self._waiter = make()
            self.wake = self._waiter.wake

        def wait(self) -> t.NoReturn:
            if late:
                self._waiter.wait()
            raise BrokenOff

    store.process.waiter = BreakingOff  # type: ignore[method-assign]
    try:
        yield
    finally:
        store.process.waiter = make  # type: ignore[method-assign]


def sleep(store: SharedStore) -> Callable[[], None]:
    """As if its process slept.

    :returns: Wakes it up.
    """
    asleep, awake = threading.Event(), threading.Event()
    gather = store.writer._wait

    def doze() -> None:
        store.writer._wait = gather  # type: ignore[method-assign]
        asleep.set()
        awake.wait(DEADLINE)
        gather()

    store.writer._wait = doze  # type: ignore[method-assign]
    store.writer.submit(lambda engine: None)
    assert asleep.wait(DEADLINE)
    pulse = getattr(store.writer._engine, "_pulse", None)
    if pulse is not None:
        pulse.close()
    return awake.set


def made(store: SharedStore) -> ReplicaLog:
    log, _ = begin(t.cast(t.Any, store))
    return t.cast(ReplicaLog, log)


def refuses(log: ReplicaLog) -> bool:
    try:
        log.append("more")
    except LogEnded:
        return True
    return False


def followed(store: SharedStore) -> set[str]:
    """Ids of the foreign runs whose news come in."""
    engine: t.Any = store.writer._engine
    subscriber = getattr(engine.following, "_subscriber", None)
    names = subscriber._runs if subscriber else engine.following._runs
    return set(store.writer.ask(lambda _: [name for name in names.values() if name]))
