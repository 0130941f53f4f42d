//! The way into a running plane for orders that are no datagrams: a bounded queue for each reactor,
//! and its waker. Whoever gives orders is on a thread of its own and may wait; the reactor never
//! does.

use std::fmt;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::plane::Plane;
use super::wake::Waker;
use crate::limits::{CONTROLS_PER_TURN_MAX, CONTROLS_WAITING_MAX};
use crate::time::Now;

/// An order, and who is told what became of it.
struct Order<P: Plane> {
    control: P::Control,
    reply: Reply<P>,
}

/// Takes the reply, on the reactor's thread.
type Reply<P> = Box<dyn FnOnce(<P as Plane>::Reply) + Send>;

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// [`CONTROLS_WAITING_MAX`] orders wait already.
    Full,
    /// The reactor is stopping, or gone.
    Stopped,
    /// It has not answered in time; it may yet carry the order out.
    Timeout,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::Full => "too many orders wait at the reactor",
            ControlError::Stopped => "the reactor has stopped",
            ControlError::Timeout => "the reactor did not answer in time",
        })
    }
}

impl std::error::Error for ControlError {}

/// Gives orders to one reactor; clones give them to the same.
pub struct Controller<P: Plane> {
    queue: Sender<Order<P>>,
    waker: Waker,
}

impl<P: Plane> Clone for Controller<P> {
    fn clone(&self) -> Self {
        Controller { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}

/// What will become of an order.
#[must_use = "an order is only known to be carried out once its reply is there"]
pub struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// Waits for the reply, `at_most` so long.
    ///
    /// # Errors
    /// [`ControlError::Timeout`], or [`ControlError::Stopped`] if there will be none.
    pub fn wait(self, at_most: Duration) -> Result<T, ControlError> {
        use crossbeam::channel::RecvTimeoutError::{Disconnected, Timeout};

        self.0.recv_timeout(at_most).map_err(|error| match error {
            Timeout => ControlError::Timeout,
            Disconnected => ControlError::Stopped,
        })
    }
}

impl<P: Plane> Controller<P> {
    /// Leaves an order for the reactor and wakes it. Orders are carried out one after the other.
    ///
    /// # Errors
    /// [`ControlError::Full`] or [`ControlError::Stopped`]; the order is gone then.
    pub fn give(&self, control: P::Control) -> Result<Pending<P::Reply>, ControlError> {
        let (sender, replies) = bounded(1);
        self.give_to(control, move |reply| {
            // Whoever asked may have given up.
            let _ = sender.try_send(reply);
        })?;
        Ok(Pending(replies))
    }

    /// The same for those who do not wait but are called. `reply` runs on the reactor's thread: it
    /// passes on what it is given and returns at once. It is dropped uncalled where the reactor
    /// stops before the order's turn.
    ///
    /// # Errors
    /// [`ControlError::Full`] or [`ControlError::Stopped`]; the order is gone then.
    pub fn give_to(
        &self,
        control: P::Control,
        reply: impl FnOnce(P::Reply) + Send + 'static,
    ) -> Result<(), ControlError> {
        let order = Order { control, reply: Box::new(reply) };
        self.queue.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => ControlError::Full,
            TrySendError::Disconnected(_) => ControlError::Stopped,
        })?;
        self.waker.wake();
        Ok(())
    }
}

/// The reactor's end of the queue.
pub(super) struct Orders<P: Plane>(Receiver<Order<P>>);

/// The two ends of a reactor's queue of orders.
pub(super) fn orders<P: Plane>(waker: Waker) -> (Controller<P>, Orders<P>) {
    let (queue, orders) = bounded(CONTROLS_WAITING_MAX);
    (Controller { queue, waker }, Orders(orders))
}

impl<P: Plane> Orders<P> {
    /// Carries out a bounded number of orders. Returns whether more may be waiting.
    #[inline]
    pub(super) fn carry_out(&self, plane: &mut P, now: Now) -> bool {
        // All that a turn without orders costs.
        if self.0.is_empty() {
            return false;
        }
        for _ in 0..CONTROLS_PER_TURN_MAX {
            let Ok(Order { control, reply }) = self.0.try_recv() else { return false };
            reply(plane.control(now, control));
        }
        !self.0.is_empty()
    }
}

