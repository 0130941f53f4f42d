//! What a reactor drives: the shard, seen through the few things a reactor does with it. A seam,
//! so that tests and benches drive the reactors without a registrar.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::flow::ConnectionId;
use crate::guard::Told;
use crate::shard::control::{Control, Reply};
use crate::shard::counters::Counters;
use crate::shard::stages::Watch;
use crate::shard::{Datagram, Handled, Order, Outlet, Shard};
use crate::time::{Instant, Now};

/// One shard's answer to datagrams and time. Made, used and finished on its reactor's thread, so
/// it need not be `Send`.
pub trait Plane: 'static {
    /// What is left of it when the process stops.
    type Final: Send + 'static;

    /// An order from outside: other settings, other accounts, a question of an operator.
    type Control: Send + 'static;

    /// What became of an order.
    type Reply: Send + 'static;

    /// A datagram from the network. A reply is written to `out`, which has room for
    /// [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX) bytes.
    fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled;

    /// A datagram another shard received and this one owns; never answers
    /// [`Handled::Handoff`]. It may have been received a little after `now`, by another core's
    /// reading of the clock.
    fn receive_handoff(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled;

    /// Datagrams from the network that came together, answered in order, timed by `watch`.
    fn receive_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        let _ = watch;
        for datagram in datagrams {
            let handled = self.receive(now, datagram, outlet.room());
            outlet.handled(datagram, handled);
        }
    }

    /// Datagrams that another shard received together and this one owns, answered in order, timed
    /// by `watch`.
    fn receive_handoff_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        let _ = watch;
        for datagram in datagrams {
            let handled = self.receive_handoff(now, datagram, outlet.room());
            outlet.handled(datagram, handled);
        }
    }

    /// Timers; returns the next deadline, if any. Called once per turn of the loop. A deadline
    /// that is not after `now` means that more is due than one turn may do: the reactor comes back
    /// after the next batch and does not sleep.
    fn turn(&mut self, now: Now) -> Option<Instant>;

    /// A connection that this shard holds, or was about to, is gone.
    fn connection_closed(&mut self, now: Now, id: ConnectionId) {
        let _ = (now, id);
    }

    /// ICMP has reported that a datagram sent to `to`, by this reactor or another, did not arrive.
    /// Anybody can forge that: it is a hint, never a verdict.
    fn unreachable(&mut self, now: Now, to: SocketAddr) {
        let _ = (now, to);
    }

    /// A keepalive that is no SIP has come as a datagram from `source`, here or at another reactor.
    /// A source is told of once in some seconds, however often it sends.
    fn heard(&mut self, now: Now, source: SocketAddr) {
        let _ = (now, source);
    }

    /// The guard of another shard tells something.
    fn told(&mut self, now: Now, told: Told) {
        let _ = (now, told);
    }

    /// What the sockets of this reactor brought last had waited so long for it. Told about once a
    /// millisecond while a socket has had more than a batch for some time, and never where none
    /// has.
    fn waited(&mut self, now: Now, waited: Duration) {
        let _ = (now, waited);
    }

    /// The reactor has worked for so much of the time that has passed, and slept the rest. Told
    /// some fifty times a second while there is anything to do.
    fn worked(&mut self, busy: Duration, passed: Duration) {
        let _ = (busy, passed);
    }

    /// Whether connections of `source` are not accepted.
    fn is_blocked(&self, now: Now, source: IpAddr) -> bool {
        let _ = (now, source);
        false
    }

    /// A connection of `source` has come to nothing: its handshake failed, or what came over it was
    /// no SIP, or was not finished in time.
    fn came_to_nothing(&mut self, now: Now, source: IpAddr) {
        let _ = (now, source);
    }

    /// The next thing to do that is not the reply to a message. What is to be sent is written to
    /// `out`, which has room for [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX) bytes.
    fn poll_order(&mut self, out: &mut [u8]) -> Option<Order> {
        let _ = out;
        None
    }

    /// Carries out an order. It is short, like the answer to a datagram: what takes longer is asked
    /// for in pieces.
    fn control(&mut self, now: Now, order: Self::Control) -> Self::Reply;

    /// Whether a client is answered before it has shown who it is: keepalives of its connection,
    /// that is, for its messages are the plane's.
    fn answers_strangers(&self) -> bool {
        true
    }

    /// The process stops: nothing is received any more.
    fn finish(self, now: Now) -> Self::Final;
}

impl Plane for Shard {
    type Final = Counters;
    type Control = Control;
    type Reply = Reply;

    fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        Shard::receive(self, now, datagram, out)
    }

    fn receive_handoff(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        Shard::receive_handoff(self, now, datagram, out)
    }

    fn receive_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        Shard::receive_batch_timed(self, now, datagrams, watch, outlet);
    }

    fn receive_handoff_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        Shard::receive_handoff_batch_timed(self, now, datagrams, watch, outlet);
    }

    fn turn(&mut self, now: Now) -> Option<Instant> {
        Shard::turn(self, now)
    }

    fn connection_closed(&mut self, now: Now, id: ConnectionId) {
        Shard::connection_closed(self, now, id);
    }

    fn told(&mut self, now: Now, told: Told) {
        Shard::told(self, now, told);
    }

    fn worked(&mut self, busy: Duration, passed: Duration) {
        Shard::worked(self, busy, passed);
    }

    fn waited(&mut self, now: Now, waited: Duration) {
        Shard::waited(self, now, waited);
    }

    fn came_to_nothing(&mut self, now: Now, source: IpAddr) {
        Shard::came_to_nothing(self, now, source);
    }

    fn is_blocked(&self, now: Now, source: IpAddr) -> bool {
        self.guard().is_blocked(now.mono, source)
    }

    fn unreachable(&mut self, now: Now, to: SocketAddr) {
        Shard::unreachable(self, now, to);
    }

    fn heard(&mut self, now: Now, source: SocketAddr) {
        Shard::heard(self, now, source);
    }

    fn poll_order(&mut self, out: &mut [u8]) -> Option<Order> {
        Shard::poll_order(self, out)
    }

    fn control(&mut self, now: Now, order: Control) -> Reply {
        Shard::control(self, now, order)
    }

    fn answers_strangers(&self) -> bool {
        Shard::answers_strangers(self)
    }

    fn finish(self, _now: Now) -> Counters {
        self.counters().clone()
    }
}
