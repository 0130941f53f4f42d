//! Steps 3 and 4 of RFC 3261 10.3: who sent a request, and whether the address-of-record is his
//! own. Also the challenges and refusals for those who have not shown it.

use crate::auth::accounts::{AccountId, AorKey};
use crate::auth::challenge::{HeaderNames, strongest_first, write_next_nonce, write_value};
use crate::auth::check::{Check, Verdict, authenticate, conclude};
use crate::auth::gate::Gate;
use crate::auth::nonce::Judged;
use crate::auth::session::{AfterWrong, Session, SessionLimits, after_wrong_answer};
use crate::auth::suspension::{Failure, Standing};
use crate::auth::username::form_of;
use crate::guard::SecurityKind;
use crate::limits::AOR_BYTES_MAX;
use crate::registrar::aor::AorError;
use crate::shard::answer::Answer;
use crate::shard::batch::{Addressed, Unaddressed, canonical};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, Request, answer_of, refuse};
use crate::shard::stages::Stage;
use crate::shard::{Handled, silence};
use crate::sip::header::authorization::Credentials;
use crate::sip::write::{Full, Response};
use crate::sip::{Fault, HeaderName, Method, ParseError, RequestHead};
use crate::time::Now;

/// Who sent a request: the account that its address-of-record belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub account: AccountId,
    /// Its nonce count has been used: it may change nothing that the first one did not.
    pub replayed: bool,
    /// Its nonce is old enough for a success to name the next one (RFC 7616 3.5).
    pub next_nonce_due: bool,
    /// It was shown by a digest over a nonce that was given to the very source.
    pub by_digest: bool,
}

impl Caller {
    /// One who needs no credentials.
    pub fn trusted(account: AccountId) -> Caller {
        Caller { account, replayed: false, next_nonce_due: false, by_digest: false }
    }
}

/// Step 5 of RFC 3261 10.3, the part that needs no account: To names an address-of-record of a
/// served domain.
///
/// # Errors
/// The answer, where it does not.
#[inline]
pub(super) fn addressed<'r, 'a>(
    core: &mut Core,
    request: &Request<'_>,
    found: &'r Result<Addressed<'a>, Unaddressed>,
    out: &mut [u8],
) -> Result<&'r Addressed<'a>, Handled> {
    let Request { identity, responder, .. } = request;
    found.as_ref().map_err(|&unaddressed| {
        refuse_unaddressed(unaddressed, answer_of(core, responder, identity, out))
    })
}

/// Finds out who sent a request. His connection has then passed authentication.
///
/// # Errors
/// The answer, where it is another one.
#[inline]
pub(super) fn identify(
    core: &mut Core,
    arrival: &Arrival<'_>,
    request: &Request<'_>,
    addressed: &Addressed<'_>,
    out: &mut [u8],
) -> Result<Caller, Handled> {
    let caller = find_caller(core, arrival, request, addressed, out);
    arrival.watch.lap(Stage::Auth);
    let caller = caller?;
    authenticated(core, arrival);
    Ok(caller)
}

/// The sender of a request is known: so is his connection, if it came by one.
#[inline]
pub(super) fn authenticated(core: &mut Core, arrival: &Arrival<'_>) {
    if let Some(link) = arrival.datagram.link
        && !link.authenticated
    {
        core.flows.authenticated(link.id);
    }
}

