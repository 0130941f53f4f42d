//! The loop of one reactor: receive a batch, let the plane answer it, send, hand over, take what
//! others handed over, turn the timers; when dry, sleep.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;

use super::clock::Clock;
use super::control::Orders;
use super::counters::{Counters, SharedCounters};
use super::datagram::{DatagramPath, Outbox};
use super::executor::Turner;
use super::hearsay::Hearsay;
use super::idle::{Idle, Readiness};
use super::laps::Laps;
use super::plane::Plane;
use super::send::Sender;
use super::service_times::SharedServiceTimes;
use super::steering::Notes;
use super::stream::{self, Streams};
use super::wake::Waker;
use super::work::Work;
use crate::flow::Flow;
use crate::guard::To;
use crate::limits::{BATCH_MAX, ORDERS_PER_TURN_MAX, RING_BATCHES_PER_TURN_MAX};
use crate::shard::mesh::{Endpoint, Notice, Outbound, Parcels};
use crate::shard::stages::Stage;
use crate::shard::{Datagram, Handled, ListenerId, Order, Outlet, ShardId};
use crate::time::{Instant, Now};

/// Under load, the loop looks at everything but its busy sockets once in so many turns.
const LOOK_EVERY_TURNS: u64 = 16;
/// A batch of at least so many datagrams means that more have likely come since: try again before
/// looking whether there are.
const HOT_BATCH_MIN: usize = 4;
/// How often the kernel is asked for its drops.
const KERNEL_DROPS_EVERY: Duration = Duration::from_secs(1);

/// What the reactors of a process share: nothing that a datagram touches.
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    /// Reactors that, after a stop, have taken all their sockets had: nothing more will be handed
    /// over by them.
    pub(super) dry: AtomicUsize,
    pub(super) wakers: Vec<Waker>,
    pub(super) counters: Vec<SharedCounters>,
    pub(super) service_times: Vec<Arc<SharedServiceTimes>>,
    pub(super) drain_max: Duration,
}

impl Shared {
    pub(super) fn wake_all(&self) {
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

/// One reactor at work.
pub(super) struct DataPlane<P: Plane, D> {
    pub(super) shard: ShardId,
    pub(super) plane: P,
    pub(super) path: D,
    pub(super) outbox: Outbox,
    pub(super) sender: Sender,
    pub(super) hearsay: Hearsay,
    pub(super) endpoint: Endpoint,
    /// What the kernel is taught, where it is.
    pub(super) notes: Option<Notes>,
    /// Connections, where anything listens for them.
    pub(super) streams: Option<Streams>,
    pub(super) orders: Orders<P>,
    pub(super) idle: Idle,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    pub(super) laps: Laps,
    pub(super) shared: Arc<Shared>,
    /// Sources to try before asking which are ready, a bit each.
    pub(super) hot: u32,
    pub(super) kernel_drops_due: Instant,
    pub(super) work: Work,
}

/// What becomes of datagrams from the network: answers are queued, what others own is handed over.
struct Out<'a> {
    shard: ShardId,
    outbox: &'a mut Outbox,
    endpoint: &'a mut Endpoint,
    counters: &'a mut Counters,
    heard: &'a mut ArrayVec<SocketAddr, BATCH_MAX>,
}

impl Outlet for Out<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.outbox.slot()
    }

    fn handled(&mut self, datagram: &Datagram<'_>, handled: Handled) {
        match handled {
            Handled::Reply { to, len } => self.outbox.queue(datagram, to, len),
            Handled::Handoff(owner) => {
                assert!(owner != self.shard, "a shard hands nothing to itself");
                match self.endpoint.push(owner, datagram) {
                    Ok(()) => self.counters.handoffs_out += 1,
                    // Shed the new, keep the old: the phone sends it again.
                    Err(_) => self.counters.handoffs_shed += 1,
                }
            }
            Handled::Nothing => {}
        }
    }

    fn heard(&mut self, datagram: &Datagram<'_>) {
        // One for each datagram of a batch at most.
        let _ = self.heard.try_push(datagram.source);
    }
}

/// What becomes of messages that were handed over: answers are queued, or go to the reactor that
/// has their connection (RFC 3261 18.2.2).
struct Answers<'a> {
    now: Now,
    notes: Option<&'a mut Notes>,
    outbox: &'a mut Outbox,
    outbound: &'a mut Outbound,
    counters: &'a mut Counters,
}

