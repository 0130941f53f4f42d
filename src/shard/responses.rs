//! Responses: each answers a request of our own, NOTIFY or OPTIONS, or nothing. The branch says
//! which shard asked, and that one is given the answer, whichever received it.

use crate::nat::probe;
use crate::reg_event::Answer;
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::request::Arrival;
use crate::shard::{Handled, ShardId};
use crate::sip::Message;

/// What a response answers.
enum Asked {
    Notify(Answer),
    Options(probe::Branch, u16),
}

impl Asked {
    /// `None`: nothing that is ours. What a response says of itself must hold together: one Via,
    /// with a branch of ours (RFC 3261 8.1.3.3, 17.1.3), and the CSeq that is in that branch.
    fn read(message: Message<'_>) -> Option<Asked> {
        let head = message.check_response().ok()?;
        if let Some(answer) = Answer::of(message, &head) {
            return Some(Asked::Notify(answer));
        }
        let branch = probe::Branch::parse(head.via.branch?)?;
        let ours = head.cseq.method == b"OPTIONS" && head.cseq.number == branch.number;
        ours.then_some(Asked::Options(branch, head.status))
    }

    fn shard(&self) -> u8 {
        match self {
            Asked::Notify(answer) => answer.branch.shard,
            Asked::Options(branch, _) => branch.shard,
        }
    }
}

/// Takes a response, or says whose it is.
#[cold]
pub(super) fn take(core: &mut Core, arrival: Arrival<'_>, message: Message<'_>) -> Handled {
    match Asked::read(message) {
        Some(asked) if asked.shard() == core.id.0 => {
            match asked {
                Asked::Notify(answer) => {
                    core.counters.notify_answers += 1;
                    core.subscriptions.on_response(arrival.now, &answer);
                }
                Asked::Options(branch, status) => core.probe_answered(arrival, &branch, status),
            }
            Handled::Nothing
        }
        Some(asked) if asked.shard() < core.ownership.shards() && !arrival.handed_over => {
            core.counters.handoffs_out += 1;
            Handled::Handoff(ShardId(asked.shard()))
        }
        // "A response where there was no request is discarded" (RFC 3261 18.1.2).
        _ => {
            core.counters.drop(DropReason::StrayResponse);
            Handled::Nothing
        }
    }
}