/// The channel would keep what waits for as long as somebody can still send, and whoever awaits a
/// reply would wait in vain.
impl<P: Plane> Drop for Orders<P> {
    fn drop(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Datagram, Handled};
    use crate::time::{Instant, UnixTime};

    const NOW: Now = Now { mono: Instant::ZERO, wall: UnixTime(0), wall_us: 0 };

    /// Adds up what it is told.
    struct Sum(u64);

    impl Plane for Sum {
        type Final = ();
        type Control = u64;
        type Reply = u64;
        fn receive(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
            Handled::Nothing
        }
        fn receive_handoff(&mut self, _: Now, _: &Datagram<'_>, _: &mut [u8]) -> Handled {
            Handled::Nothing
        }
        fn turn(&mut self, _: Now) -> Option<Instant> {
            None
        }
        fn control(&mut self, _: Now, more: u64) -> u64 {
            self.0 += more;
            self.0
        }
        fn finish(self, _: Now) {}
    }

    fn queue() -> (Controller<Sum>, Orders<Sum>) {
        orders(Waker::new().expect("an eventfd"))
    }

    #[test]
    fn orders_are_carried_out_in_their_order_a_bounded_number_a_turn() {
        let (controller, orders) = queue();
        let pending: Vec<_> = (1..=3).map(|n| controller.clone().give(n).unwrap()).collect();
        let mut plane = Sum(0);
        let mut turns = 1;
        while orders.carry_out(&mut plane, NOW) {
            turns += 1;
        }
        assert_eq!(turns, 3_usize.div_ceil(CONTROLS_PER_TURN_MAX));
        assert!(!orders.carry_out(&mut plane, NOW) && plane.0 == 6);
        let replies: Vec<u64> =
            pending.into_iter().map(|one| one.wait(Duration::ZERO).unwrap()).collect();
        assert_eq!(replies, [1, 3, 6]);
    }

    #[test]
    fn what_is_too_much_is_shed_and_what_waits_is_kept() {
        let (controller, orders) = queue();
        let waiting: Vec<_> =
            (0..CONTROLS_WAITING_MAX).map(|_| controller.give(1).unwrap()).collect();
        assert_eq!(controller.give(1).err(), Some(ControlError::Full));
        let mut plane = Sum(0);
        while orders.carry_out(&mut plane, NOW) {}
        assert_eq!(plane.0, CONTROLS_WAITING_MAX as u64);
        assert!(waiting.into_iter().all(|one| one.wait(Duration::ZERO).is_ok()));
        assert!(controller.give(1).is_ok());
    }

    #[test]
    fn an_order_nobody_carries_out_times_out_and_one_for_nobody_is_refused() {
        let (controller, orders) = queue();
        let late = controller.give(1).unwrap();
        assert_eq!(late.wait(Duration::ZERO), Err(ControlError::Timeout));
        let lost = controller.give(1).unwrap();
        drop(orders);
        assert_eq!(lost.wait(Duration::from_secs(10)), Err(ControlError::Stopped));
        assert_eq!(controller.give(1).err(), Some(ControlError::Stopped));
    }

    #[test]
    fn whoever_does_not_wait_is_called_or_let_go() {
        let (controller, orders) = queue();
        let (told, replies) = bounded(2);
        let tell = told.clone();
        controller.give_to(3, move |sum| tell.send(sum).unwrap()).unwrap();
        assert!(!orders.carry_out(&mut Sum(4), NOW));
        assert_eq!(replies.try_recv(), Ok(7));
        controller.give_to(1, move |sum| told.send(sum).unwrap()).unwrap();
        drop(orders);
        assert!(replies.recv().is_err(), "it was dropped uncalled");
    }

    #[test]
    fn whoever_gave_up_waiting_stops_nobody() {
        let (controller, orders) = queue();
        drop(controller.give(5).unwrap());
        let mut plane = Sum(0);
        assert!(!orders.carry_out(&mut plane, NOW));
        assert_eq!(plane.0, 5);
    }
}
