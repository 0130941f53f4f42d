//! Loss by choice: datagrams that a phone sends and never leave, and answers that come and are not
//! looked at, as on a bad line. Which retransmissions that explains is kept per agent: whatever is
//! beyond them, the server has to answer for.

use super::{AgentId, Fleet};
use crate::plan::Nanos;

/// Loss of one thread. The draws follow from the seed.
#[derive(Debug)]
pub(super) struct Loss {
    /// Of 2^32.
    share: u64,
    state: u64,
}

impl Loss {
    /// Loses so many percent of the datagrams of each direction.
    pub fn new(percent: f64, seed: u64) -> Loss {
        let share = (percent.clamp(0.0, 100.0) / 100.0 * (1u64 << 32) as f64) as u64;
        Loss { share, state: seed }
    }

    /// Whether the datagram at hand is lost (splitmix64).
    pub fn strikes(&mut self) -> bool {
        if self.share == 0 {
            return false;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) < self.share
    }
}

/// What has become of the datagrams of one request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    /// When the first one left that has not been answered.
    left: Option<Nanos>,
    /// The last one was lost, or an answer since: the next is sent because of that.
    lost: bool,
}

impl Way {
    /// A datagram is sent again. Returns whether loss explains that.
    pub fn again(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// A datagram was lost on its way there.
    pub fn lost_request(&mut self) {
        self.lost = true;
    }

    /// A datagram has left.
    pub fn left(&mut self, now: Nanos) {
        self.left.get_or_insert(now);
    }

    /// An answer has come. Returns how long it took from when the request was there.
    pub fn answered(&mut self, now: Nanos) -> Option<Nanos> {
        self.left.take().map(|left| now.saturating_sub(left))
    }

    /// That answer was lost on its way back.
    pub fn lost_answer(&mut self) {
        self.lost = true;
    }
}

impl Fleet {
    /// Whether the request that was just written for an agent is lost on its way.
    pub fn loses_request(&mut self, id: AgentId, now: Nanos) -> bool {
        let way = &mut self.agents[id as usize].way;
        if self.loss.strikes() {
            way.lost_request();
            self.recorder.tally.requests_dropped += 1;
            return true;
        }
        way.left(now);
        false
    }

    /// Whether an answer to the request under way of an agent is lost on its way.
    pub(super) fn loses_answer(&mut self, id: AgentId, status: u16, now: Nanos) -> bool {
        let way = &mut self.agents[id as usize].way;
        if status >= 200
            && let Some(took) = way.answered(now)
        {
            self.recorder.latencies.answer.saturating_record(took);
        }
        if self.loss.strikes() {
            way.lost_answer();
            self.recorder.tally.answers_dropped += 1;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_lost_is_what_was_asked_for() {
        for (percent, least, most) in [(0.0, 0, 0), (5.0, 4_700, 5_300), (100.0, 100_000, 100_000)]
        {
            let mut loss = Loss::new(percent, 7);
            let lost = (0..100_000).filter(|_| loss.strikes()).count();
            assert!((least..=most).contains(&lost), "{percent} %: {lost} of 100000");
        }
    }

    #[test]
    fn a_loss_explains_one_retransmission() {
        let mut way = Way::default();
        way.lost_request();
        assert!(way.again());
        way.left(1000);
        assert!(!way.again(), "nothing was lost since");
        way.left(2000);
        assert_eq!(way.answered(2500), Some(1500), "from the first that was there");
        assert_eq!(way.answered(2600), None, "the answer to the second");
        way.lost_answer();
        assert!(way.again());
    }
}
