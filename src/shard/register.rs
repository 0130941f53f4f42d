//! REGISTER (RFC 3261 10.3), from the request to its answer: whose it is, whether its sender may,
//! what the registrar makes of it.

use crate::auth::challenge::{strongest_first, write_value};
use crate::auth::check::{Check, Verdict, authenticate};
use crate::auth::username::form_of;
use crate::config::Algorithms;
use crate::limits::AOR_BYTES_MAX;
use crate::registrar::aor::{Aor, AorError};
use crate::registrar::{Accepted, AorId, Contacts, Limits, Refusal, Register};
use crate::shard::Handled;
use crate::shard::answer::Answer;
use crate::shard::batch::{Addressed, Unaddressed};
use crate::shard::core::Core;
use crate::shard::identity::Identity;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, Request, answer_of, refuse};
use crate::sip::header::contact::{self, ContactError};
use crate::sip::write::{ContactLine, Full, Responder, Response};
use crate::sip::{Fault, HeaderName, ParseError, RequestHead};

/// A REGISTER that is for this registrar.
pub(super) fn handle<'a>(
    core: &mut Core,
    arrival: Arrival<'a>,
    request: &Request<'a>,
    addressed: &Result<Addressed<'a>, Unaddressed>,
    out: &mut [u8],
) -> Handled {
    let Request { message, head, identity, responder } = request;
    // Step 5, the part that needs no account: To names an address-of-record of a served domain.
    let &Addressed { aor, offered, account, .. } = match addressed {
        Ok(addressed) => addressed,
        &Err(unaddressed) => {
            return refuse_unaddressed(core, unaddressed, responder, identity, out);
        }
    };

    // Step 3. Without credentials every shard can challenge: a nonce needs no account.
    let credentials = message.credentials(HeaderName::Authorization, aor.domain());
    let credentials = match credentials {
        Ok(Some(credentials)) => credentials,
        Ok(None) => {
            core.counters.challenged += 1;
            return challenge(core, &arrival, (&aor, offered), responder, identity, false, out);
        }
        Err(_) => {
            let phrase = ParseError::header(HeaderName::Authorization, Fault::Malformed).phrase();
            let answer = answer_of(core, responder, identity, out);
            return answer.refusing(RefuseReason::Credentials).phrased(400, &phrase, |_| Ok(()));
        }
    };
    // Step 4, decided from the message alone, so that it tells nobody which accounts exist.
    let username = credentials.username;
    if form_of(username, aor.text()).is_none() || is_from_another(core, head, username) {
        let answer = answer_of(core, responder, identity, out);
        return answer.refusing(RefuseReason::AccountMismatch).plain(403);
    }

    let Arrival { now, datagram, .. } = arrival;
    let lifetime = core.auth.nonce_lifetime_s;
    let source = datagram.source.ip();
    let check = Check {
        credentials: &credentials,
        method: head.method_bytes,
        aor: aor.text(),
        realm: aor.domain(),
        offered,
        nonce: core.keys.nonce.judge(credentials.nonce, now.wall, source, aor.domain(), lifetime),
        nonce_lifetime_s: lifetime,
        bindings_max: core.bindings_max,
        now: now.wall,
    };
    let verdict = authenticate(&check, &mut core.accounts, account, &mut core.ha2s);
    match verdict {
        Verdict::Accepted => core.counters.authenticated += 1,
        Verdict::Replayed => {}
        Verdict::Stale => core.counters.stale += 1,
        Verdict::Wrong { counts_as_failure: true } => core.counters.bad_password += 1,
        Verdict::Wrong { counts_as_failure: false } => core.counters.bad_password_unbound += 1,
        Verdict::UnknownAccount { .. } => core.counters.unknown_account += 1,
        Verdict::OtherRealm | Verdict::AlgorithmNotOffered => core.counters.challenged += 1,
        Verdict::AccountMismatch => {
            let answer = answer_of(core, responder, identity, out);
            return answer.refusing(RefuseReason::AccountMismatch).plain(403);
        }
        Verdict::Malformed(malformed) => {
            let phrase = ["Malformed Authorization ", malformed.parameter()];
            let answer = answer_of(core, responder, identity, out);
            return answer.refusing(RefuseReason::Credentials).phrased(400, &phrase, |_| Ok(()));
        }
    }
    let (Verdict::Accepted | Verdict::Replayed, Some(account)) = (verdict, account) else {
        let stale = verdict.is_stale();
        return challenge(core, &arrival, (&aor, offered), responder, identity, stale, out);
    };

    if let Some(link) = datagram.link
        && !link.authenticated
    {
        core.flows.authenticated(link.id);
    }

    let mut contacts = contact::Contacts::new();
    if let Err(error) = message.contacts(&mut contacts) {
        let malformed = |fault| ParseError::header(HeaderName::Contact, fault).phrase();
        let (reason, phrase) = match error {
            ContactError::TooMany => (RefuseReason::TooManyContacts, malformed(Fault::TooMany)),
            ContactError::Malformed => (RefuseReason::Contact, malformed(Fault::Malformed)),
            ContactError::WildcardMixed => (RefuseReason::Wildcard, ["Contact * ", "Not Alone"]),
        };
        let answer = answer_of(core, responder, identity, out);
        return answer.refusing(reason).phrased(400, &phrase, |_| Ok(()));
    }
    let register = Register {
        aor: AorId(account.0),
        call_id: head.call_id,
        cseq: head.cseq.number,
        contacts: match contacts.as_slice() {
            _ if contacts.is_wildcard() => Contacts::Wildcard,
            [] => Contacts::Fetch,
            list => Contacts::List(list),
        },
        expires: message.expires(),
        user_agent: message.user_agent().unwrap_or_default(),
        path: b"",
        source: datagram.source,
        flow: datagram.flow(),
        behind_nat: false,
        // A phone that gives a reg-id means it, whatever its Supported says.
        outbound: true,
        gruu: false,
        fingerprint: identity.fingerprint,
        limits: Limits { bindings_max: core.accounts[account].bindings_max(), ..Limits::default() },
    };
    let Core { registrar, events, .. } = &mut *core;
    let before = events.len();
    let outcome = match verdict {
        Verdict::Replayed => registrar.repeat(now, &register, events),
        _ => Some(registrar.register(now, &register, events)),
    };
    core.count_events(before);
    match outcome {
        None => {
            // Its nonce count was used by another request: a replay, or a phone that does not
            // count. Never a reason to shut the phone out (RFC 7616 3.4.5: a new challenge).
            core.counters.stale += 1;
            challenge(core, &arrival, (&aor, offered), responder, identity, true, out)
        }
        Some(Ok(accepted)) => {
            core.counters.retransmissions += u64::from(accepted.retransmission);
            let Core { registrar, counters, .. } = core;
            let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
            answer.with(200, |response| list_bindings(response, registrar, &accepted))
        }
        Some(Err(refusal)) => refuse_register(core, refusal, responder, identity, out),
    }
}

