"""What every store promises: inherit ``StoreContract`` and say how to make one."""

from __future__ import annotations

import threading
import typing as t
from collections.abc import Callable
from functools import partial

import pytest

from flask_aistream.core import events as ev
from flask_aistream.core.page import Page
from flask_aistream.core.run import Run
from flask_aistream.core.run import new_run_id
from flask_aistream.errors import ChatBusy
from flask_aistream.errors import CursorInvalid
from flask_aistream.errors import LogEnded
from flask_aistream.errors import RunNotFound
from flask_aistream.errors import StoreFull
from flask_aistream.errors import TooManyRuns
from flask_aistream.stores.base import CHAT_RUNS
from flask_aistream.stores.base import PAGE
from flask_aistream.stores.base import Conditions
from flask_aistream.stores.base import Log
from flask_aistream.stores.base import Store
from tests.core.samples import EVENTS
from tests.doubles import ManualClock

THREADS = 8
DEADLINE = 10.0
TAKE_KEY = Conditions(take_key=True)
ONE, THREE = Conditions(owner_limit=1), Conditions(owner_limit=3)
MEGABYTE = 1024 * 1024


class StoreContract:
    """The promises. Those that need a bound ask for a store that has it."""

    def make_store(self, clock: ManualClock, **limits: t.Any) -> Store:
        """A new, empty store.

        param limits: as the stores take them: ``retain`` (seconds), ``log_bytes`` …
        """
        raise NotImplementedError

    @pytest.fixture
    def store(self, clock: ManualClock) -> Store:
        return self.make_store(clock)

    @pytest.fixture
    def log(self, store: Store) -> Log:
        return begin(store)[0]

    # What is written is what is read.

    def test_a_log_begins_with_what_it_was_created_with(self, store: Store) -> None:
        log, new = store.create(run_of("chat"), ["a", "b"])
        assert new
        assert log.read(-1) == Page(0, ["a", "b"], False)

    def test_what_is_known_of_a_run_comes_back(self, store: Store) -> None:
        run = Run(new_run_id(), "chat", 1.5, "ann", "key", "print", "talk")
        assert store.create(run, [])[0].run == run
        assert store.open(run.id).run == run

    def test_a_log_opened_again_is_the_same_log(self, store: Store, log: Log) -> None:
        log.append("a")
        again = store.open(log.run.id)
        again.append("b")
        assert texts(log) == texts(again) == ["a", "b"]

    def test_an_unknown_run_is_not_found(self, store: Store) -> None:
        with pytest.raises(RunNotFound):
            store.open("unknown")

    @pytest.mark.parametrize(
        "event", [e for e in EVENTS if not isinstance(e, ev.TERMINAL)], ids=repr
    )
    def test_every_event_comes_back_as_it_was(self, log: Log, event: ev.Event) -> None:
        log.append(event)
        assert list(log.read(0).events) == [event]

    @pytest.mark.parametrize("event", [e for e in EVENTS if isinstance(e, ev.TERMINAL)], ids=repr)
    def test_every_end_comes_back_as_it_was(self, log: Log, event: ev.Terminal) -> None:
        assert (log.terminal, log.tail) == (None, 0)
        assert log.end(event)
        assert log.read(0) == Page(1, [event], True)
        assert (log.terminal, log.tail) == (event, 1)

    def test_reading_goes_on_after_any_record(self, log: Log) -> None:
        fill(log, 10)
        for after in range(-1, 11):
            page = log.read(after)
            assert page.first == after + 1
            assert page.last == 10

    def test_a_page_is_no_longer_than_asked(self, log: Log) -> None:
        fill(log, 10)
        assert [log.read(3, limit).last for limit in (1, 2, 7, 8)] == [4, 5, 10, 10]

    def test_a_long_log_is_read_in_pages_without_a_gap(self, log: Log) -> None:
        fill(log, PAGE + 10)
        log.end(ev.Finished())
        pages = list(pages_of(log))
        assert [len(page.events) for page in pages] == [PAGE, 12]
        assert [page.ended for page in pages] == [False, True]

    def test_a_page_does_not_change_after_it_was_read(self, log: Log) -> None:
        page = log.read(-1)
        log.append("a")
        log.end(ev.Finished())
        assert len(page.events) == 1
        assert not page.ended

    def test_a_cursor_beyond_the_log_is_refused(self, log: Log) -> None:
        log.append("a")
        assert log.read(1).events == []
        with pytest.raises(CursorInvalid, match="last record of the run is number 1"):
            log.read(2)

    # The end.

    def test_a_log_ends_once(self, log: Log) -> None:
        before = log.ended
        assert [log.end(ev.Stopped()), log.end(ev.Finished())] == [True, False]
        assert [before, log.ended] == [False, True]
        assert log.read(0) == Page(1, [ev.Stopped()], True)

    def test_nothing_follows_the_end(self, log: Log) -> None:
        log.end(ev.Finished())
        with pytest.raises(LogEnded):
            log.append("late")
        assert log.read(0).events == [ev.Finished()]

    def test_a_page_at_the_end_is_marked_as_ended(self, log: Log) -> None:
        log.end(ev.Finished())
        assert log.read(1) == Page(2, [], True)

    def test_a_page_that_stops_before_the_end_is_not_the_end(self, log: Log) -> None:
        log.append("a")
        log.end(ev.Finished())
        assert [log.read(0, limit).ended for limit in (1, 2)] == [False, True]

    # Many at once.

    def test_numbers_are_gapless_with_concurrent_writers(self, log: Log) -> None:
        def write(writer: int) -> None:
            for number in range(200):
                log.append(f"{writer}:{number}")

        at_once(write)
        told = texts(log)
        assert len(told) == THREADS * 200
        for writer in range(THREADS):  # Each writer's own order is kept.
            own = [text for text in told if text.startswith(f"{writer}:")]
            assert own == [f"{writer}:{n}" for n in range(200)]

    def test_exactly_one_of_many_ends_a_run(self, store: Store) -> None:
        for _ in range(50):
            log, _ = begin(store)
            won = at_once(lambda n, log=log: log.end(ev.Stopped(str(n))))  # type: ignore[misc]
            assert won.count(True) == 1
            assert log.read(0).events == [ev.Stopped(str(won.index(True)))]

    def test_what_was_written_before_the_end_is_there_and_nothing_else(self, log: Log) -> None:
        def work(number: int) -> int:
            if number == 0:
                while len(log.read(-1).events) < 100:
                    pass
                log.end(ev.Finished())
            for count in range(PAGE):
                try:
                    log.append("x")
                except LogEnded:
                    return count
            return PAGE

        written = sum(at_once(work))
        events = [event for page in pages_of(log) for event in page.events]
        assert events == [ev.RunStarted(log.run.id, "chat"), *["x"] * written, ev.Finished()]

    def test_readers_see_every_record_once_while_it_is_written(self, log: Log) -> None:
        def work(number: int) -> list[ev.Event]:
            if number == 0:
                fill(log, 2000)
                log.end(ev.Finished())
            return follow(log)

        for seen in at_once(work):
            assert seen[1:] == [*map(str, range(2000)), ev.Finished()]

    # Waiting.

    def test_a_record_that_exists_already_wakes_at_once(self, log: Log) -> None:
        wake = Wakes()
        log.notify(-1, wake)
        assert wake.count == 1

    def test_a_waiting_reader_is_woken_once(self, log: Log) -> None:
        wake = Wakes()
        log.notify(0, wake)
        assert wake.count == 0
        log.append("a")
        wake.wait(1)
        log.append("b")
        log.append("c")
        assert wake.count == 1

    def test_the_end_wakes_too(self, log: Log) -> None:
        wake = Wakes()
        log.notify(0, wake)
        log.end(ev.Finished())
        wake.wait(1)

    def test_a_reader_that_waits_for_the_end_is_woken_by_nothing_else(self, log: Log) -> None:
        news, end, gone = Wakes(), Wakes(), Wakes()
        log.notify(0, news)
        for wake in (end, gone):
            log.notify_end(wake)
        log.append("a")
        news.wait(1)
        assert end.count == 0
        log.forget(gone)
        log.end(ev.Finished())
        end.wait(1)
        log.notify_end(end)
        assert (end.count, gone.count) == (2, 0)

    def test_all_waiting_readers_are_woken(self, log: Log) -> None:
        wakes = [Wakes() for _ in range(50)]
        for wake in wakes:
            log.notify(0, wake)
        log.append("a")
        for wake in wakes:
            wake.wait(1)

    def test_a_cancelled_notification_wakes_no_reader(self, log: Log) -> None:
        gone, staying = Wakes(), Wakes()
        log.notify(0, gone)
        log.notify(0, staying)
        log.forget(gone)
        log.append("a")
        staying.wait(1)
        assert gone.count == 0

    def test_cancelling_a_notification_that_was_never_requested_has_no_effect(
        self, log: Log
    ) -> None:
        log.forget(Wakes())

    def test_a_woken_reader_may_wait_again_at_once(self, log: Log) -> None:
        wake = Wakes()

        def again() -> None:
            wake()
            log.notify(log.read(-1).last, again)

        log.notify(0, again)
        for count in range(1, 4):
            log.append("x")
            wake.wait(count)
        log.forget(again)

    # Who owns a run.

    def test_a_new_run_has_its_first_owner(self, log: Log) -> None:
        assert (log.owned, log.epoch) == (True, 1)

    def test_a_queued_run_is_adopted_and_goes_on(self, store: Store) -> None:
        run = run_of("chat", request="{}")
        queued, new = store.create(run, ["a"], owned=False)
        assert (new, queued.owned, queued.epoch) == (True, False, 0)
        assert queued.run.request == "{}"
        log = store.adopt(run.id)
        assert log is not None
        assert (log.owned, log.epoch, log.run) == (True, 1, run)
        log.append("b")
        assert texts(log) == texts(store.open(run.id)) == ["a", "b"]
        assert log.end(ev.Finished(), epoch=1)
        assert store.open(run.id).ended

    def test_one_of_many_callers_adopts_a_run(self, store: Store) -> None:
        for _ in range(20):
            run = queue(store)
            adopted = at_once(lambda _, run=run: store.adopt(run.id))  # type: ignore[misc]
            (log,) = [log for log in adopted if log is not None]
            log.append("mine")
            assert texts(log) == ["mine"]

    def test_a_run_that_has_an_owner_is_not_adopted(self, store: Store, log: Log) -> None:
        assert [store.adopt(log.run.id, epoch) for epoch in (0, 1, 2)] == [None] * 3
        assert store.adopt("unknown") is None
        log.append("a")
        assert texts(log) == ["a"]

    def test_a_run_that_was_ended_in_the_queue_is_not_adopted(self, store: Store) -> None:
        run = queue(store)
        assert store.open(run.id).end(ev.Stopped())
        assert store.adopt(run.id) is None
        assert list(store.open(run.id).read(-1).events) == [ev.Stopped()]

    def test_an_end_for_another_epoch_is_refused(self, store: Store, log: Log) -> None:
        assert not log.end(ev.Interrupted(), epoch=0)
        log.append("a")
        assert log.end(ev.Finished(), epoch=1)
        run = queue(store)
        assert not store.open(run.id).end(ev.Interrupted(), epoch=1)
        assert store.open(run.id).end(ev.Interrupted(), epoch=0)

    def test_readers_of_a_queued_run_receive_the_records_of_its_owner(self, store: Store) -> None:
        run = queue(store)

        def work(number: int) -> list[ev.Event]:
            if number == 0:
                log = store.adopt(run.id)
                assert log is not None
                fill(log, 100)
                log.end(ev.Finished())
            return follow(store.open(run.id))

        for seen in at_once(work):
            assert seen == [*map(str, range(100)), ev.Finished()]

    def test_a_run_that_waits_too_long_for_an_owner_is_an_orphan(self, clock: ManualClock) -> None:
        store = self.make_store(clock)
        taken, waiting, _ = queue(store), queue(store), begin(store)
        assert [store.orphans(), store.orphans(30)] == [[], []]
        clock.advance(20)
        assert store.orphans(30) == []
        assert store.adopt(taken.id)
        clock.advance(15)
        assert store.orphans() == []
        assert [(it.log.run.id, it.epoch) for it in store.orphans(30)] == [(waiting.id, 0)]
        assert store.open(waiting.id).end(ev.Interrupted())
        assert store.orphans(30) == []

    # The outbox.

    def test_an_end_is_claimed_once_by_the_process_that_wrote_it(
        self, store: Store, log: Log
    ) -> None:
        assert log.end(ev.Finished(), claim=True)
        assert not log.end(ev.Stopped(), claim=True)
        (row,) = store.claim([])
        assert (row.run, row.attempt) == (log.run.id, 1)
        assert store.claim([log.run.id]) == []
        store.delivered(log.run.id)
        store.flush()
        assert (store.orphans(), store.claim([])) == ([], [])

    def test_of_many_ends_one_is_in_the_outbox(self, store: Store) -> None:
        for _ in range(5):
            log, _ = begin(store)
            won = at_once(partial(end_claimed, log))
            assert won.count(True) == 1
            assert [it.run for it in store.claim([])] == [log.run.id]
            store.delivered(log.run.id)

    # Finding a run again.

    def test_one_key_is_one_run(self, store: Store) -> None:
        first, new = store.create(run_of("chat", key="k"), ["a"])
        second, again = store.create(run_of("chat", key="k"), ["b"])
        assert (new, again) == (True, False)
        assert first.run.id == second.run.id
        assert list(second.read(-1).events) == ["a"]

    def test_a_run_is_dropped_once_its_end_is_delivered(self, store: Store) -> None:
        log, _ = store.create(run_of("chat", owner="ann", key="k", chat="talk"), ["a"])
        assert not store.drop(log.run.id)
        log.end(ev.Finished(), claim=True)
        assert not store.drop(log.run.id)
        assert [it.run for it in store.claim([])] == [log.run.id]
        store.delivered(log.run.id)
        assert store.drop(log.run.id)
        assert store.drop("unknown")
        assert (store.started("k"), store.latest("talk")) == (None, None)
        with pytest.raises(RunNotFound):
            store.open(log.run.id)

    def test_a_new_run_takes_the_key_of_an_earlier_one(self, store: Store) -> None:
        first, _ = store.create(run_of("chat", key="k"), ["a"])
        second, new = store.create(run_of("chat", key="k"), ["b"], conditions=TAKE_KEY)
        assert new
        found = store.started("k")
        assert found is not None
        assert found.run.id == second.run.id
        assert list(store.open(first.run.id).read(-1).events) == ["a"]
        third, new = store.create(run_of("chat", key="other"), ["c"], conditions=TAKE_KEY)
        assert (new, list(third.read(-1).events)) == (True, ["c"])

    def test_a_run_that_lost_its_key_to_another_does_not_exist(self, store: Store) -> None:
        store.create(run_of("chat", key="k"), [])
        loser = run_of("chat", key="k", chat="talk")
        store.create(loser, [])
        assert store.latest("talk") is None
        with pytest.raises(RunNotFound):
            store.open(loser.id)

    def test_the_runs_of_an_owner_are_limited(self, store: Store) -> None:
        def create(number: int) -> Log | None:
            try:
                run = run_of("chat", owner="ann", key=f"k{number}")
                return store.create(run, [], conditions=THREE)[0]
            except TooManyRuns:
                return None

        logs = [log for log in at_once(create) if log is not None]
        assert len(logs) == 3
        assert sum(store.started(f"k{number}") is not None for number in range(THREADS)) == 3
        assert store.create(run_of("chat", owner="bob"), [], conditions=ONE)[1]
        assert begin(store, owner="ann", namespace="other", owner_limit=1)[1]
        assert store.create(run_of("chat"), [], conditions=ONE)[1]
        same_key = run_of("chat", owner="ann", key=logs[0].run.key)
        again, new = store.create(same_key, [], conditions=THREE)
        assert (again.run.id, new) == (logs[0].run.id, False)
        logs[0].end(ev.Finished())
        assert store.create(run_of("chat", owner="ann"), [], conditions=THREE)[1]

    def test_no_key_is_no_key(self, store: Store) -> None:
        assert begin(store)[1]
        assert begin(store)[1]

    def test_one_of_many_concurrent_starts_gets_a_key(self, store: Store) -> None:
        for turn in range(50):
            key = f"k{turn}"
            made = at_once(lambda n, key=key: store.create(run_of("chat", key=key), [str(n)]))  # type: ignore[misc]
            assert [new for _, new in made].count(True) == 1
            assert len({log.run.id for log, _ in made}) == 1
            winner = next(n for n, (_, new) in enumerate(made) if new)
            assert [list(log.read(-1).events) for log, _ in made] == [[str(winner)]] * THREADS

    def test_the_run_that_has_a_key_is_found_by_it(self, store: Store) -> None:
        run = run_of("chat", key="k")
        assert store.started("k") is None
        store.create(run, [])
        found = store.started("k")
        assert found is not None
        assert found.run == run

    def test_the_latest_run_of_a_conversation_is_found(self, store: Store) -> None:
        assert store.latest("talk") is None
        runs = [run_of("chat", chat="talk") for _ in range(3)]
        for run in runs:
            store.create(run, [])
            assert store.latest("talk") == run.id
        assert store.latest("other") is None

    def test_a_conversation_that_was_left_has_no_latest_run(self, store: Store) -> None:
        older, newer = [begin(store, chat="talk")[0] for _ in range(2)]
        store.leave_chat("talk", older.run.id)
        assert store.latest("talk") == newer.run.id
        store.leave_chat("talk", newer.run.id)
        assert store.latest("talk") is None
        last, _ = begin(store, chat="talk")
        assert store.latest("talk") == last.run.id
        assert store.open(newer.run.id).run.id == newer.run.id

    def test_the_runs_of_a_conversation_are_listed_in_their_order(self, store: Store) -> None:
        assert list(store.chat_runs("talk")) == []
        logs = [begin(store, chat="talk")[0] for _ in range(3)]
        begin(store, chat="other")
        ids = [log.run.id for log in logs]
        assert list(store.chat_runs("talk")) == ids
        logs[1].end(ev.Finished())
        assert list(store.chat_runs("talk", live=True)) == [ids[0], ids[2]]
        for log in logs:
            store.leave_chat("talk", log.run.id)
        assert list(store.chat_runs("talk")) == ids

    def test_the_runs_of_all_owners_are_listed(self, store: Store) -> None:
        logs = [begin(store, owner=owner)[0] for owner in (None, "ann", "bob")]
        logs[0].end(ev.Finished())
        store.flush()
        assert sorted(store.all_runs()) == sorted(log.run.id for log in logs)

    def test_a_conversation_lists_the_newest_of_its_runs(self, store: Store) -> None:
        logs = [begin(store, chat="talk")[0] for _ in range(CHAT_RUNS + 2)]
        assert list(store.chat_runs("talk")) == [log.run.id for log in logs[2:]]

    def test_a_run_follows_the_newest_run_of_its_conversation_once_that_has_ended(
        self, store: Store
    ) -> None:
        with pytest.raises(ChatBusy):
            create_after(store, "unknown")
        assert store.latest("talk") is None
        first, _ = create_after(store, "")
        refused_after(store, "", first)
        refused_after(store, first.run.id, first)
        first.end(ev.Finished())
        refused_after(store, "", first)
        second, _ = create_after(store, first.run.id)
        refused_after(store, first.run.id, second)
        assert list(store.chat_runs("talk")) == [first.run.id, second.run.id]
        assert store.latest("talk") == second.run.id

    def test_a_refused_run_leaves_nothing(self, store: Store) -> None:
        live, _ = create_after(store, "")
        refused = run_of("chat", chat="talk", key="k", owner="ann")
        with pytest.raises(ChatBusy):
            store.create(refused, [], conditions=Conditions(owner_limit=5, previous=""))
        with pytest.raises(RunNotFound):
            store.open(refused.id)
        assert store.started("k") is None
        assert begin(store, owner="ann", owner_limit=1)[1]
        assert list(store.chat_runs("talk")) == [live.run.id]

    def test_of_runs_that_follow_the_same_run_at_once_one_is_created(self, store: Store) -> None:
        previous = ""
        for _ in range(5):
            after = previous

            def create(number: int, after: str = after) -> Log | None:
                try:
                    return create_after(store, after)[0]
                except ChatBusy:
                    return None

            (log,) = [log for log in at_once(create, THREADS) if log]
            log.end(ev.Finished())
            previous = log.run.id
        assert len(store.chat_runs("talk")) == 5

    def test_the_request_of_a_run_survives_its_end(self, store: Store) -> None:
        log, _ = begin(store, request='{"prompt": "Hi"}')
        log.end(ev.Finished())
        assert store.open(log.run.id).run.request == '{"prompt": "Hi"}'

    def test_an_end_is_undelivered_until_it_was_delivered(self, store: Store) -> None:
        log, _ = begin(store)
        assert not store.undelivered([log.run.id])
        log.end(ev.Finished(), claim=True)
        assert list(store.undelivered([log.run.id])) == [log.run.id]
        (row,) = store.claim([])
        assert list(store.undelivered([row.run])) == [log.run.id]
        store.delivered(log.run.id)
        store.flush()
        assert not store.undelivered([log.run.id])

    # Forgetting.

    def test_a_trimmed_log_has_a_gap(self, clock: ManualClock) -> None:
        log, _ = begin(self.make_store(clock, max_events=100))
        fill(log, 1000)
        page = log.read(-1)
        assert page.first > 0
        assert page.last == 1000
        assert list(page.events) == [str(n) for n in range(page.first - 1, 1000)]
        assert 50 < len(page.events) <= 100

    def test_a_trimmed_log_is_whole_after_a_cursor_that_is_still_in_it(
        self, clock: ManualClock
    ) -> None:
        log, _ = begin(self.make_store(clock, max_events=100))
        for number in range(1, 501):
            log.append("x")
            assert log.read(number - 1) == Page(number, ["x"], False)

    def test_a_log_is_trimmed_by_its_bytes_too(self, clock: ManualClock) -> None:
        log, _ = begin(self.make_store(clock, log_bytes=10_000))
        texts = [f"{number:<100}" for number in range(1000)]
        for text in texts:
            log.append(text)
        page = log.read(-1)
        assert page.last == 1000
        assert list(page.events) == texts[page.first - 1 :]
        assert 40 < len(page.events) < 130

    def test_few_large_events_are_as_much_as_many_small_ones(self, clock: ManualClock) -> None:
        log, _ = begin(self.make_store(clock, log_bytes=1_000_000))
        for number in range(30):
            log.append(ev.File("data:" + str(number) * 200_000, "image/png"))
            log.read(number)
        page = log.read(-1)
        assert page.last == 30
        assert 1 < len(page.events) < 6

    @pytest.mark.parametrize(
        "bounds", [*({"max_events": n} for n in (1, 2, 3, 5)), {"log_bytes": 1}], ids=str
    )
    def test_the_smallest_bounds_keep_the_last_records_and_the_end(
        self, clock: ManualClock, bounds: dict[str, int]
    ) -> None:
        log, _ = begin(self.make_store(clock, **bounds))
        fill(log, 20)
        assert log.read(-1).last == 20
        log.end(ev.Finished())
        page = log.read(-1)
        assert page.ended
        assert page.events[-1] == ev.Finished()
        assert page.last == 21

    def test_a_cursor_beyond_a_trimmed_log_is_refused(self, clock: ManualClock) -> None:
        log, _ = begin(self.make_store(clock, max_events=10))
        fill(log, 100)
        assert log.read(100).first == 101
        with pytest.raises(CursorInvalid):
            log.read(101)

    def test_a_finished_run_is_kept_so_long_and_no_longer(self, clock: ManualClock) -> None:
        store = self.make_store(clock, retain=600)
        log, _ = begin(store, key="k", chat="talk")
        log.end(ev.Finished())
        sweep(store, clock, 595)
        assert store.open(log.run.id).ended
        sweep(store, clock, 15)
        with pytest.raises(RunNotFound):
            store.open(log.run.id)
        assert store.started("k") is None
        assert store.latest("talk") is None
        assert list(store.chat_runs("talk")) == []
        assert create_after(store, "")[1]

    def test_time_may_begin_at_zero(self) -> None:
        clock = ManualClock(0.0)
        store = self.make_store(clock, retain=600)
        log, _ = begin(store)
        log.end(ev.Finished())
        store.sweep()
        sweep(store, clock, 605)
        with pytest.raises(RunNotFound):
            store.open(log.run.id)

    def test_a_running_run_is_never_forgotten(self, clock: ManualClock) -> None:
        store = self.make_store(clock, retain=600, max_runs=1)
        logs = [begin(store)[0] for _ in range(5)]
        sweep(store, clock, 6000)
        assert all(store.open(log.run.id) for log in logs)

    def test_the_oldest_finished_runs_make_room(self, clock: ManualClock) -> None:
        store = self.make_store(clock, max_runs=2)
        logs = [begin(store)[0] for _ in range(5)]
        for log in reversed(logs):  # The last one begun is the first one ended.
            log.end(ev.Finished())
            sweep(store, clock, 5)
        kept = [log for log in logs if is_there(store, log)]
        assert kept == logs[:2]

    def test_the_oldest_finished_runs_make_room_for_bytes(self, clock: ManualClock) -> None:
        store = self.make_store(clock, store_bytes=2 * MEGABYTE)
        logs = [begin(store)[0] for _ in range(12)]
        for log in logs:
            say(log, 0.4)
            log.end(ev.Finished())
            sweep(store, clock, 5)
        kept = [log for log in logs if is_there(store, log)]
        assert kept == logs[-len(kept) :]
        assert 2 <= len(kept) <= 5

    def test_what_still_runs_is_kept_and_leaves_no_room_for_more(self, clock: ManualClock) -> None:
        store = self.make_store(clock, store_bytes=2 * MEGABYTE)
        finished, living = begin(store)[0], begin(store)[0]
        finished.end(ev.Finished())
        say(living, 3)
        sweep(store, clock, 5)
        assert (is_there(store, finished), is_there(store, living)) == (False, True)
        assert living.read(-1).first == 0
        with pytest.raises(StoreFull):
            begin(store)
        living.end(ev.Finished())
        sweep(store, clock, 5)
        assert begin(store)[1]

    def test_a_forgotten_run_leaves_the_newer_one_of_its_conversation(
        self, clock: ManualClock
    ) -> None:
        store = self.make_store(clock, retain=600)
        begin(store, chat="talk")[0].end(ev.Finished())
        newer, _ = begin(store, chat="talk")
        sweep(store, clock, 5)
        sweep(store, clock, 600)
        assert store.latest("talk") == newer.run.id
        assert list(store.chat_runs("talk")) == [newer.run.id]

    def test_the_key_of_a_forgotten_run_starts_another(self, clock: ManualClock) -> None:
        store = self.make_store(clock, retain=600)
        old, _ = begin(store, key="k")
        old.end(ev.Finished())
        sweep(store, clock, 5)
        sweep(store, clock, 600)
        log, new = begin(store, key="k")
        assert new
        assert log.run.id != old.run.id

    def test_a_reader_of_a_run_that_is_dropped_reads_to_its_end(self, clock: ManualClock) -> None:
        store = self.make_store(clock, max_runs=1)
        log, _ = begin(store)
        fill(log, 10)
        log.end(ev.Finished())
        begin(store)[0].end(ev.Finished())
        sweep(store, clock, 5)
        assert not is_there(store, log)
        assert log.read(0).ended