impl Outlet for Answers<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.outbox.slot()
    }

    fn handled(&mut self, datagram: &Datagram<'_>, handled: Handled) {
        match handled {
            Handled::Reply { to, len } => match datagram.link {
                None => self.outbox.queue(datagram, to, len),
                Some(link) => {
                    if self.outbound.push_send(link.id, self.outbox.written(len)).is_err() {
                        self.counters.deliveries_shed += 1;
                    }
                }
            },
            Handled::Handoff(_) => {
                unreachable!("a datagram that was handed over is answered or dropped")
            }
            Handled::Nothing => {}
        }
    }

    fn registered(&mut self, datagram: &Datagram<'_>) {
        if let Some(notes) = &mut self.notes {
            notes.note(self.now.mono, datagram.source, self.counters);
        }
    }
}

/// What one turn left to be done.
struct Turned {
    now: Now,
    /// The rings, or the orders, may hold more than this turn took.
    more: bool,
    deadline: Option<Instant>,
}

impl<P: Plane, D: DatagramPath> DataPlane<P, D> {
    /// Serves until the process stops, then drains what has arrived. Returns the plane's last
    /// word and the final counters, and the path, whose ring is not closed while others are made.
    pub(super) async fn run(mut self, turner: Option<&Turner>) -> (Counters, P::Final, D) {
        let mut since_look = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let turned = self.turn();
            since_look += 1;
            let due = turned.deadline.is_some_and(|deadline| deadline <= turned.now.mono);
            let streams_due =
                self.streams.as_ref().is_some_and(|streams| streams.is_due(turned.now.mono));
            let dry = self.hot == 0 && !turned.more && !due && !streams_due;
            // Either look or sleep, never both: a wake that a look takes is for what the next
            // turn finds, be it a stop or a message to the plane.
            let readiness = if since_look >= LOOK_EVERY_TURNS {
                Some(self.look(turned.now))
            } else if dry {
                self.sleep(&turned)
            } else {
                None
            };
            // A sleep that came to nothing has not looked: a steady trickle of handoffs must not
            // keep the sockets from being seen.
            let Readiness { tasks, streams, .. } = readiness.unwrap_or_default();
            if readiness.is_some() {
                since_look = 0;
            }
            if streams || streams_due {
                self.turn_streams();
            }
            if let Some(turner) = turner
                && tasks
            {
                self.counters.task_turns += 1;
                self.work.woke(self.clock.now().mono);
                turner.turn().await;
            }
        }
        self.drain();
        let now = self.clock.now();
        self.close_streams(now);
        self.counters.kernel_drops = self.path.kernel_drops();
        self.shared.counters[usize::from(self.shard.0)].publish(&self.counters);
        (self.counters, self.plane.finish(now), self.path)
    }

    /// One turn of the loop.
    fn turn(&mut self) -> Turned {
        self.counters.turns += 1;
        let mut hot = self.hot;
        let (mut woken_at, mut received_at) = (None, None);
        while hot != 0 {
            let source = hot.trailing_zeros();
            hot &= hot - 1;
            let (taken, now) = self.receive(source as usize);
            if taken < HOT_BATCH_MIN {
                self.hot &= !(1 << source);
            }
            woken_at = woken_at.or(now);
            received_at = now.or(received_at);
        }
        self.publish();
        // The clock of the last batch is young enough.
        let now = received_at.unwrap_or_else(|| self.clock.now());
        self.work.woke(woken_at.unwrap_or(now).mono);
        self.hearsay.note_errors(self.path.take_errors() | self.sender.take_errors());
        if self.hearsay.has_errors() {
            let DataPlane { plane, hearsay, endpoint, counters, .. } = self;
            hearsay.take_errors(now, plane, endpoint, counters);
        }
        let more = self.drain_rings(now) | self.orders.carry_out(&mut self.plane, now);
        let deadline = self.plane.turn(now);
        let more = self.obey(now) || more;
        self.publish();
        let streams = self.streams.as_ref().and_then(Streams::next_deadline);
        Turned { now, more, deadline: deadline.into_iter().chain(streams).min() }
    }

    /// Gives the connections their turn.
    fn turn_streams(&mut self) {
        let now = self.clock.now();
        self.work.woke(now.mono);
        let DataPlane { plane, endpoint, counters, laps, streams, .. } = self;
        let Some(streams) = streams else { return };
        counters.stream_turns += 1;
        let outbound = endpoint.outbound();
        streams.turn(&mut stream::Turn { now, plane, outbound, counters, laps });
        self.obey(now);
        self.publish();
    }

    /// Does what the plane asks for beside its replies, within a bound. Returns whether there may
    /// be more.
    fn obey(&mut self, now: Now) -> bool {
        let DataPlane { shard, plane, outbox, sender, endpoint, counters, laps, streams, .. } =
            self;
        let reactors = self.shared.wakers.len() as u8;
        let mut left = ORDERS_PER_TURN_MAX;
        while left > 0 {
            let Some(order) = plane.poll_order(outbox.slot()) else { break };
            left -= 1;
            let (id, notice) = match order {
                Order::Send { to, flow: Flow::Datagram { listener, local_ip }, len } => {
                    outbox.queue_request(to, ListenerId(listener), local_ip, len);
                    if outbox.is_full() {
                        sender.flush(outbox, counters);
                    }
                    continue;
                }
                Order::Send { flow: Flow::Connection { id, .. }, len, .. } => {
                    let message = outbox.written(len);
                    let outbound = endpoint.outbound();
                    if id.reactor != shard.0 {
                        if outbound.push_send(id, message).is_err() {
                            counters.deliveries_shed += 1;
                        }
                    } else if let Some(streams) = streams {
                        let turn = &mut stream::Turn { now, plane, outbound, counters, laps };
                        streams.deliver(id, message, turn);
                    }
                    continue;
                }
                Order::Tell(to, told) => {
                    let all = 0..reactors;
                    let targets = all.filter(|&target| match to {
                        To::Others => target != shard.0,
                        To::Shard(one) => target == one && target != shard.0,
                    });
                    for target in targets {
                        let notice = Notice::Guard(told);
                        if endpoint.outbound().push_notice(ShardId(target), notice).is_err() {
                            counters.told_shed += 1;
                        }
                    }
                    continue;
                }
                Order::Authenticated(id) => (id, Notice::Authenticated(id)),
                Order::Hold(id) => (id, Notice::Hold(id)),
                Order::Shut(id) => (id, Notice::Shut(id)),
                Order::Release { id, close_if_unused } => {
                    (id, Notice::Release { id, close_if_unused })
                }
                Order::Ping(id) => (id, Notice::Ping(id)),
                Order::Expect { id, silence_max_s } => (id, Notice::Expect { id, silence_max_s }),
            };
            // Every reactor listens as the others do, so where there are connections, each has
            // its own.
            if let Some(streams) = streams {
                let outbound = endpoint.outbound();
                let turn = &mut stream::Turn { now, plane, outbound, counters, laps };
                streams.pass_on(id, notice, turn);
            }
        }
        sender.flush(outbox, counters);
        left == 0
    }

    /// Takes a batch from a source, answers it and hands over what others own. Returns how many
    /// datagrams it took, and when.
    fn receive(&mut self, source: usize) -> (usize, Option<Now>) {
        let mut received_at = None;
        let mut heard = ArrayVec::new();
        let mut messages = 0;
        let DataPlane {
            shard, plane, path, outbox, sender, endpoint, clock, counters, laps, ..
        } = self;
        laps.begin();
        let taken = path.receive(source, clock, counters, &mut |now, datagrams, counters| {
            received_at = Some(now);
            messages = datagrams.len();
            laps.lap(Stage::Receive);
            plane.receive_batch(
                now,
                datagrams,
                laps.watch(),
                &mut Out { shard: *shard, outbox, endpoint, counters, heard: &mut heard },
            );
        });
        laps.lap(Stage::Receive);
        sender.flush(outbox, counters);
        laps.finish(messages);
        if let Some(waited) = path.take_waited() {
            counters.waits_measured += 1;
            counters.waited_us += waited.as_micros() as u64;
            plane.waited(received_at.unwrap_or_else(|| clock.now()), waited);
        }
        if let Some(now) = received_at {
            let DataPlane { plane, hearsay, endpoint, counters, .. } = self;
            heard.iter().for_each(|&from| hearsay.heard(now, from, plane, endpoint, counters));
        }
        (taken, received_at)
    }

    /// Makes this turn's handoffs visible and wakes who sleeps.
    fn publish(&mut self) {
        let DataPlane { endpoint, counters, shared, .. } = self;
        endpoint.publish(|target| {
            counters.wakes_sent += 1;
            shared.wakers[usize::from(target.0)].wake();
        });
    }

    /// Takes what other shards handed over, within a bound. Returns whether there may be more.
    fn drain_rings(&mut self, now: Now) -> bool {
        let DataPlane { plane, outbox, sender, endpoint, notes, counters, laps, streams, .. } =
            self;
        for _ in 0..RING_BATCHES_PER_TURN_MAX {
            let mut messages = 0;
            laps.begin();
            let taken = endpoint.drain_parcels(BATCH_MAX, |outbound, parcels| {
                laps.lap(Stage::Receive);
                match parcels {
                    Parcels::Messages(batch) => {
                        laps.taken_over(batch);
                        messages += batch.len();
                        counters.handoffs_in += batch.len() as u64;
                        let notes = notes.as_mut();
                        let answers = &mut Answers { now, notes, outbox, outbound, counters };
                        plane.receive_handoff_batch(now, batch, laps.watch(), answers);
                        return;
                    }
                    Parcels::Send { connection, bytes } => {
                        if let Some(streams) = streams {
                            let turn = &mut stream::Turn { now, plane, outbound, counters, laps };
                            streams.deliver(connection, bytes, turn);
                        }
                    }
                    Parcels::Notice { notice: Notice::Unreachable { to }, .. } => {
                        plane.unreachable(now, to);
                    }
                    Parcels::Notice { notice: Notice::Heard { source }, .. } => {
                        plane.heard(now, source);
                    }
                    Parcels::Notice { notice: Notice::Guard(told), .. } => plane.told(now, told),
                    Parcels::Notice { from, notice } => {
                        if let Some(streams) = streams {
                            let turn = &mut stream::Turn { now, plane, outbound, counters, laps };
                            streams.notified(from, notice, turn);
                        }
                    }
                }
                laps.leave_out();
            });
            sender.flush(outbox, counters);
            laps.finish(messages);
            if taken < BATCH_MAX {
                return false;
            }
        }
        true
    }

    /// Closes all connections. Nobody else hears of it: the whole process stops.
    fn close_streams(&mut self, now: Now) {
        let DataPlane { plane, endpoint, counters, laps, streams, .. } = self;
        if let Some(streams) = streams {
            let outbound = endpoint.outbound();
            streams.close_all(&mut stream::Turn { now, plane, outbound, counters, laps });
        }
    }

    /// Looks at everything without waiting.
    fn look(&mut self, now: Now) -> Readiness {
        self.publish_counters(now);
        let readiness = self.idle.look();
        self.take(readiness)
    }

    /// Sleeps until something happens; not at all, and `None`, if something has been handed over.
    fn sleep(&mut self, turned: &Turned) -> Option<Readiness> {
        if !self.endpoint.prepare_sleep() {
            return None;
        }
        self.counters.sleeps += 1;
        self.publish_counters(turned.now);
        // The turn took its time, which the timer must not add to the deadline.
        let before = self.clock.now().mono;
        let readiness = self.idle.sleep(before, turned.deadline);
        self.work.slept(before);
        self.endpoint.awake();
        Some(self.take(readiness))
    }

    fn take(&mut self, readiness: Readiness) -> Readiness {
        self.hot |= readiness.sources;
        self.hearsay.note_errors(readiness.errors);
        if readiness.woken {
            self.take_wake();
        }
        readiness
    }

    fn take_wake(&mut self) {
        if self.shared.wakers[usize::from(self.shard.0)].clear() {
            self.counters.wakes_received += 1;
        }
    }

    fn publish_counters(&mut self, now: Now) {
        if let Some((busy, passed)) = self.work.take(now.mono) {
            self.plane.worked(busy, passed);
            self.counters.busy_us += busy.as_micros() as u64;
        }
        if now.mono >= self.kernel_drops_due {
            self.kernel_drops_due = now.mono + KERNEL_DROPS_EVERY;
            self.counters.kernel_drops = self.path.kernel_drops();
        }
        self.shared.counters[usize::from(self.shard.0)].publish(&self.counters);
    }

    /// After a stop: answers what is in the sockets, then what is in the rings, until every
    /// reactor has done the first and this one the second, or the time is up.
    fn drain(&mut self) {
        let all = self.path.sources();
        let give_up = self.clock.now().mono + self.shared.drain_max;
        while self.clock.now().mono < give_up {
            let taken: usize = (0..all).map(|source| self.receive(source).0).sum();
            self.turn_streams();
            self.publish();
            self.drain_rings(self.clock.now());
            self.publish();
            if taken == 0 {
                break;
            }
        }
        self.shared.dry.fetch_add(1, Ordering::AcqRel);
        self.shared.wake_all();
        // The others may need all their time before the last of them hands its last over.
        let give_up = give_up + self.shared.drain_max;
        loop {
            let all_dry = self.shared.dry.load(Ordering::Acquire) == self.shared.wakers.len();
            let now = self.clock.now();
            let more = self.drain_rings(now);
            self.obey(now);
            self.publish();
            if (all_dry && !more && self.endpoint.is_empty()) || now.mono >= give_up {
                return;
            }
            if !all_dry && !more && self.endpoint.prepare_sleep() {
                // Sockets that fill up again end the sleep early; they are nobody's any more.
                self.idle.sleep(now.mono, Some(give_up));
                self.endpoint.awake();
                self.take_wake();
            }
        }
    }
}