/// Whether From names another account of a served domain than the credentials: it says who is
/// responsible for the registration (RFC 3261 10.2), and that is who has proved who he is. A From
/// of elsewhere, as phones make of their own address, says nothing.
fn is_from_another(core: &Core, head: &RequestHead<'_>, username: &[u8]) -> bool {
    if head.from.uri.text == head.to.uri.text {
        return false;
    }
    let mut buffer = [0; AOR_BYTES_MAX];
    Aor::from_uri(&head.from.uri, &mut buffer).is_ok_and(|from| {
        core.domains.find(from.domain()).is_some() && form_of(username, from.text()).is_none()
    })
}

/// Refuses a REGISTER whose To names nobody who could be registered here.
#[cold]
fn refuse_unaddressed(
    core: &mut Core,
    unaddressed: Unaddressed,
    responder: &Responder<'_>,
    identity: &Identity,
    out: &mut [u8],
) -> Handled {
    let answer = answer_of(core, responder, identity, out);
    let fault = match unaddressed {
        Unaddressed::Domain => return answer.refusing(RefuseReason::ForeignDomain).plain(404),
        Unaddressed::Aor(AorError::Scheme) => {
            let answer = answer.refusing(RefuseReason::AorScheme);
            return answer.phrased(404, &["To Not SIP"], |_| Ok(()));
        }
        Unaddressed::Aor(AorError::NoUser) => {
            let answer = answer.refusing(RefuseReason::AorWithoutUser);
            return answer.phrased(404, &["To Without User"], |_| Ok(()));
        }
        Unaddressed::Aor(AorError::TooLong) => Fault::TooLong,
        Unaddressed::Aor(AorError::Escape) | Unaddressed::To => Fault::Malformed,
    };
    refuse(answer, ParseError::header(HeaderName::To, fault))
}

/// Step 8: the 200 enumerates all current bindings.
#[inline]
fn list_bindings(
    response: &mut Response<'_>,
    registrar: &crate::registrar::Registrar,
    accepted: &Accepted,
) -> Result<(), Full> {
    for listed in registrar.answer(accepted) {
        response.contact(&ContactLine {
            uri: listed.contact,
            expires: listed.expires_s,
            q: listed.q,
            instance: listed.instance,
            reg_id: listed.reg_id,
            pub_gruu: None,
            temp_gruu: None,
        })?;
    }
    Ok(())
}

#[cold]
fn refuse_register(
    core: &mut Core,
    refusal: Refusal,
    responder: &Responder<'_>,
    identity: &Identity,
    out: &mut [u8],
) -> Handled {
    let counters = &mut core.counters;
    match refusal {
        Refusal::StaleCSeq => counters.stale_cseq += 1,
        Refusal::IntervalTooBrief { .. } => counters.interval_too_brief += 1,
        Refusal::TooManyBindings { .. } => counters.too_many_bindings += 1,
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
        Refusal::TooManyBindings { retry_after_s } => {
            response.header_number("Retry-After", retry_after_s.into())
        }
        _ => Ok(()),
    })
}

/// 401 with a challenge for each algorithm of the domain (RFC 3261 22.2, RFC 8760 2.4). Equal for
/// accounts that exist and those that do not.
fn challenge(
    core: &mut Core,
    arrival: &Arrival<'_>,
    (aor, offered): (&Aor<'_>, Algorithms),
    responder: &Responder<'_>,
    identity: &Identity,
    stale: bool,
    out: &mut [u8],
) -> Handled {
    let place = core.nonces.next(arrival.now.wall, arrival.now.wall_us);
    let nonce = core.keys.nonce.mint(place, arrival.datagram.source.ip(), aor.domain());
    answer_of(core, responder, identity, out).with(401, |response| {
        for name in strongest_first(offered) {
            response.header("WWW-Authenticate", |out| {
                write_value(out, name, aor.domain(), &nonce, stale)
            })?;
        }
        Ok(())
    })
}