class Wakes:
    """A wake-up that counts its calls, and can be waited for: a store may call from elsewhere."""

    def __init__(self) -> None:
        self.count = 0
        self._called = threading.Condition()

    def __call__(self) -> None:
        with self._called:
            self.count += 1
            self._called.notify_all()

    def wait(self, count: int) -> None:
        with self._called:
            assert self._called.wait_for(lambda: self.count >= count, DEADLINE)


def run_of(provider: str, **fields: t.Any) -> Run:
    return Run(new_run_id(), provider, 0.0, **fields)


def begin(store: Store, owner_limit: int | None = None, **fields: t.Any) -> tuple[Log, bool]:
    run, conditions = run_of("chat", **fields), Conditions(owner_limit)
    return store.create(run, [ev.RunStarted(run.id, "chat")], conditions=conditions)


def create_after(store: Store, previous: str) -> tuple[Log, bool]:
    run, conditions = run_of("chat", chat="talk"), Conditions(previous=previous)
    return store.create(run, [ev.RunStarted(run.id, "chat")], conditions=conditions)


def refused_after(store: Store, previous: str, newest: Log) -> None:
    with pytest.raises(ChatBusy) as caught:
        create_after(store, previous)
    assert caught.value.run == newest.run.id


def queue(store: Store, **fields: t.Any) -> Run:
    """A run that waits for its owner."""
    run = run_of("chat", **fields)
    store.create(run, [], owned=False)
    return run


