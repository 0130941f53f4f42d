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

/// An order, and where what became of it is awaited.
struct Order<P: Plane> {
    control: P::Control,
    reply: Sender<P::Reply>,
}

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
        let (reply, replies) = bounded(1);
        self.queue.try_send(Order { control, reply }).map_err(|error| match error {
            TrySendError::Full(_) => ControlError::Full,
            TrySendError::Disconnected(_) => ControlError::Stopped,
        })?;
        self.waker.wake();
        Ok(Pending(replies))
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
            // Whoever asked may have given up.
            let _ = reply.try_send(plane.control(now, control));
        }
        !self.0.is_empty()
    }
}
