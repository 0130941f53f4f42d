//! REGISTER (RFC 3261 10.3), from the request to its answer: what its sender may, what was agreed
//! on, what the registrar makes of it.

use crate::guard::SecurityKind;
use crate::registrar::{AorId, Contacts, Limits, Refusal, Register};
use crate::shard::Handled;
use crate::shard::answer::Answer;
use crate::shard::authorize::{self, Caller, challenge, identify, next_nonce};
use crate::shard::batch::{Addressed, Unaddressed};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::listing::Listing;
use crate::shard::nat::{Known, way_back};
use crate::shard::negotiate::{Disagreed, Path, negotiate};
use crate::shard::places::refused_contact;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, Request, answer_of, refuse};
use crate::sip::header::contact::{self, ContactError};
use crate::sip::{Fault, HeaderName, ParseError};

/// A REGISTER that is for this registrar.
pub(super) fn handle<'a>(
    core: &mut Core,
    arrival: Arrival<'a>,
    request: &Request<'a>,
    addressed: &Result<Addressed<'a>, Unaddressed>,
    out: &mut [u8],
) -> Handled {
    let Request { message, head, identity, responder } = request;
    let addressed = match authorize::addressed(core, request, addressed, out) {
        Ok(addressed) => addressed,
        Err(handled) => return handled,
    };
    if let Some(account) = addressed.account
        && core.probing.ignores(arrival.now, account, arrival.datagram.source.ip())
    {
        core.counters.drop(DropReason::NeverAnswers);
        return Handled::Nothing;
    }
    // Steps 3 and 4.
    let caller = match identify(core, &arrival, request, addressed, out) {
        Ok(caller) => caller,
        Err(handled) => return handled,
    };
    let Caller { account, replayed, next_nonce_due, by_digest } = caller;
    let Arrival { now, datagram, .. } = arrival;

    let mut contacts = contact::Contacts::new();
    if let Err(error) = message.contacts(&mut contacts) {
        let reason = reason_of_contacts(error).name();
        core.note_refused(&arrival, *message, addressed.aor.text(), reason);
        return refuse_contacts(error, answer_of(core, responder, identity, out));
    }
    let list = contacts.as_slice();
    let mut path = Path::new_const();
    let agreed = negotiate(&core.extensions, *message, head, &addressed.aor, list, &mut path);
    let agreed = match agreed {
        Ok(agreed) => agreed,
        Err(disagreed) => {
            let reason = reason_of_disagreed(&disagreed).name();
            core.note_refused(&arrival, *message, addressed.aor.text(), reason);
            return refuse_disagreed(disagreed, answer_of(core, responder, identity, out));
        }
    };
    let refused = refused_contact(&core.own, datagram.local_ip, list, message.expires());
    if let Some(reason) = refused {
        core.note_refused(&arrival, *message, addressed.aor.text(), reason.name());
        return refuse_place(reason, answer_of(core, responder, identity, out));
    }
    let policy = core.accounts.policy(account).map(|policy| &**policy);
    let known = Known { policy, by_digest, agreed, has_path: !path.is_empty() };
    let way = way_back(core, &arrival, request, list, &known);
    way.count(&mut core.counters);
    let register = Register {
        aor: AorId(account.0),
        call_id: head.call_id,
        cseq: head.cseq.number,
        contacts: match list {
            _ if contacts.is_wildcard() => Contacts::Wildcard,
            [] => Contacts::Fetch,
            list => Contacts::List(list),
        },
        expires: message.expires(),
        user_agent: message.user_agent().unwrap_or_default(),
        path: &path,
        source: datagram.source,
        flow: datagram.flow(),
        behind_nat: way.behind_nat,
        proven: way.proven,
        keepalive: way.keepalive,
        outbound: agreed.outbound,
        gruu: agreed.gruu,
        fingerprint: identity.fingerprint,
        limits: match core.accounts.policy(account) {
            Some(policy) => Limits::from(&**policy),
            None => {
                let bindings_max = core.accounts[account].bindings_max();
                Limits { bindings_max, ..Limits::default() }
            }
        },
    };
    let Core { registrar, events, .. } = &mut *core;
    let before = events.len();
    let outcome = match replayed {
        true => registrar.repeat(now, &register, events),
        false => Some(registrar.register(now, &register, events)),
    };
    core.count_events(before);
    match outcome {
        None => {
            // Its nonce count was used by another request: a replay, or a phone that does not
            // count. Never a reason to shut the phone out (RFC 7616 3.4.5: a new challenge).
            core.counters.stale += 1;
            let agent = message.user_agent().unwrap_or_default();
            let (source, aor) = (datagram.source.ip(), addressed.aor.text());
            core.guard.record(SecurityKind::Replay, source, aor, agent);
            core.note_refused(&arrival, *message, aor, SecurityKind::Replay.name());
            challenge(core, &arrival, addressed, request, true, out)
        }
        Some(Ok(accepted)) => {
            core.counters.retransmissions += u64::from(accepted.retransmission);
            let bound = accepted.added | accepted.refreshed | accepted.retargeted;
            core.has_registered =
                arrival.handed_over && by_digest && bound > 0 && datagram.link.is_none();
            if let Some(link) = datagram.link
                && !list.is_empty()
            {
                core.flows.agree(link.id, way.silence_max_s());
            }
            let next_nonce = next_nonce_due.then(|| next_nonce(core, &arrival, addressed));
            let responder = match way.asks_keep {
                true => &responder.asking_keep(way.flow_timer_s),
                false => responder,
            };
            let Core { registrar, counters, extensions, tokens, id, .. } = core;
            let listing = Listing {
                registrar,
                extensions,
                tokens,
                shard: *id,
                aor: &addressed.aor,
                accepted: &accepted,
                negotiated: agreed,
                path: &path,
                flow_timer_s: way.flow_timer_s,
                now: now.wall,
            };
            let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
            answer.with(200, |response| {
                listing.write_to(response)?;
                next_nonce.map_or(Ok(()), |write| write(response))
            })
        }
        Some(Err(refusal)) => {
            core.note_refused(&arrival, *message, addressed.aor.text(), word_of(refusal));
            refuse_register(core, refusal, request, out)
        }
    }
}