def fill(log: Log, count: int) -> None:
    for number in range(count):
        log.append(str(number))


def say(log: Log, megabytes: float) -> None:
    for _ in range(int(megabytes * 1000)):
        log.append("x" * 1024)


def pages_of(log: Log) -> t.Iterator[Page]:
    page = log.read(-1)
    while page.events:
        yield page
        page = log.read(page.last)


def texts(log: Log) -> list[str]:
    return [event for page in pages_of(log) for event in page.events if isinstance(event, str)]


def follow(log: Log) -> list[ev.Event]:
    """Read to the end, waiting for what is not there yet."""
    seen: list[ev.Event] = []
    while True:
        page = log.read(len(seen) - 1)
        assert page.first == len(seen)
        seen += page.events
        if page.ended:
            return seen
        woken = threading.Event()
        log.notify(len(seen) - 1, woken.set)
        assert woken.wait(DEADLINE), f"not woken after record {len(seen) - 1}"


def sweep(store: Store, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    store.sweep()


def is_there(store: Store, log: Log) -> bool:
    try:
        store.open(log.run.id)
    except RunNotFound:
        return False
    return True


def end_claimed(log: Log, by: int) -> bool:
    return log.end(ev.Stopped(str(by)), claim=True)


T = t.TypeVar("T")


def at_once(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """What ``work(number)`` returned in each of many threads that began together."""
    results: dict[int, T] = {}
    together = threading.Barrier(threads)

    def run(number: int) -> None:
        together.wait(DEADLINE)
        results[number] = work(number)

    workers = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE)
    assert len(results) == threads, "a thread failed or hangs"
    return [results[number] for number in range(threads)]