#[inline]
fn find_caller(
    core: &mut Core,
    arrival: &Arrival<'_>,
    request: &Request<'_>,
    addressed: &Addressed<'_>,
    out: &mut [u8],
) -> Result<Caller, Handled> {
    let Request { message, head, identity, responder } = request;
    let aor = addressed.aor;
    let gate = gate(core, arrival, addressed);
    let is_barred = |core: &Core| {
        let key = || addressed.key.unwrap_or_else(|| AorKey(core.ownership.hash(aor.text())));
        !core.barred.is_empty() && core.barred.has(key())
    };
    if let (Gate::Open, Some(account)) = (gate, addressed.account) {
        if is_barred(core) {
            core.note_refused(arrival, *message, aor.text(), RefuseReason::Suspended.name());
            return Err(refuse_suspended(core, arrival, request, out));
        }
        core.counters.admitted += 1;
        return Ok(Caller::trusted(account));
    }
    let account = addressed.account.and_then(|account| gate.account(account));
    if gate == Gate::Closed {
        core.tell_excluded(arrival, *message, aor.text());
    }
    // Without credentials every shard can challenge: a nonce needs no account.
    let names = HeaderNames::of(core.auth.challenge_code);
    let presented = match &addressed.presented {
        Some(presented) => presented.credentials,
        None => message.credentials(names.credentials, aor.domain()),
    };
    let credentials = match presented {
        Ok(Some(credentials)) => credentials,
        Ok(None) => {
            core.counters.challenged += 1;
            return Err(challenge(core, arrival, addressed, request, false, out));
        }
        Err(_) => {
            let phrase = ParseError::header(names.credentials, Fault::Malformed).phrase();
            core.note_refused(arrival, *message, aor.text(), RefuseReason::Credentials.name());
            let answer = answer_of(core, responder, identity, out);
            return Err(answer
                .refusing(RefuseReason::Credentials)
                .phrased(400, &phrase, |_| Ok(())));
        }
    };
    // Decided from the message alone, so that it tells nobody which accounts exist.
    let username = credentials.username;
    if form_of(username, aor.text()).is_none() || is_from_another(core, head, username) {
        core.tell_mismatch(arrival, *message, aor.text());
        let answer = answer_of(core, responder, identity, out);
        return Err(answer.refusing(RefuseReason::AccountMismatch).plain(403));
    }
    // Before any password is looked at, and alike for names without an account.
    let key = addressed.key.unwrap_or_else(|| AorKey(core.ownership.hash(aor.text())));
    let source = arrival.datagram.source.ip();
    let standing = core.suspensions.standing(key, source);
    if standing == Standing::Suspended || is_barred(core) {
        core.note_refused(arrival, *message, aor.text(), RefuseReason::Suspended.name());
        return Err(refuse_suspended(core, arrival, request, out));
    }
    let (verdict, check) = judge(core, arrival, request, addressed, &credentials, account);
    core.tell_verdict(arrival, *message, (key, aor.text()), verdict);
    match (verdict, account) {
        (Verdict::Accepted | Verdict::Replayed, Some(account)) => {
            if let (Verdict::Accepted, Standing::Failed(mark)) = (verdict, standing) {
                core.suspensions.succeeded(mark);
            }
            Ok(Caller {
                account,
                replayed: verdict == Verdict::Replayed,
                by_digest: true,
                next_nonce_due: core.auth.next_nonce
                    && check.nonce.is_next_due(check.now, check.nonce_lifetime_s),
            })
        }
        (Verdict::AccountMismatch, _) => {
            let answer = answer_of(core, responder, identity, out);
            Err(answer.refusing(RefuseReason::AccountMismatch).plain(403))
        }
        (Verdict::Malformed(malformed), _) => {
            let phrase = ["Malformed Authorization ", malformed.parameter()];
            core.note_refused(arrival, *message, aor.text(), RefuseReason::Credentials.name());
            let answer = answer_of(core, responder, identity, out);
            Err(answer.refusing(RefuseReason::Credentials).phrased(400, &phrase, |_| Ok(())))
        }
        (Verdict::Wrong | Verdict::UnknownAccount, _) => {
            let failure = Failure {
                aor: key,
                source,
                known: account.is_some(),
                is_register: head.method == Method::Register,
                nonce: credentials.nonce,
                response: credentials.response,
            };
            let agent = message.user_agent().unwrap_or_default();
            if core.note_failure(arrival.now, &failure, aor.text(), agent) {
                return Err(refuse_suspended(core, arrival, request, out));
            }
            let limits = SessionLimits::from(&core.auth);
            match after_wrong_answer(check.nonce, limits, check.now) {
                AfterWrong::Challenge(session) => {
                    let session = Some(session);
                    Err(challenge_in(core, arrival, addressed, request, session, false, out))
                }
                AfterWrong::Refuse => {
                    let answer = answer_of(core, responder, identity, out);
                    Err(answer.refusing(RefuseReason::TooManyTries).plain(403))
                }
            }
        }
        _ => Err(challenge(core, arrival, addressed, request, verdict.is_stale(), out)),
    }
}

/// The account is suspended for this source: what it sends is not looked at.
#[cold]
fn refuse_suspended(
    core: &mut Core,
    arrival: &Arrival<'_>,
    request: &Request<'_>,
    out: &mut [u8],
) -> Handled {
    if silence::is_kept(core) {
        return silence::keep(core, arrival, DropReason::Suspended);
    }
    let answer = answer_of(core, &request.responder, &request.identity, out);
    answer.refusing(RefuseReason::Suspended).plain(403)
}

/// What the account still has to show. For those of whom nothing was said, and who bring no
/// certificate, that is told by one bit of the account.
#[inline]
pub(super) fn gate(core: &Core, arrival: &Arrival<'_>, addressed: &Addressed<'_>) -> Gate {
    let Some(account) = addressed.account else { return Gate::Digest };
    let datagram = arrival.datagram;
    let certified = datagram.link.is_some_and(|link| link.peer.is_account(addressed.aor.text()));
    match core.accounts.policy(account) {
        Some(policy) => Gate::of(policy, datagram.source, certified),
        None if certified => Gate::Open,
        None => Gate::Digest,
    }
}

