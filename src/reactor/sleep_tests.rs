//! What wakes a reactor that has nothing to do, and what does not: datagrams, deadlines, wakers,
//! and tasks beside the data plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tests::{ask, backends, client, mine, settings, start_with};
use super::*;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::{Datagram, Handled, ShardId};
use crate::time::{Instant, Now};

#[test]
fn an_idle_reactor_sleeps() {
    for backend in backends() {
        for deadline_after in [None, Some(Duration::from_secs(3600))] {
            let listen = settings(backend, &["127.0.0.1:0"]);
            let running = start_with(listen, 1, mine, deadline_after).unwrap();
            let to = running.bound()[0].address;
            let socket = client("127.0.0.1");
            for _ in 0..50 {
                ask(&socket, to, b"anybody?");
            }
            running.stop();
            let counters = running.join()[0].counters;
            assert!(counters.sleeps > 0);
            // A turn for each datagram, one more where a look round follows it, and a few at
            // start and stop. A loop that spins makes millions.
            assert!(counters.turns <= 50 * 4 + 16, "{counters:?}");
        }
    }
}

#[test]
fn a_deadline_wakes_a_sleeping_reactor_again_and_again() {
    for backend in backends() {
        let listen = settings(backend, &["127.0.0.1:0"]);
        let running = start_with(listen, 1, mine, Some(Duration::from_millis(1))).unwrap();
        while running.counters()[0].sleeps < 5 {
            std::thread::yield_now();
        }
        running.stop();
        let counters = running.join()[0].counters;
        assert!(counters.turns >= 5 && counters.turns <= 2 * counters.sleeps + 16, "{counters:?}");
    }
}

#[test]
fn a_waker_brings_the_plane_to_its_turn() {
    struct Inbox(Arc<AtomicU64>);
    impl Plane for Inbox {
        type Final = ();
        type Control = ();
        type Reply = ();
        fn receive(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
            Handled::Nothing
        }
        fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
            Handled::Nothing
        }
        fn turn(&mut self, _: Now) -> Option<Instant> {
            // A request, answered.
            let _ = self.0.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Acquire);
            None
        }
        fn control(&mut self, _: Now, (): ()) {}
        fn finish(self, _: Now) {}
    }
    for backend in backends() {
        let cell = Arc::new(AtomicU64::new(0));
        let inbox = Arc::clone(&cell);
        let running = Reactors::start(
            settings(backend, &["127.0.0.1:0"]),
            mesh(1, default_slots(1)),
            vec![move |_| Inbox(inbox)],
        )
        .unwrap();
        cell.store(1, Ordering::Release);
        running.waker(ShardId(0)).wake();
        while cell.load(Ordering::Acquire) != 2 {
            std::thread::yield_now();
        }
        running.stop();
        assert!(running.join()[0].counters.wakes_received >= 1);
    }
}

/// A stream task as later stages will have them: tells its port, accepts one connection and
/// reports once `hello` has come in.
async fn hear_hello(port: Arc<AtomicU64>, heard: Arc<AtomicU64>) {
    let listener = glommio::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bound = listener.local_addr().unwrap().port();
    port.store(u64::from(bound), Ordering::Release);
    let stream = listener.accept().await.unwrap();
    let mut bytes = [0; 5];
    while stream.peek(&mut bytes).await.unwrap() < bytes.len() {}
    assert_eq!(&bytes, b"hello");
    heard.store(1, Ordering::Release);
}

/// Ticks for ever, by the runtime's own timers.
async fn tick(ticks: Arc<AtomicU64>) {
    loop {
        glommio::timer::sleep(Duration::from_millis(2)).await;
        ticks.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn tasks_beside_the_data_plane_progress_when_idle_and_under_load() {
    let zero = || Arc::new(AtomicU64::new(0));
    for backend in backends() {
        let (ticks, port, heard, stop) = (zero(), zero(), zero(), zero());
        let shared = (Arc::clone(&ticks), Arc::clone(&port), Arc::clone(&heard));
        let tasks: TaskSpawner = Arc::new(move |_| {
            let (ticks, port, heard) = shared.clone();
            glommio::spawn_local(tick(ticks)).detach();
            glommio::spawn_local(hear_hello(port, heard)).detach();
        });
        let listen = settings(backend, &["127.0.0.1:0"]);
        let settings = Settings { tasks: Some(tasks), ..listen };
        let running = start_with(settings, 1, mine, None).unwrap();
        let to = running.bound()[0].address;
        // Idle: only the tasks' own timers and readiness can wake the reactor.
        while ticks.load(Ordering::Relaxed) < 5 {
            std::thread::yield_now();
        }
        let stream_port = u16::try_from(port.load(Ordering::Acquire)).unwrap();
        assert_ne!(stream_port, 0);
        // Under load: a stream speaks during a flood of datagrams.
        let flood = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let socket = client("127.0.0.1");
                while stop.load(Ordering::Relaxed) == 0 {
                    let _ = socket.send_to(b"flood", to);
                }
            })
        };
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", stream_port)).unwrap();
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
        while heard.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        stop.store(1, Ordering::Relaxed);
        flood.join().unwrap();
        running.stop();
        assert!(running.join()[0].counters.task_turns > 0);
    }
}
