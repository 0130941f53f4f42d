//! nftables as it is seen from the server: `aorta-nft`, told what is wanted, sought again with
//! growing waits where it is not there.

use std::path::Path;
use std::time::Duration;

use super::counts::Counts;
use super::line::{Answer, Order};
use super::link::Link;
use super::mirror::Mirror;
use super::rules::Drops;
use crate::time::Instant;

/// The first wait before it is sought again, and the longest; each is twice the one before.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// Without anything new to say, it is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Somebody may have loaded the table again, empty: everything is said again so often.
const SAY_ALL_EVERY: Duration = Duration::from_secs(60);

/// `aorta-nft` as it is seen from here.
#[derive(Default)]
pub(super) struct Nftables {
    link: Option<Link>,
    mirror: Mirror,
    /// When it is sought again, and how long the wait was.
    retry: Option<(Instant, Duration)>,
    last_said: Instant,
    last_all: Instant,
}

impl Nftables {
    /// It is sought at the next opportunity, however often it was not there.
    pub(super) fn seek_now(&mut self) {
        self.retry = None;
    }

    /// Lets it hold this. `None` where it is not to be tried yet; else whether it does, or why not.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        path: &Path,
        wanted: &Drops,
        counts: &Counts,
    ) -> Option<Result<(), String>> {
        if self.retry.is_some_and(|(at, _)| at > now) {
            return None;
        }
        let outcome = self.tell(now, path, wanted, counts);
        match &outcome {
            Ok(()) => self.retry = None,
            Err(_) => {
                Counts::add(&counts.helper_failures, 1);
                self.mirror.forget();
                let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| wait * 2).min(RETRY_LONGEST);
                self.retry = Some((now + wait, wait));
            }
        }
        Some(outcome)
    }

    fn tell(
        &mut self,
        now: Instant,
        path: &Path,
        wanted: &Drops,
        counts: &Counts,
    ) -> Result<(), String> {
        if self.link.is_none() {
            self.mirror.forget();
            self.link = Some(Link::connect(path).map_err(|error| error.to_string())?);
            Counts::add(&counts.helper_connections, 1);
        }
        if self.mirror.holds_any() && now.saturating_since(self.last_all) >= SAY_ALL_EVERY {
            self.mirror.forget();
        }
        let orders = self.mirror.orders(now, wanted);
        if orders.is_empty() && now.saturating_since(self.last_said) < PING_EVERY {
            return Ok(());
        }
        let said = match &self.link {
            Some(link) => link.say(&orders),
            None => return Ok(()),
        };
        match said {
            Ok(Answer::Done { networks, refused }) => {
                self.last_said = now;
                if orders.first() == Some(&Order::Flush) {
                    self.last_all = now;
                }
                self.mirror.took(wanted);
                Counts::set(&counts.held, networks);
                Counts::add(&counts.helper_changes, u64::from(!orders.is_empty()));
                if refused > 0 {
                    Counts::set(&counts.left_out, refused);
                }
                Ok(())
            }
            Ok(Answer::Failed(why)) => Err(why),
            Err(error) => {
                self.link = None;
                Err(error.to_string())
            }
        }
    }

    /// Has it drop nothing any more, as far as it can still be told.
    pub(super) fn withdraw(&mut self, now: Instant, counts: &Counts) {
        if let Some(link) = self.link.take() {
            self.mirror.forget();
            // Whoever cannot be told any more lets each of them end by itself.
            let _ = link.say(&self.mirror.orders(now, &Drops::new()));
            Counts::set(&counts.held, 0);
        }
    }
}