#[inline]
fn judge<'a>(
    core: &mut Core,
    arrival: &Arrival<'_>,
    request: &Request<'a>,
    addressed: &Addressed<'a>,
    credentials: &'a Credentials<'a>,
    account: Option<AccountId>,
) -> (Verdict, Check<'a>) {
    let &Arrival { now, datagram, .. } = arrival;
    let presented = addressed.presented.as_ref();
    let nonce = match presented {
        Some(presented) => presented.nonce,
        None => {
            let (source, realm) = (datagram.source.ip(), addressed.aor.domain());
            let lifetime_s = core.auth.nonce_lifetime_s;
            core.keys.nonce.judge(credentials.nonce, now.wall, source, realm, lifetime_s)
        }
    };
    let check = check_of(core, now, addressed, credentials, request.head.method_bytes, nonce);
    let verdict = match presented.and_then(|presented| presented.answered) {
        Some(answered) => conclude(&check, &mut core.accounts, account, answered),
        None => authenticate(&check, &mut core.accounts, account, &mut core.ha2s),
    };
    let counters = &mut core.counters;
    match verdict {
        Verdict::Accepted => counters.authenticated += 1,
        Verdict::Stale if check.nonce == Judged::Foreign => {
            counters.stale += 1;
            counters.foreign_nonce += 1;
        }
        Verdict::Stale => counters.stale += 1,
        Verdict::Wrong => counters.bad_password += 1,
        Verdict::UnknownAccount => counters.unknown_account += 1,
        Verdict::OtherRealm | Verdict::AlgorithmNotOffered => counters.challenged += 1,
        Verdict::Replayed | Verdict::AccountMismatch | Verdict::Malformed(_) => {}
    }
    (verdict, check)
}

/// What the credentials of a request are held against.
#[inline]
pub(super) fn check_of<'a>(
    core: &Core,
    now: Now,
    addressed: &Addressed<'a>,
    credentials: &'a Credentials<'a>,
    method: &'a [u8],
    nonce: Judged,
) -> Check<'a> {
    let &Addressed { aor, offered, .. } = addressed;
    Check {
        credentials,
        method,
        aor: aor.text(),
        realm: aor.domain(),
        offered,
        nonce,
        nonce_lifetime_s: core.auth.nonce_lifetime_s,
        bindings_max: core.bindings_max,
        now: now.wall,
    }
}

/// Whether From names another account of a served domain than the credentials: it says who is
/// responsible for the registration (RFC 3261 10.2), and that is who has proved who he is. A From
/// of elsewhere, as phones make of their own address, says nothing.
fn is_from_another(core: &Core, head: &RequestHead<'_>, username: &[u8]) -> bool {
    if head.from.uri.text == head.to.uri.text {
        return false;
    }
    let (mut buffer, mut renamed) = ([0; AOR_BYTES_MAX], [0; AOR_BYTES_MAX]);
    canonical(core, &head.from.uri, &mut buffer, &mut renamed)
        .is_ok_and(|(from, _)| form_of(username, from.text()).is_none())
}

/// Refuses a request whose To names nobody who could be registered here.
#[cold]
fn refuse_unaddressed(unaddressed: Unaddressed, answer: Answer<'_>) -> Handled {
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

/// 401 or 407 with a challenge for each algorithm of the domain (RFC 3261 22.2, RFC 8760 2.4).
/// Equal for accounts that exist and those that do not.
pub(super) fn challenge(
    core: &mut Core,
    arrival: &Arrival<'_>,
    addressed: &Addressed<'_>,
    request: &Request<'_>,
    stale: bool,
    out: &mut [u8],
) -> Handled {
    challenge_in(core, arrival, addressed, request, None, stale, out)
}

fn challenge_in(
    core: &mut Core,
    arrival: &Arrival<'_>,
    addressed: &Addressed<'_>,
    request: &Request<'_>,
    session: Option<Session>,
    stale: bool,
    out: &mut [u8],
) -> Handled {
    let Request { identity, responder, .. } = request;
    let &Addressed { aor, offered, .. } = addressed;
    core.guard.count(SecurityKind::ChallengeSent);
    let place = core.nonces.next(arrival.now.wall, arrival.now.wall_us);
    let source = arrival.datagram.source.ip();
    let nonce = match session {
        Some(session) => core.keys.nonce.mint_in(session, place, source, aor.domain()),
        None => core.keys.nonce.mint(place, source, aor.domain()),
    };
    let code = core.auth.challenge_code;
    let name = HeaderNames::of(code).challenge;
    answer_of(core, responder, identity, out).with(code.status(), |response| {
        for algorithm in strongest_first(offered) {
            response
                .header(name, |out| write_value(out, algorithm, aor.domain(), &nonce, stale))?;
        }
        Ok(())
    })
}

/// What writes the header of a success that names the next nonce.
#[cold]
pub(super) fn next_nonce(
    core: &mut Core,
    arrival: &Arrival<'_>,
    addressed: &Addressed<'_>,
) -> impl Fn(&mut Response<'_>) -> Result<(), Full> + use<> {
    let place = core.nonces.next(arrival.now.wall, arrival.now.wall_us);
    let source = arrival.datagram.source.ip();
    let nonce = core.keys.nonce.mint(place, source, addressed.aor.domain());
    let name = HeaderNames::of(core.auth.challenge_code).info;
    move |response| response.header(name, |out| write_next_nonce(out, &nonce))
}
