"""A program that is stopped (SIGSTOP) in the middle of its questions holds up nobody, and goes on where it was."""

import signal
import time

import fault_base
import faults


class StoppedProgramTest(fault_base.FaultTest):
    deadline = 4.0
    readers_count = 2

    def ask_slowly(self):
        self.proxy.add(faults.late(0.3 * self.slow), kind="read")
        names = [name for name in self.names if self.data.sizes[name]]
        self.readers.start(names, how="read", threads=4)
        time.sleep(0.15 * self.slow)

    def wait_until_nothing_is_in_flight(self):
        until = time.monotonic() + 20 * self.slow
        while True:
            now = self.job.stat()
            if now["requests_in_flight"] == now["inflight"] == 0:
                return
            self.assertLess(time.monotonic(), until, now)
            time.sleep(0.02)

    def test_others_go_on_and_its_answers_wait_for_it(self):
        self.ask_slowly()
        self.readers.signal(0, signal.SIGSTOP)
        self.assert_whole(self.readers.finish_one(1))
        self.proxy.clear()
        self.wait_until_nothing_is_in_flight()
        time.sleep(1.0)                  # longer than any look at the socket
        self.readers.signal(0, signal.SIGCONT)
        self.assert_whole(self.readers.finish_one(0))
        self.assert_recovers()

    def test_its_sidecar_is_another_one_when_it_goes_on(self):
        self.ask_slowly()
        self.readers.signal(0, signal.SIGSTOP)
        self.job.kill_sidecar()
        self.job.start()
        self.assert_whole(self.readers.finish_one(1))
        self.proxy.clear()
        self.readers.signal(0, signal.SIGCONT)
        self.assert_whole(self.readers.finish_one(0))
        self.take_baseline()
        self.assert_recovers()

    def test_killed_while_it_is_stopped_it_leaves_nothing(self):
        self.ask_slowly()
        self.readers.signal(0, signal.SIGSTOP)
        self.readers.signal(0, signal.SIGKILL)
        self.assert_whole(self.readers.finish_one(1))
        self.proxy.clear()
        self.wait_until_nothing_is_in_flight()
        self.assertEqual(self.job.stat()["sessions"], 1)
        self.assertEqual(self.job.stat()["tickets"], 0)


if __name__ == "__main__":
    fault_base.main()
