//! The shards as this thread sees them: orders go in, replies come back, and a wait for one holds
//! up nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::problem::Problem;
use crate::limits::CONTROLS_WAITING_MAX;
use crate::reactor::{ControlError, Controller, Counters, ServiceTimes};
use crate::shard::control::{Control, Reply};
use crate::shard::registrations::Unfound;
use crate::shard::{Shard, ShardId};
use crate::shield::ShieldDesk;
use crate::store::history::HistoryDesk;

/// Orders of this thread that wait at one reactor: room is left for other orders, such as those of
/// a reload.
const UNDER_WAY_MAX: usize = CONTROLS_WAITING_MAX / 4;
/// Longest wait for a reply. An order takes a fraction of a millisecond; only a reactor that is
/// stuck reaches this.
const REPLY_MAX: Duration = Duration::from_secs(2);
/// How often an order is passed on by shards that name another. Twice only while a reload gives
/// one shard after the other its new settings.
const PASSED_ON_MAX: usize = 3;

/// The way to the shards of a process.
pub struct Shards {
    controllers: Vec<Controller<Shard>>,
    reactors: Box<dyn Fn() -> Vec<Counters> + Send + Sync>,
    service_times: Box<dyn Fn() -> Vec<ServiceTimes> + Send + Sync>,
    listeners: Vec<SocketAddr>,
    shield: Option<ShieldDesk>,
    history: Option<HistoryDesk>,
    under_way: Vec<Semaphore>,
}

impl Shards {
    /// Shards by their controllers, in order; what reads the counters of their reactors; and the
    /// addresses they listen on for datagrams, by the listeners' numbers.
    #[must_use]
    pub fn new(
        controllers: Vec<Controller<Shard>>,
        reactors: impl Fn() -> Vec<Counters> + Send + Sync + 'static,
        listeners: Vec<SocketAddr>,
    ) -> Shards {
        let under_way = controllers.iter().map(|_| Semaphore::new(UNDER_WAY_MAX)).collect();
        let reactors = Box::new(reactors);
        let service_times = Box::new(Vec::new);
        Shards {
            controllers,
            reactors,
            service_times,
            listeners,
            shield: None,
            history: None,
            under_way,
        }
    }

    /// With what reads how long messages take at each reactor.
    #[must_use]
    pub fn with_service_times(
        self,
        read: impl Fn() -> Vec<ServiceTimes> + Send + Sync + 'static,
    ) -> Shards {
        Shards { service_times: Box::new(read), ..self }
    }

    /// With what has the kernel drop what they have blocked.
    #[must_use]
    pub fn with_shield(self, shield: ShieldDesk) -> Shards {
        Shards { shield: Some(shield), ..self }
    }

    /// With where questions about what happened before are asked.
    #[must_use]
    pub fn with_history(self, history: HistoryDesk) -> Shards {
        Shards { history: Some(history), ..self }
    }

    /// Where questions about what happened before are asked, if any of it is kept.
    pub(super) fn history(&self) -> Option<&HistoryDesk> {
        self.history.as_ref()
    }

    /// What has the kernel drop what they have blocked, where there is such a thing.
    pub(super) fn shield(&self) -> Option<&ShieldDesk> {
        self.shield.as_ref()
    }

    /// How many there are.
    pub(super) fn count(&self) -> u8 {
        self.controllers.len() as u8
    }

    /// The counters of each reactor.
    pub(super) fn reactors(&self) -> Vec<Counters> {
        (self.reactors)()
    }

    /// How long messages take at each reactor.
    pub(super) fn service_times(&self) -> Vec<ServiceTimes> {
        (self.service_times)()
    }

    /// The address of a listener of datagrams.
    pub(super) fn listener(&self, number: u8) -> Option<SocketAddr> {
        self.listeners.get(usize::from(number)).copied()
    }

    /// Has a shard carry out an order.
    pub(super) async fn order(&self, shard: ShardId, order: Control) -> Result<Reply, Problem> {
        let at = usize::from(shard.0);
        let (Some(controller), Some(under_way)) =
            (self.controllers.get(at), self.under_way.get(at))
        else {
            return Err(stopped());
        };
        let Ok(_turn) = under_way.acquire().await else { return Err(stopped()) };
        let (sender, reply) = oneshot::channel();
        // Whoever asked may have given up.
        let pass_on = move |reply| drop(sender.send(reply));
        controller.give_to(order, pass_on).map_err(unavailable)?;
        match timeout(REPLY_MAX, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(unavailable(ControlError::Timeout)),
        }
    }

    /// Has the owner of an address-of-record carry out an order about it: any shard says which that
    /// is. Returns what that said and which it was.
    pub(super) async fn order_owner<T>(
        &self,
        order: Control,
        reply: impl Fn(Reply) -> Option<Result<T, Unfound>>,
    ) -> Result<(ShardId, Result<T, Unfound>), Problem> {
        let mut at = ShardId(0);
        for _ in 0..=PASSED_ON_MAX {
            match reply(self.order(at, order.clone()).await?) {
                Some(Err(Unfound::Owner(owner))) => at = owner,
                Some(answer) => return Ok((at, answer)),
                None => break,
            }
        }
        Err(Problem::unavailable("the shards are taking up other settings"))
    }
}

fn unavailable(error: ControlError) -> Problem {
    Problem::unavailable(error.to_string())
}

fn stopped() -> Problem {
    unavailable(ControlError::Stopped)
}