fn reason_of_contacts(error: ContactError) -> RefuseReason {
    match error {
        ContactError::TooMany => RefuseReason::TooManyContacts,
        ContactError::Malformed => RefuseReason::Contact,
        ContactError::WildcardMixed => RefuseReason::Wildcard,
    }
}

fn reason_of_disagreed(disagreed: &Disagreed) -> RefuseReason {
    match disagreed {
        Disagreed::Fault(_) => RefuseReason::Malformed,
        Disagreed::PathTooLong => RefuseReason::TooLong,
        Disagreed::PathUnsupported => RefuseReason::PathUnsupported,
        Disagreed::FirstHopLacksOutbound => RefuseReason::FirstHop,
        Disagreed::SeveralFlows => RefuseReason::SeveralFlows,
        Disagreed::ContactLoops => RefuseReason::ContactLoops,
    }
}

/// The word of a refusal in lists: that of its counter.
fn word_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::StaleCSeq => "stale_cseq",
        Refusal::IntervalTooBrief { .. } => "interval_too_brief",
        Refusal::TooManyBindings { .. } => "too_many_bindings",
        Refusal::Full { .. } => "registrar_full",
        Refusal::WildcardExpires => RefuseReason::Wildcard.name(),
        Refusal::TooManyContacts => RefuseReason::TooManyContacts.name(),
        Refusal::ContactScheme => RefuseReason::ContactScheme.name(),
        Refusal::ContactTooLong
        | Refusal::CallIdTooLong
        | Refusal::InstanceTooLong
        | Refusal::PathTooLong => RefuseReason::TooLong.name(),
    }
}

#[cold]
fn refuse_contacts(error: ContactError, answer: Answer<'_>) -> Handled {
    let malformed = |fault| ParseError::header(HeaderName::Contact, fault).phrase();
    let phrase = match error {
        ContactError::TooMany => malformed(Fault::TooMany),
        ContactError::Malformed => malformed(Fault::Malformed),
        ContactError::WildcardMixed => ["Contact * ", "Not Alone"],
    };
    answer.refusing(reason_of_contacts(error)).phrased(400, &phrase, |_| Ok(()))
}

#[cold]
fn refuse_place(reason: RefuseReason, answer: Answer<'_>) -> Handled {
    let place = match reason {
        RefuseReason::ContactMulticast => "Multicast",
        RefuseReason::ContactBroadcast => "Broadcast",
        _ => "This Server",
    };
    answer.refusing(reason).phrased(403, &["Contact Is ", place], |_| Ok(()))
}

#[cold]
fn refuse_disagreed(disagreed: Disagreed, answer: Answer<'_>) -> Handled {
    match disagreed {
        Disagreed::Fault(error) => refuse(answer, error),
        Disagreed::PathTooLong => {
            let refusal = Refusal::PathTooLong;
            let answer = answer.refusing(RefuseReason::TooLong);
            answer.phrased(refusal.status(), &[refusal.reason()], |_| Ok(()))
        }
        Disagreed::PathUnsupported => answer
            .refusing(RefuseReason::PathUnsupported)
            .with(420, |response| response.header_text("Unsupported", b"path")),
        Disagreed::FirstHopLacksOutbound => answer.refusing(RefuseReason::FirstHop).plain(439),
        Disagreed::SeveralFlows => answer.refusing(RefuseReason::SeveralFlows).phrased(
            400,
            &["Several Contacts With reg-id"],
            |_| Ok(()),
        ),
        Disagreed::ContactLoops => answer.refusing(RefuseReason::ContactLoops).phrased(
            403,
            &["Contact Is The Address-Of-Record"],
            |_| Ok(()),
        ),
    }
}

#[cold]
fn refuse_register(
    core: &mut Core,
    refusal: Refusal,
    request: &Request<'_>,
    out: &mut [u8],
) -> Handled {
    let Request { identity, responder, .. } = request;
    let counters = &mut core.counters;
    match refusal {
        Refusal::StaleCSeq => counters.stale_cseq += 1,
        Refusal::IntervalTooBrief { .. } => counters.interval_too_brief += 1,
        Refusal::TooManyBindings { .. } => counters.too_many_bindings += 1,
        Refusal::Full { .. } => counters.registrar_full += 1,
        Refusal::WildcardExpires => counters.refuse(RefuseReason::Wildcard),
        Refusal::TooManyContacts => counters.refuse(RefuseReason::TooManyContacts),
        Refusal::ContactScheme => counters.refuse(RefuseReason::ContactScheme),
        Refusal::ContactTooLong
        | Refusal::CallIdTooLong
        | Refusal::InstanceTooLong
        | Refusal::PathTooLong => counters.refuse(RefuseReason::TooLong),
    }
    let answer = answer_of(core, responder, identity, out);
    answer.phrased(refusal.status(), &[refusal.reason()], |response| match refusal {
        Refusal::IntervalTooBrief { min_expires_s } => {
            response.header_number("Min-Expires", min_expires_s.into())
        }
        Refusal::TooManyBindings { retry_after_s } | Refusal::Full { retry_after_s } => {
            response.header_number("Retry-After", retry_after_s.into())
        }
        _ => Ok(()),
    })
}
